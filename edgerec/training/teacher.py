"""The teacher stage: choose the number of epochs on valid, then train one teacher for each fold of users.

Beside the networks stands a committee of closed-form models and trees (`edgerec.training.committee`); weights chosen on
valid make one score of them. A row that was learned from is labelled for the student by the models that did not see
its user, all others by the mean of all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgerec.config import Config
from edgerec.data import Dataset
from edgerec.data.doctor import refuse_leaks
from edgerec.files import read_json, write_json
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.training.batches import BatchSettings, JointBatches
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.committee.committee import CLOSED_FORM, Blend, Committee, Members, choose_weights
from edgerec.training.committee.views import Views
from edgerec.training.folds import fold_of
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.loop import EARLY, Fitted, LoopSettings, OnEpoch, fit
from edgerec.training.text import TextReader

COMMITTEE, WEIGHTS = "committee", "weights.json"
"""Folder of the members beside the networks, under the teacher's, and their weights."""
EARLY_PART = 3
"""An early checkpoint is kept after this part of the epochs."""


@dataclass(frozen=True)
class TeacherReport:
    """What training found: the epochs that valid chose, the network's losses there, and what each member is worth."""

    epochs: int
    parameters: int
    valid: dict[str, float]
    committee: Sequence[str]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.valid.items())
        network = f"teacher: {self.parameters:,} parameters, {self.epochs} epochs; validation losses: {losses}"
        return [network, *self.committee]


def train(config: Config, run_dir: Path, progress: Progress) -> TeacherReport:
    """Train the teacher of a run; goes on where an earlier call was stopped."""
    refuse_leaks(Dataset.open(run_dir / "dataset"), config.training.allow_leaks)
    work = work_folder(run_dir, "teacher", config, ("teacher", "committee"))
    data = load_learning_data(config, run_dir, "valid", progress)
    found = _learn_from_valid(config, data, work, progress)
    part = config.evaluation.part
    if part == "test":
        data = load_learning_data(config, run_dir, "test", progress)
    epochs = int(found["epochs"])
    parameters = _train_folds(config, data, work, epochs, progress)
    members = Members.fit(config, data, work / part, range(config.teacher.folds), found["trees"], progress)
    out = run_dir / "teacher"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for fold in range(config.teacher.folds):
        for name in (fold_name(fold), early_name(fold)):
            (work / name).rename(out / name)
    (work / part).rename(out / COMMITTEE)
    shutil.copy(work / WEIGHTS, out / COMMITTEE / WEIGHTS)
    _keep_logs(work, out)
    weights = Blend(**read_json(out / COMMITTEE / WEIGHTS))
    absent = _absent(config, data, members)
    report = TeacherReport(epochs, parameters, found["valid"], [*weights.lines(), *absent])
    write_json(
        out / "metrics.json",
        {
            "epochs": epochs,
            "valid": found["valid"],
            "committee": asdict(weights),
            "absent": absent,
            "parameters": parameters,
            "seed": config.seed,
            "settings": config.model_dump(mode="json"),
        },
    )
    shutil.rmtree(work)
    return report


def _learn_from_valid(config: Config, data: LearningData, work: Path, progress: Progress) -> dict[str, Any]:
    """Epochs of the networks, trees of the boosters, and the weights of the members: all that valid decides."""
    chosen, weights = work / "chosen.json", work / "valid-network.safetensors"
    if not chosen.exists():
        model, result = fit_on_valid(config, data, work / "choose", progress, "teacher on valid")
        save_weights(model, weights)
        write_json(chosen, {"epochs": result.epochs, "valid": result.valid})
    found = read_json(chosen)
    model = build_teacher(config, data)
    load_weights(model, weights)
    # One fold of the re-ranker is enough to see what it is worth: the network beside it is one as well.
    members = Members.fit(config, data, work / "valid", [0], None, progress)
    choose_weights(config, data, [model.eval()], members, work / WEIGHTS, progress)
    return found | {"trees": None if members.boosting is None else members.boosting.trees}


