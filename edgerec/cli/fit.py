"""`edgerec fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["TRIALS", "fit"]

TRIALS = 12
"""Trials that are trained, if not said otherwise."""


def fit(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    device: Annotated[
        str | None, typer.Option(help="A device, or a .toml file of one; that of the settings by default.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Bundles that are made and judged on the valid part.")] = TRIALS,
    measured: Annotated[
        list[Path] | None, typer.Option(help="A correction file of edgerec bench --save, made on the device.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the best bundle inside a device's budget; exit code 1, and what would have to give, if none is."""
    settings, folder = load_run(config, run_dir, seed)
    search = need("edgerec.experiments.device_search.search", "train", "edgerec fit")
    from edgerec.progress import progress_for

    if device is not None:
        settings = settings.model_copy(update={"device": device})
    report = search.fit(settings, folder, progress_for(), trials, measured or ())
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, f"Trials for {report.device}, judged on valid; the front comes first")
    limits = [[name, value, limit] for name, (limit, value) in report.measured.items()]
    print_table(["figure", "measured here", "at most"], limits, "The finished bundle against the budget")
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"bundle: {report.bundle}")
