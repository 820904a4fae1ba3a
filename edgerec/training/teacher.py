"""The teacher stage: choose the number of epochs on valid, then train one teacher for each fold of users.

The teacher of a run is the mean of its fold models. A row that was learned from is labelled for the student by the
models that did not see its user, all others by all of them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgerec.config import Config
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.batches import BatchSettings, JointBatches
from edgerec.training.checkpoint import load_weights, read_json, save_weights, write_json
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.loop import Fitted, LoopSettings, OnEpoch, fit


@dataclass(frozen=True)
class TeacherReport:
    """What training found: the epochs that valid chose, and the validation loss of each task there."""

    epochs: int
    parameters: int
    valid: dict[str, float]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.valid.items())
        return [f"teacher: {self.parameters:,} parameters, {self.epochs} epochs; validation losses: {losses}"]


def train(config: Config, run_dir: Path, progress: Progress) -> TeacherReport:
    """Train the teacher of a run; goes on where an earlier call was stopped."""
    settings = config.teacher
    work = work_folder(run_dir, "teacher", config, ("teacher",))
    part = config.evaluation.part
    data = load_learning_data(config, run_dir, "valid", progress)
    chosen = work / "chosen.json"
    if not chosen.exists():
        _choose_epochs(config, data, work, progress)
    found = read_json(chosen)
    epochs = int(found["epochs"])
    if part == "test":
        data = load_learning_data(config, run_dir, "test", progress)
    parameters = 0
    for fold in range(settings.folds):
        model = build_teacher(config, data)
        parameters = sum(p.numel() for p in model.parameters())
        weights = work / fold_name(fold)
        if not weights.exists():
            users = fold_of(np.arange(len(data.fit_log.offsets) - 1), settings.folds) != fold
            batches = batch_settings(config, data, settings.item_dropout)
            train_batches = JointBatches(data.fit, batches, config.seed + fold + 1, users=users)
            loop = _loop(config, stop_after=epochs)
            title = f"teacher, fold {fold + 1} of {settings.folds}"
            fit(model, data.tasks, train_batches, None, loop, work / f"fold-{fold}", progress, title)
            save_weights(model, weights)
    out = run_dir / "teacher"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for fold in range(settings.folds):
        (work / fold_name(fold)).rename(out / fold_name(fold))
    _keep_logs(work, out)
    report = TeacherReport(epochs, parameters, found["valid"])
    write_json(
        out / "metrics.json",
        {
            "epochs": epochs,
            "valid": found["valid"],
            "parameters": parameters,
            "seed": config.seed,
            "settings": settings.model_dump(mode="json"),
        },
    )
    shutil.rmtree(work)
    return report


def load_teachers(config: Config, run_dir: Path, data: LearningData) -> list[Teacher]:
    """The fold models of a run, ready to score."""
    teachers = []
    for fold in range(config.teacher.folds):
        model = build_teacher(config, data)
        load_weights(model, run_dir / "teacher" / fold_name(fold))
        teachers.append(model.eval())
    return teachers


def build_teacher(config: Config, data: LearningData) -> Teacher:
    """A new teacher, the same for the same seed."""
    t = config.teacher
    torch.manual_seed(config.seed)
    pointwise = [task.kind != "retrieval" for task in scored_tasks(data.tasks)]
    return Teacher(
        data.shape,
        data.features,
        pointwise,
        t.dim,
        t.hidden,
        t.heads,
        t.experts,
        t.dropout,
        t.graph_layers,
        t.sequence,
        t.sequence_layers,
        t.sharing,
    )


def fold_of(user: Int, folds: int) -> npt.NDArray[np.int64]:
    """The fold of each user: a fixed hash, so that neighbouring numbers fall apart."""
    mixed = (user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(folds)).astype(np.int64)


def fold_name(fold: int) -> str:
    """File of a fold's weights."""
    return f"fold-{fold}.safetensors"


def batch_settings(config: Config, data: LearningData, history_dropout: float = 0.0) -> BatchSettings:
    """Sizes of the joint batches of teacher and student."""
    t = config.teacher
    return BatchSettings(t.visits, t.rows, t.visits_per_epoch, history_dropout, data.lag)


def work_folder(run_dir: Path, stage: str, config: Config, sections: Sequence[str]) -> Path:
    """Where a stage keeps what it has done so far, so that it can go on after a stop.

    Other settings in `sections`, another dataset or another teacher have another folder; older folders are removed.
    """
    settings = config.model_dump(mode="json", include={"seed", "task", "evaluation", *sections})
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    key.update((run_dir / "dataset" / "dataset.json").read_bytes())
    if stage != "teacher":
        for path in sorted((run_dir / "teacher").glob("*.safetensors")):
            key.update(path.read_bytes())
    work = run_dir / "work" / f"{stage}-{key.hexdigest()[:12]}"
    for old in (run_dir / "work").glob(f"{stage}-*"):
        if old != work:
            shutil.rmtree(old)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _choose_epochs(config: Config, data: LearningData, work: Path, progress: Progress) -> None:
    _, result = fit_on_valid(config, data, work / "choose", progress, "teacher on valid")
    write_json(work / "chosen.json", {"epochs": result.epochs, "valid": result.valid})


def fit_on_valid(
    config: Config,
    data: LearningData,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
) -> tuple[Teacher, Fitted]:
    """One network as a fold model learns, left at its best epoch on the held part of `data`."""
    batches = batch_settings(config, data, config.teacher.item_dropout)
    model = build_teacher(config, data)
    # As many users as a fold model will learn from: more data would choose another number of epochs.
    users = fold_of(np.arange(len(data.fit_log.offsets) - 1), config.teacher.folds) != 0
    train_batches = JointBatches(data.fit, batches, config.seed, users=users)
    held = JointBatches(data.held, batches, config.seed, train=False)
    return model, fit(model, data.tasks, train_batches, held, _loop(config), folder, progress, title, on_epoch)


def _loop(config: Config, stop_after: int | None = None) -> LoopSettings:
    t = config.teacher
    return LoopSettings(
        t.epochs,
        t.learning_rate,
        t.weight_decay,
        t.patience,
        stop_after=stop_after,
        loss_weights=t.loss_weights,
        training=config.training,
    )


def _keep_logs(work: Path, out: Path) -> None:
    for log in work.glob("*-log"):
        log.rename(out / log.name)
