"""`edgerec evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run, open_run
from edgerec.cli.output import print_json, print_table
from edgerec.cli.stages import gate_shown, print_report
from edgerec.errors import ConfigError, need

if TYPE_CHECKING:
    from edgerec.config import TaskConfig
    from edgerec.stages.run import Run

__all__ = ["evaluate"]


def evaluate(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    events: Annotated[
        str | None,
        typer.Option(help="Judge lists that devices logged: a file of edgerec events lists, or a quoted pattern."),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(help="With --events: kind of feedback that counts as success. Default: the first binary task."),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="With --events: share of users with bundle b in an A/B test.")
    ] = 0.5,
    tables: Annotated[bool, typer.Option("--tables", help="Print all tables instead of a summary.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge all models of a run and the baselines.

    Judged are the teacher, the student, the pruned student and the INT8 bundle; report.html shows all results. With
    --events, logged feedback on bundles and experiments is judged instead. It gives one verdict together with the
    last report.
    """
    if events is not None:
        run = open_run(config, run_dir, seed, "evaluate")
        _evaluate_events(run, events, reward or _first_binary(run.config.task), share, as_json)
        return
    settings, folder = load_run(config, run_dir, seed)
    if reward is not None:
        raise ConfigError("--reward is for logged lists; give them with --events")
    from edgerec.progress import progress_for
    from edgerec.stages.pipeline import run_stage, stage_named

    def show() -> None:
        if as_json:
            typer.echo((folder / "report" / "report.json").read_text(encoding="utf-8"), nl=False)
        else:
            print_report(folder, tables)

    with gate_shown(show):
        run_stage(stage_named("evaluate"), settings, folder, progress_for())
    show()


def _first_binary(tasks: Sequence[TaskConfig]) -> str:
    for task in tasks:
        if task.kind == "binary":
            return str(task.name)
    raise ConfigError("--reward: the settings have no binary task; give the kind of feedback that counts, as logged")


def _evaluate_events(run: Run, pattern: str, reward: str, share: float, as_json: bool) -> None:
    need("sklearn", "train", "edgerec evaluate")
    from edgerec.stages.online import judge_online

    report = judge_online(run, pattern, reward, share)
    if as_json:
        print_json(report.to_json())
        return
    for table in report.online.tables():
        print_table(table.columns, table.rows, table.title)
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"\n{run.report / 'online.json'}")
