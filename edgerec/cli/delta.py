"""`edgerec delta`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json

__all__ = ["delta"]


def delta(
    old: Annotated[Path, typer.Argument(help="Folder of the bundle that devices have.")],
    new: Annotated[Path, typer.Argument(help="Folder of the new bundle; sign it first.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write; it must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Write the delta that updates one bundle to another.

    `Recommender.update` applies it on a device. It has kilobytes where the model is the same.
    """
    from edgerec.bundle.delta import make_delta

    report = make_delta(old, new, out)
    if as_json:
        print_json({"bytes": report.bytes, "whole": report.whole, "changed": list(report.changed)})
        return
    typer.echo(f"{out}: {report.bytes:,} bytes instead of {report.whole:,} ({', '.join(report.changed)} changed)")
