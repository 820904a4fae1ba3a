"""`edgerec embed`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption, OrtOption
from edgerec.cli.output import print_json
from edgerec.errors import ConfigError

__all__ = ["embed"]


def embed(
    kind: Annotated[str, typer.Argument(help="Kind of app: python or web.")],
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must be empty or not exist.")],
    ort: OrtOption = None,
    title: Annotated[
        str | None, typer.Option(help="For web: title of the page. Default: the name of the bundle.")
    ] = None,
    language: Annotated[
        str, typer.Option(help="For web: language of the page, such as en or de; auto: the browser's.")
    ] = "en",
    public_key: Annotated[
        Path | None, typer.Option(help="For web: public key; the page then loads only bundles signed with it.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="For web: folder of pictures named like the items' ids, such as 22423.jpg.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="For web: currency of the prices, such as GBP. Default: plain numbers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a folder for an app: runtime, bundle and example.

    The example runs on a machine where edgerec is not installed.
    """
    from edgerec.ship.page import check_currency, check_language
    from edgerec.ship.python import embed_python
    from edgerec.ship.web import embed_web

    if kind == "web":
        report = embed_web(
            bundle, folder, title, check_language(language), public_key, pictures, check_currency(currency)
        )
        if as_json:
            print_json({"folder": str(folder), **asdict(report)})
            return
        typer.echo(
            f"{folder}: page and runtime {report.runtime_bytes:,} bytes, bundle {report.bundle_bytes:,} bytes\n"
            f"any web server shows it, such as: python -m http.server --directory {folder}"
        )
        return
    if kind != "python":
        raise ConfigError(f"embed: no kind {kind!r}; there are python and web")
    report = embed_python(bundle, folder)
    if as_json:
        print_json({"folder": str(folder), **asdict(report)})
        return
    typer.echo(
        f"{folder}: runtime {report.runtime_bytes:,} bytes, bundle {report.bundle_bytes:,} bytes\n"
        f"{f'pip install -r {folder}/requirements.lock, then ' if report.packages else ''}python {folder}/app.py"
    )
