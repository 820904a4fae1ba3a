"""`edgerec verify`."""

from __future__ import annotations

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json
from edgerec.cli.recommend import BundleArgument

__all__ = ["verify"]


def verify(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Check every file's hash, then run the bundle's own test requests on this machine."""
    from edgerec.runtime import Recommender

    with Recommender.open(bundle) as rec:
        requests = rec.check()
        files = len(rec.bundle.manifest.files)
    if as_json:
        print_json({"ok": True, "files": files, "conformance_requests": requests})
    else:
        typer.echo(f"{bundle}: OK, {files} files whole, {requests} conformance requests answered as expected")
