"""`edgerec search`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["search"]


def search(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    device: Annotated[
        str | None, typer.Option(help="Name or .toml file of the device. Default: the device in the settings.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Number of bundles to train and judge on the validation split. Default: 12."),
    ] = None,
    measured: Annotated[
        list[Path] | None,
        typer.Option(help="File that edgerec bench --save wrote on the device; corrects the predicted costs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the best bundle inside the budget of a device.

    The budget limits size, memory, latency and cold start. If no bundle fits, the exit code is 1 and the message says
    which limits would have to change.
    """
    run = open_run(config, run_dir, seed, "search")
    device_search = need("edgerec.experiments.device_search.search", "train", "edgerec search")
    if device is not None:
        run = replace(run, asked=run.config.model_copy(update={"device": device}))
    report = device_search.search_device(run, trials or device_search.TRIALS, measured or ())
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, f"Trials for {report.device}, judged on valid; * marks the Pareto front")
    limits = [[name, value.measured, value.limit] for name, value in report.measured.items()]
    print_table(["figure", "measured here", "at most"], limits, "The finished bundle and the budget")
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"bundle: {report.bundle}")
