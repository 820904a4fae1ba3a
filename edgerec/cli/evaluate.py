"""`edgerec evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.cli.stages import print_report
from edgerec.errors import ConfigError, need
from edgerec.files import write_json

if TYPE_CHECKING:
    from edgerec.config import TaskConfig

__all__ = ["evaluate"]


def evaluate(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    events: Annotated[
        str | None, typer.Option(help="Lists that devices logged (edgerec events lists), a file or a quoted pattern.")
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(help="With --events: the kind of answer that counts; left out: the first binary task."),
    ] = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.99, help="With --events: who had b in an A/B test.")] = 0.5,
    tables: Annotated[bool, typer.Option("--tables", help="Print all figures, in place of a screen of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge teacher, student, pruned and INT8 beside the baselines: a screen, report.json and report.html.

    With --events: what devices told of bundles, experiments and this bundle, and one verdict with the last report.
    """
    settings, folder = load_run(config, run_dir, seed)
    if events is not None:
        _evaluate_events(folder, events, reward or _first_binary(settings.task), share, as_json)
        return
    if reward is not None:
        raise ConfigError("--reward: is of logged lists; give them with --events")
    from edgerec.progress import progress_for
    from edgerec.stages.pipeline import run_stage, stage_named

    run_stage(stage_named("evaluate"), settings, folder, progress_for())
    if as_json:
        typer.echo((folder / "report" / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_report(folder, tables)


def _first_binary(tasks: Sequence[TaskConfig]) -> str:
    for task in tasks:
        if task.kind == "binary":
            return str(task.name)
    raise ConfigError("--reward: no binary task in the settings; give the kind of answer that counts, as it was logged")


def _evaluate_events(folder: Path, pattern: str, reward: str, share: float, as_json: bool) -> None:
    need("sklearn", "train", "edgerec evaluate")
    from edgerec.evaluation.online import analyse, read_places
    from edgerec.evaluation.report import Report
    from edgerec.evaluation.verdict import combine
    from edgerec.runtime import Recommender

    places = read_places(pattern)
    offline = Report.read(folder / "report") if (folder / "report" / "report.json").exists() else None
    if (folder / "bundle").exists():
        with Recommender.of(folder / "bundle") as bundle:
            found = analyse(places, reward, share, bundle)
    else:
        found = analyse(places, reward, share, None)
    verdict = combine(offline, found)
    told = {**found.to_json(), "verdict": verdict.word, "because": list(verdict.because)}
    path = folder / "report" / "online.json"
    write_json(path, told, sort_keys=False)
    if as_json:
        print_json(told)
        return
    for table in found.tables():
        print_table(table.columns, table.rows, table.title)
    for line in [*found.lines(), *verdict.lines()]:
        typer.echo(line)
    typer.echo(f"\n{path}")
