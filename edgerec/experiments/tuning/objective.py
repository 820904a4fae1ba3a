"""What a trial does: train one model with its settings, and judge it on the validation split."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgerec.config import Config
from edgerec.distillation.student import new_student, train_student
from edgerec.ensemble.scoring import TorchScorer
from edgerec.errors import EdgerecError
from edgerec.evaluation.quality import evaluate_scorer
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.experiments.tuning.study import Search, alone
from edgerec.metrics import ModelMetrics
from edgerec.progress import Progress
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import Run
from edgerec.training.calibrate import calibrated
from edgerec.training.teacher import fit_on_valid

OnLoss: TypeAlias = Callable[[int, float], None]
"""Is called with the validation loss after each epoch (1, 2, ...); it may raise `optuna.TrialPruned`."""


@dataclass(frozen=True)
class Outcome:
    """The result of a trial: the figure that decides, its standard error (NaN if unknown), and all metrics."""

    value: float
    se: float
    metrics: dict[str, dict[str, float | None]]


Objective: TypeAlias = Callable[[Search, Config, Path, Progress, str, OnLoss], Outcome]
"""(search, settings of the trial, its folder, progress, its title, after each epoch) -> its result."""


def judge(search: Search, config: Config, folder: Path, progress: Progress, title: str, on_loss: OnLoss) -> Outcome:
    """Train the model of `[tuning] stage` with the settings of a trial; goes on from a checkpoint in `folder`.

    Raises:
        EdgerecError: the training failed, or the metric has no value on valid.
    """
    run = Run(config, search.base, progress)
    data = run.learning_data("valid")

    def on_epoch(epoch: int, losses: dict[str, float]) -> None:
        loss = loss_that_decides(search.metric, losses)
        if loss is not None:
            on_loss(epoch, loss)

    if config.tuning.stage == "teacher":
        teacher, _ = fit_on_valid(
            config.teacher, config.training, config.seed, data, folder / "model", progress, title, on_epoch
        )
        scorer = TorchScorer([teacher.eval()], data)
    else:
        examples = _labelled(search, run, data)
        settings = run.student_settings
        student = new_student(settings, data)
        epochs = config.distillation.epochs
        train_student(settings, data, examples, student, epochs, folder / "model", progress, title, on_epoch)
        scorer = TorchScorer([student.eval()], data, calibrated(student, data, config.seed))
    metrics = evaluate_scorer(scorer, data, config.evaluation.k)
    value, se = weighed(search.metric, metrics)
    return Outcome(value, se, {t: {m: _finite(e.value) for m, e in own.items()} for t, own in metrics.items()})


def weighed(metric: Mapping[str, float], metrics: ModelMetrics) -> tuple[float, float]:
    """The weighted sum of some metrics, and the standard error of a single one (of a sum it is not known).

    Raises:
        EdgerecError: one of them has no value.
    """
    estimates = {}
    for name in metric:
        task, _, figure = name.partition(".")
        estimate = metrics.get(task, {}).get(figure)
        if estimate is None or not math.isfinite(estimate.value):
            raise EdgerecError(f"{name} has no value on the validation split: nothing there can be judged by it")
        estimates[name] = estimate
    value = sum(weight * estimates[name].value for name, weight in metric.items())
    se = next(iter(estimates.values())).se * next(iter(metric.values())) if len(metric) == 1 else math.nan
    return value, se


def loss_that_decides(metric: Mapping[str, float], losses: Mapping[str, float]) -> float | None:
    """The validation loss of the tasks that the metric looks at, with its weights; None without one.

    Losses of single tasks compare between trials that weigh the tasks differently; their sum would not.
    """
    tasks = {name: name.partition(".")[0].removesuffix("_again") for name in metric}
    if not losses.keys() >= set(tasks.values()):
        return None
    return sum(weight * losses[tasks[name]] for name, weight in metric.items())


def _labelled(search: Search, run: Run, data: LearningData) -> Examples:
    """The examples with the teacher's labels, which the first trial with such requests makes for all others."""
    config = run.config
    made_by = [search.name, config.distillation.pseudo_labelled, config.distillation.future, config.student.max_history]
    folder = search.folder / "work" / f"labels-{hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(search.folder, "labels"):
        return labelled_examples(run, data, folder)[0]


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
