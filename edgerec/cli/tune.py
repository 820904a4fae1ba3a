"""`edgerec tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.errors import need

__all__ = ["tune"]


def tune(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time, each in a process with its share of the cores.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the settings that [tuning.space] names, judged on valid; goes on where an earlier call was stopped."""
    settings, folder = load_run(config, run_dir, seed)
    search = need("edgerec.experiments.tuning.search", "train", "edgerec tune")
    from edgerec.experiments.tuning.report import best_toml
    from edgerec.progress import progress_for

    report = search.tune(settings, folder, progress_for(), workers)
    if as_json:
        print_json(report.to_json())
        return
    columns, rows = report.table()
    print_table(columns, rows, f"Trials, the best first, judged on valid ({len(report.trials)}; all in trials.json)")
    if report.importance:
        print_table(["setting", "share of the variance"], list(report.importance.items()), "What mattered")
    typer.echo(f"\n{best_toml(report, settings)}", nl=False)
