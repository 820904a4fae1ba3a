"""What the commands of the stages share: run one stage, and print its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import typer

from edgerec.cli.options import load_run
from edgerec.cli.output import print_json, print_lines, print_table
from edgerec.errors import QualityError

__all__ = ["gate_shown", "print_report", "run_and_print"]


def run_and_print(name: str, config: Path, run_dir: Path | None, seed: int | None, as_json: bool) -> None:
    """Run the stage `name` and print its report: the lines go to standard error as it ends, JSON to standard output."""
    settings, folder = load_run(config, run_dir, seed)
    from edgerec.progress import progress_for
    from edgerec.stages.pipeline import run_stage, stage_named

    stage = stage_named(name)
    report = run_stage(stage, settings, folder, progress_for())
    if as_json:
        print_json(asdict(report))
    else:
        typer.echo(f"{name}: done, in {folder / stage.folder}")


@contextmanager
def gate_shown(show: Callable[[], None]) -> Iterator[None]:
    """Show the report also where a gate of `evaluate` is broken, which then ends the command: it says why."""
    try:
        yield
    except QualityError as error:
        if str(error).startswith("evaluate: "):
            show()
        raise


def print_report(run_folder: Path, whole: bool = False) -> None:
    """Print the last report of `edgerec evaluate` of a run: a summary, or all tables."""
    from edgerec.evaluation import summary
    from edgerec.evaluation.report import Report

    report = Report.read(run_folder / "report")
    for table in report.tables() if whole else summary.tables(report):
        print_table(table.columns, table.rows, table.title)
    typer.echo()
    print_lines(summary.lines(report))
    typer.echo(f"\nbundle: {run_folder / 'bundle'}   all figures: {run_folder / 'report' / 'report.html'}")
