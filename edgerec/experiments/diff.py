"""Two bundles on the same evaluation split: quality, overlap of their lists, who gains and who loses, and size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec.config import Config
from edgerec.errors import ConfigError
from edgerec.evaluation.fidelity import ALL, OVERLAP, fidelity
from edgerec.evaluation.quality import evaluate_model
from edgerec.evaluation.report import Table, figure
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.evaluation.segment_metrics import segment_differences
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.metrics import Estimate, MetricTable, ModelMetrics, TaskMetrics, main_metric, metrics_to_json
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks

__all__ = ["Diff", "compare"]

SURE = 1.96
"""Standard errors beyond which a difference is called one."""
WORSE = 1.645
"""The same one-sided, for the gate."""


@dataclass(frozen=True)
class Diff:
    """What the new bundle has more (or less) than the old one.

    Attributes:
        names: of both. metrics: by "old" and "new", task and figure. paired: new less old, by task and figure.
        overlap: share of the ten best in common, by task. parts: by part and task, new less old in the main figure.
        bytes: of each file, old and new.
    """

    names: tuple[str, str]
    metrics: MetricTable
    paired: ModelMetrics
    overlap: TaskMetrics
    parts: MetricTable
    bytes: dict[str, tuple[int, int]]

    @property
    def failures(self) -> list[str]:
        """Tasks whose main figure is worse than the old bundle's by more than chance."""
        found = []
        for task, name, of in self._main():
            error = of.se if math.isfinite(of.se) else 0.0
            if of.value + WORSE * error < 0:
                found.append(f"{task}: {name} is {-of.value:.4f} ±{error:.4f} below {self.names[0]}'s")
        return found

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
        columns = ("task", "figure", *self.names, "difference", "same of the ten best")
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
        """What it comes to."""
        return self.failures or ["the new bundle is not worse than the old one in any task"]

    def to_json(self) -> dict[str, Any]:
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


def compare(config: Config, run_dir: Path, old: Path, new: Path, progress: Progress) -> Diff:
    """Ask both bundles what the evaluation split of a run asks, ``[evaluation] part``.

    Raises:
        ConfigError: a bundle lacks a task of the settings. BundleError: one is damaged.
    """
    data = Run(config, run_dir, progress).learning_data()
    eval_requests = find_evaluation_requests(data)
    wanted = {task.name for task in scored_tasks(data.tasks)}
    found, answers, names = {}, {}, []
    for side, path in (("old", old), ("new", new)):
        with ArrayRecommender.of(path) as recommender:
            lacking = wanted - set(recommender.tasks)
            if lacking:
                raise ConfigError(f"{path}: has no task {', '.join(sorted(lacking))}, which the settings ask for")
            manifest = recommender.bundle.manifest
            names.append(f"{manifest.name} {manifest.version}")
            progress.say(f"diff: {names[-1]}")
            model = RuntimeModel(recommender, data, eval_requests, progress)
            found[side], answers[side] = evaluate_model(model, data, eval_requests, config.evaluation.k)
    if names[0] == names[1]:
        names = [f"{name} ({side})" for name, side in zip(names, ("old", "new"), strict=True)]
    paired = {
        task: {m: of.minus(found["old"][task][m]) for m, of in figures.items() if m in found["old"].get(task, {})}
        for task, figures in found["new"].items()
    }
    kept = fidelity(answers["new"], answers["old"], data, eval_requests)
    overlap = {task: figures[OVERLAP] for task, figures in kept[ALL].items() if OVERLAP in figures}
    parts = segment_differences(answers["new"], answers["old"], data, eval_requests, config.evaluation.segments)
    return Diff((names[0], names[1]), found, paired, overlap, parts, _bytes(old, new))


def _bytes(*folders: Path) -> dict[str, tuple[int, int]]:
    sizes: Sequence[dict[str, int]] = [{p.name: p.stat().st_size for p in folder.iterdir()} for folder in folders]
    return {name: (sizes[0].get(name, 0), sizes[1].get(name, 0)) for name in sorted(sizes[0].keys() | sizes[1].keys())}
