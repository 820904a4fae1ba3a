"""`edgerec embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.errors import ConfigError

__all__ = ["embed"]


def embed(
    kind: Annotated[str, typer.Argument(help="What the app is made with: python or web.")],
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist, or be empty.")],
    ort: Annotated[
        Path | None, typer.Option(help="For web: the installed npm package onnxruntime-web; node_modules if left out.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="For web: what stands on the page; the bundle's name.")] = None,
    language: Annotated[str, typer.Option(help="For web: en, de or zh.")] = "en",
    public_key: Annotated[Path | None, typer.Option(help="For web: the key that the page pins.")] = None,
) -> None:
    """Write a folder to drop into an app: runtime, bundle, and an example that runs where edgerec is not installed."""
    from edgerec.ship.python import embed_python
    from edgerec.ship.web import check_language, embed_web

    if kind == "web":
        report = embed_web(bundle, folder, ort, title, check_language(language), public_key)
        typer.echo(
            f"{folder}: page and runtimes {report.runtime_bytes:,} bytes, bundle {report.bundle_bytes:,} bytes\n"
            f"any web server shows it, such as: python -m http.server --directory {folder}"
        )
        return
    if kind != "python":
        raise ConfigError(f"embed: no kind {kind!r}; there are python and web")
    report = embed_python(bundle, folder)
    typer.echo(
        f"{folder}: runtime {report.runtime_bytes:,} bytes, bundle {report.bundle_bytes:,} bytes\n"
        f"pip install -r {folder}/requirements.lock, then python {folder}/app.py"
    )
