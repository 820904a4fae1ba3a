"""`edgerec diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["diff"]


def diff(
    old: Annotated[Path, typer.Argument(help="The bundle that devices have.")],
    new: Annotated[Path, typer.Argument(help="The bundle that they might get.")],
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two bundles on a run's evaluation split: quality, common items, who gains and loses, bytes."""
    settings, folder = load_run(config, run_dir, None)
    compare = need("edgerec.experiments.diff", "train", "edgerec diff").compare
    from edgerec.progress import progress_for

    found = compare(settings, folder, old, new, progress_for())
    if as_json:
        print_json(found.to_json())
        return
    for table in found.tables():
        print_table(table.columns, table.rows, table.title)
    for line in found.lines():
        typer.echo(line)
