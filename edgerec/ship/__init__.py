"""Folders to drop into an app: a bundle with a runtime and an example."""

from edgerec.ship.page import check_language
from edgerec.ship.python import EmbedReport, embed_python
from edgerec.ship.web import embed_web, find_runtime, serve_folder

__all__ = ["EmbedReport", "check_language", "embed_python", "embed_web", "find_runtime", "serve_folder"]
