"""The teacher stage: choose the number of epochs on valid, then train one teacher for each fold of users.

Beside the networks stands a ensemble of closed-form models and trees (`edgerec.ensemble`); weights chosen on
valid make one score of them. A row that was learned from is labelled for the student by the models that did not see
its user, all others by the mean of all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.config import TeacherConfig, TrainingConfig
from edgerec.data import Dataset
from edgerec.data.doctor import refuse_leaks
from edgerec.ensemble.ensemble import Blend, Members, choose_weights
from edgerec.examples.batches import JointBatches
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.files import read_json, write_json
from edgerec.progress import Progress
from edgerec.stages.run import ENSEMBLE, WEIGHTS, Run, early_name, fold_name
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.group import uses_gpu
from edgerec.training.loop import EARLY, fit
from edgerec.training.processes import side_by_side
from edgerec.training.teacher import batch_settings, build_teacher, fit_on_valid, loop_settings, text_reader

EARLY_PART = 3
"""An early checkpoint is kept after this part of the epochs."""
WORTH_A_PROCESS = 40_000
"""Examples of all epochs of a fold from which it is trained in a process of its own."""


@dataclass(frozen=True)
class TeacherReport:
    """What training found: the epochs that valid chose, the network's losses there, and what each member is worth."""

    epochs: int
    parameters: int
    valid: dict[str, float]
    ensemble: Sequence[str]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.valid.items())
        network = f"teacher: {self.parameters:,} parameters, {self.epochs} epochs; validation losses: {losses}"
        return [network, *self.ensemble]


def train(run: Run) -> TeacherReport:
    """Train the teacher of a run; goes on where an earlier call was stopped."""
    config = run.config
    refuse_leaks(Dataset.open(run.dataset), config.training.allow_leaks)
    work = run.work_folder("teacher", ("teacher", "ensemble"))
    data = run.learning_data("valid")
    found = _learn_from_valid(run, data, work)
    if run.part == "test":
        data = run.learning_data("test")
    epochs, folds = int(found["epochs"]), range(config.teacher.folds)
    parameters = _train_folds(run, data, work, epochs)
    members = Members.fit(run.ensemble_settings, data, work / run.part, folds, found["trees"], run.progress)
    out = run.teacher
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for fold in folds:
        for name in (fold_name(fold), early_name(fold)):
            (work / name).rename(out / name)
    (work / run.part).rename(out / ENSEMBLE)
    shutil.copy(work / WEIGHTS, out / ENSEMBLE / WEIGHTS)
    _keep_logs(work, out)
    weights = Blend(**read_json(out / ENSEMBLE / WEIGHTS))
    absent = _absent(config.ensemble.members, data, members)
    report = TeacherReport(epochs, parameters, found["valid"], [*weights.lines(), *absent])
    write_json(
        out / "metrics.json",
        {
            "epochs": epochs,
            "valid": found["valid"],
            "ensemble": asdict(weights),
            "absent": absent,
            "parameters": parameters,
            "seed": config.seed,
            "settings": config.model_dump(mode="json"),
        },
    )
    shutil.rmtree(work)
    return report


def _learn_from_valid(run: Run, data: LearningData, work: Path) -> dict[str, Any]:
    """Epochs of the networks, trees of the boosters, and the weights of the members: all that valid decides."""
    config, progress = run.config, run.progress
    teacher, seed = config.teacher, config.seed
    chosen, weights = work / "chosen.json", work / "valid-network.safetensors"
    if not chosen.exists():
        model, result = fit_on_valid(
            teacher, config.training, seed, data, work / "choose", progress, "teacher on valid"
        )
        save_weights(model, weights)
        write_json(chosen, {"epochs": result.epochs, "valid": result.valid})
    found = read_json(chosen)
    model = build_teacher(teacher, seed, data)
    load_weights(model, weights)
    # One fold of the re-ranker is enough to see what it is worth: the network beside it is one as well.
    members = Members.fit(run.ensemble_settings, data, work / "valid", [0], None, progress)
    choose_weights(run.ensemble_settings, data, [model.eval()], members, work / WEIGHTS, progress)
    return found | {"trees": None if members.boosting is None else members.boosting.trees}


def _train_folds(run: Run, data: LearningData, work: Path, epochs: int) -> int:
    """Train the network of each fold; the number of its parameters."""
    missing = [f for f in range(run.config.teacher.folds) if not (work / fold_name(f)).exists()]
    teacher, training = run.config.teacher, run.config.training
    # A GPU, and processes that share each batch, serve one training at a time; a short one is over before another
    # process has loaded torch. Sizes decide, not times: the same settings take the same way each time.
    short = epochs * _size(data) < WORTH_A_PROCESS
    alone = short or training.devices * training.num_nodes > 1 or uses_gpu(training)
    jobs = [_Fold(teacher, training, run.config.seed, data, work, epochs, fold) for fold in missing]
    side_by_side(jobs, run.progress, 1 if alone else None)
    return sum(p.numel() for p in build_teacher(teacher, run.config.seed, data).parameters())


def _size(data: LearningData) -> int:
    """Examples that an epoch sees at most."""
    sessions, impressions = data.train.sessions, data.train.impressions
    return (0 if sessions is None else len(sessions.requests)) + (0 if impressions is None else len(impressions.item))


@dataclass(frozen=True)
class _Fold:
    """The training of one fold's network, in whatever process it is called."""

    teacher: TeacherConfig
    training: TrainingConfig
    seed: int
    data: LearningData
    work: Path
    epochs: int
    fold: int

    def __call__(self, progress: Progress) -> None:
        """Train, and leave the weights in `work`."""
        data, fold = self.data, self.fold
        model = build_teacher(self.teacher, self.seed, data)
        users = fold_of(np.arange(len(data.train_log.offsets) - 1), self.teacher.folds) != fold
        batches = batch_settings(self.teacher, data, self.teacher.item_dropout)
        train_batches = JointBatches(data.train, batches, self.seed + fold + 1, users=users)
        settings = loop_settings(self.teacher, self.training, self.epochs)
        loop = replace(settings, early=max(self.epochs // EARLY_PART, 1))
        title, folder = f"teacher, fold {fold + 1} of {self.teacher.folds}", self.work / f"fold-{fold}"
        fit(model, data.tasks, train_batches, None, loop, folder, progress, title, reader=text_reader(data))
        shutil.copy(folder / EARLY, self.work / early_name(fold))
        save_weights(model, self.work / fold_name(fold))


def _absent(names: Sequence[str], data: LearningData, members: Members) -> list[str]:
    """A sentence for each member that the settings name and the tasks could use, and that is not there."""
    snapshots = members.snapshots
    left_out = [] if snapshots is None else [n for n in ("ease", "als") if getattr(snapshots.last, n) is None]
    return [
        f"ensemble: {name} is absent: {data.n_items:,} items are too many for a matrix between them"
        for name in left_out
        if name in names
    ]


def _keep_logs(work: Path, out: Path) -> None:
    for log in work.glob("*-log"):
        log.rename(out / log.name)
