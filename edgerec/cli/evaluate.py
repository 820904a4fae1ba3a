"""`edgerec evaluate`."""

from __future__ import annotations

from pathlib import Path

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.stages import print_report

__all__ = ["evaluate"]


def evaluate(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge teacher, student, pruned and INT8 beside the baselines: a table, report.json and report.html."""
    settings, folder = load_run(config, run_dir, seed)
    from edgerec.pipeline import run_stage, stage_named
    from edgerec.progress import progress_for

    run_stage(stage_named("evaluate"), settings, folder, progress_for())
    if as_json:
        typer.echo((folder / "report" / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_report(folder)
