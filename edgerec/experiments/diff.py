"""Compares two bundles on the same evaluation split: quality, overlap of their lists, who gains and loses, and size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec.errors import ConfigError
from edgerec.evaluation.fidelity import ALL, OVERLAP, fidelity
from edgerec.evaluation.quality import evaluate_model
from edgerec.evaluation.report import Table, figure
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.evaluation.segment_metrics import segment_differences
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.metrics import Estimate, MetricTable, ModelMetrics, TaskMetrics, main_metric, metrics_to_json
from edgerec.runtime import ArrayRecommender
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks

__all__ = ["Diff", "compare"]

SURE = 1.96
"""A difference of more standard errors than these is reported."""
WORSE = 1.645
"""The same for the one-sided test of the gate."""


@dataclass(frozen=True)
class Diff:
    """How the new bundle differs from the old one.

    Attributes:
        names: of the old and the new bundle. metrics: by "old" and "new", task and metric.
        paired: new minus old, by task and metric. overlap: common share of the ten best items, by task.
        parts: new minus old in the main metric, by part and task. bytes: of each file, old and new.
    """

    names: tuple[str, str]
    metrics: MetricTable
    paired: ModelMetrics
    overlap: TaskMetrics
    parts: MetricTable
    bytes: dict[str, tuple[int, int]]

    @property
    def failures(self) -> list[str]:
        """One line for each task that is worse than the old bundle's by more than chance."""
        lines = []
        for task, name, difference in self._main():
            error = difference.se if math.isfinite(difference.se) else 0.0
            if difference.value + WORSE * error < 0:
                lines.append(f"{task}: {name} is {-difference.value:.4f} ±{error:.4f} below {self.names[0]}'s")
        return lines

    def _main(self) -> Iterator[tuple[str, str, Estimate]]:
        for task, figures in self.paired.items():
            name = main_metric(figures)
            if name is not None and math.isfinite(figures[name].value):
                yield task, name, figures[name]

    def tables(self) -> Iterator[Table]:
        """For the screen."""
        rows = [
            (task, name, *(figure(self.metrics[side][task][name]) for side in ("old", "new")), figure(of, signed=True),
             figure(self.overlap.get(task)))
            for task, name, of in self._main()
        ]  # fmt: skip
        columns = ("task", "figure", *self.names, "difference", "common share of the ten best")
        yield Table("Quality on the same evaluation split", columns, tuple(rows), 4)
        moved = [
            (part, task, name, figure(of, signed=True), "gains" if of.value > 0 else "loses")
            for part, tasks in self.parts.items()
            for task, figures in tasks.items()
            for name, of in figures.items()
            if math.isfinite(of.value) and math.isfinite(of.se) and abs(of.value) > SURE * of.se
        ]
        if moved:
            yield Table("Who gains and who loses", ("part", "task", "figure", "difference", ""), tuple(moved), 1)
        sizes = [(name, f"{a:,}", f"{b:,}", f"{b - a:+,}") for name, (a, b) in self.bytes.items()]
        yield Table("Bytes", ("file", *self.names, "difference"), tuple(sizes), 3)

    def lines(self) -> list[str]:
        """The verdict, for the screen."""
        return self.failures or ["the new bundle is not worse than the old one in any task"]

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return {
            "names": list(self.names),
            "metrics": metrics_to_json(self.metrics),
            "paired": metrics_to_json({ALL: self.paired})[ALL],
            "overlap": {task: of.to_json() for task, of in self.overlap.items()},
            "parts": metrics_to_json(self.parts),
            "bytes": {name: list(of) for name, of in self.bytes.items()},
            "failures": self.failures,
        }


def compare(run: Run, old: Path, new: Path) -> Diff:
    """Judge both bundles on the evaluation split of a run, ``[evaluation] part``.

    Raises:
        ConfigError: a bundle lacks a task of the settings. BundleError: one is damaged.
    """
    data, progress, evaluation = run.learning_data(), run.progress, run.config.evaluation
    eval_requests = find_evaluation_requests(data)
    wanted = {task.name for task in scored_tasks(data.tasks)}
    metrics, answers, names = {}, {}, []
    for side, path in (("old", old), ("new", new)):
        with ArrayRecommender.of(path) as recommender:
            missing = wanted - set(recommender.tasks)
            if missing:
                raise ConfigError(f"{path}: has no task {', '.join(sorted(missing))}, which the settings ask for")
            manifest = recommender.bundle.manifest
            names.append(f"{manifest.name} {manifest.version}")
            progress.say(f"diff: {names[-1]}")
            model = RuntimeModel(recommender, data, eval_requests, progress)
            metrics[side], answers[side] = evaluate_model(model, data, eval_requests, evaluation.k)
    if names[0] == names[1]:
        names = [f"{name} ({side})" for name, side in zip(names, ("old", "new"), strict=True)]
    paired = {
        task: {m: e.minus(metrics["old"][task][m]) for m, e in own.items() if m in metrics["old"].get(task, {})}
        for task, own in metrics["new"].items()
    }
    of_all = fidelity(answers["new"], answers["old"], data, eval_requests)[ALL]
    overlap = {task: figures[OVERLAP] for task, figures in of_all.items() if OVERLAP in figures}
    parts = segment_differences(answers["new"], answers["old"], data, eval_requests, evaluation.segments)
    return Diff((names[0], names[1]), metrics, paired, overlap, parts, _bytes(old, new))


def _bytes(*folders: Path) -> dict[str, tuple[int, int]]:
    sizes: Sequence[dict[str, int]] = [{p.name: p.stat().st_size for p in folder.iterdir()} for folder in folders]
    return {name: (sizes[0].get(name, 0), sizes[1].get(name, 0)) for name in sorted(sizes[0].keys() | sizes[1].keys())}
