"""`edgerec refresh`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["refresh"]


def refresh(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    log: Annotated[
        str | None, typer.Option(help="The grown log: a file or a quoted pattern. Default: the log in the settings.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: RUN_DIR-vVERSION.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the next version of a run on its grown log.

    The new run also gets the delta that updates devices. If the new bundle is worse than the old one by more than
    chance, the exit code is 1 and no delta is written.
    """
    run = open_run(config, run_dir, None, "refresh")
    refreshed = need("edgerec.experiments.refresh", "train", "edgerec refresh").refresh(run, log, out)
    if as_json:
        print_json(refreshed.to_json())
        return
    for table in refreshed.diff.tables():
        print_table(table.columns, table.rows, table.title)
    for line in refreshed.lines():
        typer.echo(line)
