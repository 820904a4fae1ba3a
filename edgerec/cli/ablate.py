"""`edgerec ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["ablate"]


def ablate(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    only: Annotated[list[str] | None, typer.Option(help="This change alone; may be given again.")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="The teacher's parts, in place of the student's.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Train with this many seeds, from the first on.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """What does each part of the training bring? Measured on valid; goes on where a call was stopped."""
    settings, folder = load_run(config, run_dir, seed)
    ablation = need("edgerec.experiments.ablation", "train", "edgerec ablate")
    from edgerec.progress import progress_for

    what, numbers = "teacher" if teacher else "student", range(settings.seed, settings.seed + seeds)
    report = ablation.ablate(settings, folder, progress_for(), what, only or (), numbers)
    if as_json:
        print_json(report.to_json())
        return
    title = f"The {what}, judged on valid; below it what each change adds on the same cases (± standard error)"
    columns, rows = report.table()
    print_table(columns, rows, title)
    typer.echo(f"\nkept in {folder / 'report' / 'ablations.json'}; the page of edgerec evaluate shows it")
