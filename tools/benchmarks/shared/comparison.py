"""A comparison on one public data set: what is compared, where its results lie, and its baselines."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.progress import Progress
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from tools.benchmarks.baselines.closed_form import LIGHT
from tools.benchmarks.baselines.evaluation import RANKERS, Splits, evaluate_baselines, names_of
from tools.benchmarks.shared import datasets, results
from tools.benchmarks.shared.datasets import Values
from tools.benchmarks.shared.results import Figure, Metrics

ROWS = ("seed", "data", "task", "evaluation")
"""Sections of the settings that a baseline depends on."""


@dataclass(frozen=True)
class Comparison:
    """One data set: its settings and where its results are stored.

    Attributes:
        values: settings as in a file, with what the command line changed; paths are relative to `home`.
        folder: of runs and results.
        quick: untuned baselines.
    """

    name: str
    values: Values
    home: Path
    folder: Path
    seeds: tuple[int, ...]
    quick: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        out: Path,
        data: Path | None,
        seeds: tuple[int, ...],
        part: str,
        changes: Sequence[Values] = (),
        quick: bool = False,
    ) -> Comparison:
        """What the command line asks of one data set."""
        values, home = datasets.settings_of(name, data, out / name)
        values.setdefault("evaluation", {})["part"] = part
        for change in changes:
            _merge(values, change)
        return cls(name, values, home, out / name, seeds, quick)

    def config(self, values: Values, seed: int = 0) -> Config:
        """Checked settings of a run."""
        return Config.of(values | {"seed": seed}, self.home, self.name)

    @property
    def part(self) -> str:
        """The evaluation split."""
        return str(self.values["evaluation"]["part"])

    @property
    def figures(self) -> list[Figure]:
        """What is shown."""
        shown = [*datasets.REQUIRED[self.name], *datasets.ALSO_SHOWN.get(self.name, ())]
        tasks = {task["name"] for task in self.values["task"]}
        return [figure for figure in shown if figure[0] in tasks]

    @property
    def columns(self) -> tuple[str, ...]:
        """Of a table with a row for each model."""
        return ("", *map(results.title_of, self.figures))

    def row(self, name: str, metrics: Metrics) -> list[str]:
        """Of such a table."""
        return [name, *(results.cell(results.at(metrics, figure)) for figure in self.figures)]

    def table(
        self, models: Mapping[str, Sequence[Metrics]], baselines: Mapping[str, Metrics], spread_of: str, note: str
    ) -> tuple[str, tuple[str, ...], list[list[str]]]:
        """Title, columns and rows: the mean of each model's seeds, the spread of one model, and the baselines."""
        rows = []
        for name, seeds in models.items():
            rows.append([name, *(results.cell(results.mean_of_seeds(seeds, figure)) for figure in self.figures)])
            if name == spread_of:
                spreads = (results.number(results.spread(seeds, figure)) for figure in self.figures)
                rows.append(["  spread over seeds", *spreads])
        rows += [self.row(name, metrics) for name, metrics in baselines.items()]
        return f"{self.name}, {self.part} split: value ±standard error; {note}", self.columns, rows

    def run_dir(self, name: str) -> Path:
        """Of one model."""
        return self.folder / "runs" / name


def _merge(values: Values, change: Values) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(values.setdefault(key, {}), value)
        else:
            values[key] = value


def baseline_config(comparison: Comparison) -> Config:
    """What baselines depend on: no texts, and nothing of the teacher; untuned ones have a seed of their own."""
    values = {key: copy.deepcopy(comparison.values[key]) for key in ("name", "data", "task", "evaluation")}
    values["data"].get("items", {}).pop("text", None)
    values["data"].pop("graph", None)
    return comparison.config(values, seed=int(comparison.quick))


def baselines_of(comparison: Comparison) -> dict[str, Metrics]:
    """Metrics of the finished baselines, by name."""
    return {
        results.read(path)["name"]: results.metrics_of(path)
        for path in _finished(comparison, baseline_config(comparison))
    }


def _finished(comparison: Comparison, config: Config) -> list[Path]:
    return [path for path in sorted((comparison.folder / "baselines").glob("*.json")) if results.finished(path, config)]


def fit_baselines(comparison: Comparison, progress: Progress) -> None:
    """Fit and evaluate the baselines that are not finished for these rows and tasks."""
    config = baseline_config(comparison)
    rankers = LIGHT if comparison.name == "video" else RANKERS  # nothing is required of the ranking of videos
    done = {results.read(path)["name"] for path in _finished(comparison, config)}
    if done >= names_of(comparison.config(comparison.values).tasks, rankers):
        return
    run_dir = comparison.run_dir("baselines")
    progress.headline(f"{comparison.name}: baselines")
    pipeline.run(config, run_dir, progress, until="prepare")
    datasets.check_rows(comparison.name, Dataset.open(run_dir / "dataset").meta.rows)
    evaluation = Run(config, run_dir, progress).learning_data(config.evaluation.part)
    valid = evaluation if comparison.part == "valid" else Run(config, run_dir, progress).learning_data("valid")
    by_days = config.data.split.by != "leave-last-out"
    splits = Splits(valid, evaluation, by_days, rankers, comparison.quick)
    start = time.monotonic()
    for name, metrics in evaluate_baselines(splits, done, progress):
        took: Mapping[str, object] = {"seconds": round(time.monotonic() - start)}
        results.store(comparison.folder / "baselines" / f"{results.slug(name)}.json", name, config, ROWS, metrics, took)
        start = time.monotonic()