def _train_folds(config: Config, data: LearningData, work: Path, epochs: int, progress: Progress) -> int:
    """Train the network of each fold; the number of its parameters."""
    settings, parameters = config.teacher, 0
    for fold in range(settings.folds):
        model = build_teacher(config, data)
        parameters = sum(p.numel() for p in model.parameters())
        weights = work / fold_name(fold)
        if not weights.exists():
            users = fold_of(np.arange(len(data.fit_log.offsets) - 1), settings.folds) != fold
            batches = batch_settings(config, data, settings.item_dropout)
            train_batches = JointBatches(data.fit, batches, config.seed + fold + 1, users=users)
            loop = replace(_loop(config, stop_after=epochs), early=max(epochs // EARLY_PART, 1))
            title = f"teacher, fold {fold + 1} of {settings.folds}"
            folder = work / f"fold-{fold}"
            fit(model, data.tasks, train_batches, None, loop, folder, progress, title, reader=text_reader(data))
            shutil.copy(folder / EARLY, work / early_name(fold))
            save_weights(model, weights)
    return parameters


def _absent(config: Config, data: LearningData, members: Members) -> list[str]:
    """A sentence for each member that the settings name and the tasks could use, and that is not there."""
    snapshots = members.snapshots
    left_out = [] if snapshots is None else [n for n in ("ease", "als") if getattr(snapshots.last, n) is None]
    return [
        f"committee: {name} is absent: {data.n_items:,} items are too many for a matrix between them"
        for name in left_out
        if name in config.committee.members
    ]


def committee_views(config: Config, data: LearningData) -> Views | None:
    """Which requests of the fit rows the committee can label without having seen their outcome; None: all."""
    rolled = {*CLOSED_FORM, "reranker"} & set(config.committee.members)
    if not rolled or all(t.kind != "retrieval" for t in data.tasks):
        return None
    return Views.of(config.committee, data, config.teacher.folds)


def load_committee(config: Config, run_dir: Path, data: LearningData) -> Committee:
    """The teacher of a run, ready to score."""
    folder = run_dir / "teacher" / COMMITTEE
    weights = Blend(**read_json(folder / WEIGHTS))
    return Committee(config, data, load_teachers(config, run_dir, data), Members.load(config, data, folder), weights)


def load_teachers(config: Config, run_dir: Path, data: LearningData, early: bool = False) -> list[Teacher]:
    """The fold models of a run, ready to score; or, `early`, as they were after a third of their training."""
    teachers = []
    for fold in range(config.teacher.folds):
        model = build_teacher(config, data)
        load_weights(model, run_dir / "teacher" / (early_name if early else fold_name)(fold))
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
        t.text_joint > 0,
    )


def text_reader(data: LearningData) -> TextReader | None:
    """A language model that learns along, if the settings ask for it; its own for each network."""
    return None if data.text_source is None else TextReader(data.text_source)


def fold_name(fold: int) -> str:
    """File of a fold's weights."""
    return f"fold-{fold}.safetensors"


def early_name(fold: int) -> str:
    """File of a fold's weights after a third of its training."""
    return f"early-{fold}.safetensors"


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
        teacher = run_dir / "teacher"
        for path in (*sorted(teacher.glob("*.safetensors")), *teacher.glob(f"{COMMITTEE}/{WEIGHTS}")):
            key.update(path.read_bytes())
    work = run_dir / "work" / f"{stage}-{key.hexdigest()[:12]}"
    for old in (run_dir / "work").glob(f"{stage}-*"):
        if old != work:
            shutil.rmtree(old)
    work.mkdir(parents=True, exist_ok=True)
    return work


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
    reader = text_reader(data)
    return model, fit(model, data.tasks, train_batches, held, _loop(config), folder, progress, title, on_epoch, reader)


def _loop(config: Config, stop_after: int | None = None) -> LoopSettings:
    t = config.teacher
    return LoopSettings(
        t.epochs,
        t.learning_rate,
        t.weight_decay,
        t.patience,
        stop_after=stop_after,
        regression=t.regression,
        loss_weights=t.loss_weights,
        adversarial=t.adversarial,
        training=config.training,
    )


def _keep_logs(work: Path, out: Path) -> None:
    for log in work.glob("*-log"):
        log.rename(out / log.name)
