"""`edgerec tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["tune"]


def tune(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of trials at a time, each in its own process. Default: [tuning] workers."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the settings that [tuning.space] names.

    The trials are judged on the validation split. A search that was stopped goes on with the same command.
    """
    run = open_run(config, run_dir, seed, "tune")
    search = need("edgerec.experiments.tuning.search", "train", "edgerec tune")
    from edgerec.experiments.tuning.report import best_toml

    report = search.tune(run, workers)
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, f"Trials, the best first, judged on valid ({len(report.trials)}; all in trials.json)")
    if report.importance:
        print_table(["setting", "share of the variance"], list(report.importance.items()), "Importance of settings")
    typer.echo(f"\n{best_toml(report, run.config)}", nl=False)
