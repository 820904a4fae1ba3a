"""`edgerec ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["ablate"]


def ablate(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a change; may be repeated. Default: all changes.")
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Change parts of the teacher instead of the student's training.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Train with so many seeds, beginning with the first.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure what each part of the training gains.

    A model is trained for each change of the settings and judged on the validation split. A comparison that was stopped
    goes on with the same command.
    """
    run = open_run(config, run_dir, seed, "ablate")
    ablation = need("edgerec.experiments.ablation", "train", "edgerec ablate")
    what, numbers = "teacher" if teacher else "student", range(run.config.seed, run.config.seed + seeds)
    report = ablation.ablate(run, what, only or (), numbers)
    if as_json:
        print_json(report.to_json())
        return
    title = f"The {what}, judged on valid; below it what each change adds on the same requests (± standard error)"
    columns, rows = report.table()
    print_table(columns, rows, title)
    typer.echo(f"\nwritten: {run.report / 'ablations.json'}; the page of edgerec evaluate shows it")
