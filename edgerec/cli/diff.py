"""`edgerec diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["diff"]


def diff(
    old: Annotated[Path, typer.Argument(help="Folder of the bundle that devices have.")],
    new: Annotated[Path, typer.Argument(help="Folder of the new bundle.")],
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two bundles on the evaluation split of a run.

    Compared are quality, overlap of the lists, who gains and who loses, and size.
    """
    run = open_run(config, run_dir, None, "diff")
    report = need("edgerec.experiments.diff", "train", "edgerec diff").compare(run, old, new)
    if as_json:
        print_json(report.to_json())
        return
    for table in report.tables():
        print_table(table.columns, table.rows, table.title)
    for line in report.lines():
        typer.echo(line)
