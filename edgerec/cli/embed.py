"""`edgerec embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.errors import ConfigError

__all__ = ["embed"]


def embed(
    kind: Annotated[str, typer.Argument(help="What the app is made with: python.")],
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist, or be empty.")],
) -> None:
    """Write a folder to drop into an app: runtime, bundle, and an example that runs where edgerec is not installed."""
    from edgerec.ship.python import embed_python

    if kind != "python":
        raise ConfigError(f"embed: no kind {kind!r}; there is python")
    report = embed_python(bundle, folder)
    typer.echo(
        f"{folder}: runtime {report.runtime_bytes:,} bytes, bundle {report.bundle_bytes:,} bytes\n"
        f"pip install -r {folder}/requirements.lock, then python {folder}/app.py"
    )
