"""`edgerec refresh`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["refresh"]


def refresh(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    log: Annotated[
        str | None, typer.Option(help="The log with its newer rows, a file or a quoted pattern; else the settings'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run; RUN_DIR-vVERSION by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the next version of a finished run from its grown log, if it is not worse on the newest part; and a delta.

    Exit code 1, and no delta, where the new bundle is worse than the old one by more than chance.
    """
    settings, folder = load_run(config, run_dir, None)
    renew = need("edgerec.experiments.refresh", "train", "edgerec refresh").refresh
    from edgerec.progress import progress_for

    found = renew(settings, folder, log, out, progress_for())
    if as_json:
        print_json(found.to_json())
        return
    for table in found.diff.tables():
        print_table(table.columns, table.rows, table.title)
    for line in found.lines():
        typer.echo(line)
