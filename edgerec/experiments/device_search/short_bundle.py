"""What one trial makes: a whole small bundle whose student learned for a part of the epochs, and its quality."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgerec.bundle.size import bundle_size
from edgerec.compression.graphs import Expectation
from edgerec.compression.pruning import pruned_student
from edgerec.config import Config
from edgerec.distillation.student import new_student, train_student
from edgerec.evaluation.quality import evaluate_bundle, evaluate_scorer
from edgerec.examples.batches import Examples
from edgerec.experiments.device_search.context import SearchContext
from edgerec.files import read_json, write_json
from edgerec.metrics import Estimate
from edgerec.models.student import Student
from edgerec.stages.labels import labelled_examples
from edgerec.stages.quantize import build
from edgerec.stages.run import student_settings
from edgerec.training.calibrate import calibrated
from edgerec.training.checkpoint import load_student, save_student

SHORT = 0.25
"""Share of the epochs that a trial's student learns for."""


@dataclass(frozen=True)
class ShortBundle:
    """A judged bundle.

    Attributes:
        tasks: share of the teacher's figure that is retained, by task.
        other_bytes: of the files beside model and catalog.
    """

    tasks: Mapping[str, float]
    other_bytes: int

    @property
    def quality(self) -> float:
        """The share that is retained, as a mean over the tasks."""
        return statistics.mean(self.tasks.values())


class ShortBundles:
    """Makes and judges bundles. Students, which no device changes, are shared by the searches for all devices."""

    def __init__(self, context: SearchContext) -> None:
        self.context, self.data, self.progress = context, context.data, context.progress

    def judged(self, settings: Config) -> ShortBundle:
        """Make the bundle of these settings, and compare it with the teacher on the validation split."""
        data, work = self.data, self.context.folder / "work"
        shutil.rmtree(work, ignore_errors=True)  # of a trial that was stopped
        pruned = self._pruned(settings, work / "pruned")
        expectations = {name: Expectation(**values) for name, values in calibrated(pruned, data, settings.seed).items()}
        build(settings, data, pruned, expectations, work / "bundle", self.context.gone)
        size = bundle_size(work / "bundle")
        own = main_figures(evaluate_bundle(work / "bundle", data, settings.evaluation.k, self.progress), settings)
        shutil.rmtree(work)
        retained = {task: value / self._teacher_figures[task] for task, value in own.items()}
        return ShortBundle(retained, size.without_catalog - size.model)

    def _pruned(self, settings: Config, work: Path) -> Student:
        int4 = settings.quantization.table == "int4"
        student = self._student(settings)
        return pruned_student(
            settings.pruning, student_settings(settings), int4, self.data, self._examples, student, work, self.progress
        )

    def _student(self, settings: Config) -> Student:
        """Distilled for a part of the epochs; made once for all trials with the same widths."""
        shared, distillation = self.context.shared, settings.distillation
        epochs = max(1, round(SHORT * distillation.epochs))
        settings = settings.model_copy(update={"distillation": distillation.model_copy(update={"epochs": epochs})})
        key = self.context.key(settings.model_dump_json(include={"seed", "task", "student", "distillation"}))
        folder, work = shared / "students" / key, shared / "work" / key
        if (folder / "model.json").exists():
            return load_student(folder, self.data.shape, self.data.features, distillation.dropout)
        made_by = student_settings(settings)
        student = new_student(made_by, self.data)
        train_student(made_by, self.data, self._examples, student, epochs, work, self.progress, "student")
        save_student(student, folder, {})
        shutil.rmtree(work, ignore_errors=True)
        return student

    @cached_property
    def _examples(self) -> Examples:
        """What the students learn from, with the teacher's labels."""
        return labelled_examples(self.context.trials, self.data)[0]

    @cached_property
    def _teacher_figures(self) -> Mapping[str, float]:
        """The teacher's figure of each task on the validation split, made once for all devices."""
        path, stamp = self.context.shared / "teacher.json", self.context.key("")
        if not path.exists() or read_json(path)["stamp"] != stamp:
            trials = self.context.trials
            metrics = evaluate_scorer(trials.scorer("teacher", self.data), self.data, trials.config.evaluation.k)
            write_json(path, {"stamp": stamp, "figures": main_figures(metrics, trials.config)})
        figures: Mapping[str, float] = read_json(path)["figures"]
        return figures


def main_figures(metrics: Mapping[str, Mapping[str, Estimate]], config: Config) -> dict[str, float]:
    """The figure of each task that decides; for AUC and XAUC, how far it is above chance."""
    k = config.evaluation.k[0]
    deciding = {"retrieval": (f"ndcg@{k}", 0.0), "binary": ("auc", 0.5), "regression": ("xauc", 0.5),
                "related": ("capped_recall@10", 0.0)}  # fmt: skip
    figures = {}
    for task in config.tasks:
        name, chance = deciding[task.kind]
        if task.name in metrics and name in metrics[task.name]:
            figures[task.name] = metrics[task.name][name].value - chance
    return figures
