"""`edgerec transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["transfer"]


def transfer(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Train each network with so many seeds, beginning with the first.")
    ] = 1,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Try all sharing strategies: values of [teacher] sharing and loss_weights."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare tasks learned together with each task learned alone.

    The networks are judged on the validation split. A comparison that was stopped goes on with the same command.
    """
    run = open_run(config, run_dir, seed, "transfer")
    experiment = need("edgerec.experiments.transfer", "train", "edgerec transfer")
    report = experiment.transfer(run, seeds, compare)
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, "Learned alone and together, judged on valid (± standard error)")
    if len(report.together) > 1:
        columns, rows = report.strategies()
        print_table(columns, rows, "Sharing strategies (± upper bound of the standard error)")
    typer.echo(f"\n{report.sentence()}")
