"""The teacher stage: choose the number of epochs on valid, then train one network for each fold of users.

Beside the networks, the ensemble has closed-form models and trees (`edgerec.ensemble`); weights chosen on valid make
one score of all members. A training row is labelled for the student by the models that did not see its user, all other
rows by the mean of all models.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edgerec.config import TeacherConfig, TrainingConfig
from edgerec.data import Dataset
from edgerec.data.doctor import refuse_leaks
from edgerec.ensemble.members import Members
from edgerec.ensemble.signals import MAX_DENSE_ITEMS
from edgerec.ensemble.weights import Blend, choose_weights
from edgerec.examples.batches import JointBatches
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.files import read_json, write_json
from edgerec.progress import Progress, age
from edgerec.stages.run import ENSEMBLE, WEIGHTS, Run, early_name, fold_name
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.group import uses_gpu
from edgerec.training.job import TrainingJob
from edgerec.training.loop import EARLY, fit
from edgerec.training.processes import side_by_side
from edgerec.training.teacher import batch_settings, build_teacher, fit_on_valid, loop_settings, text_reader

EARLY_PART = 3
"""The early checkpoint is taken after this part of the epochs."""
WORTH_A_PROCESS = 40_000
"""Examples of all epochs of a fold from which it is trained in a process of its own."""


@dataclass(frozen=True)
class TeacherReport:
    """What training led to.

    Attributes:
        epochs: chosen on valid. valid: the network's losses there.
        ensemble: lines on the quality of each member, and on members that are absent.
    """

    epochs: int
    parameters: int
    valid: dict[str, float]
    ensemble: Sequence[str]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.valid.items())
        network = f"teacher: {self.parameters:,} parameters, {self.epochs} epochs; validation losses: {losses}"
        return [network, *self.ensemble]


@dataclass(frozen=True)
class _ChosenOnValid:
    """Epochs of the networks, their losses on valid, and trees of each boosted task; None without boosting."""

    epochs: int
    losses: dict[str, float]
    trees: dict[str, int] | None


def train(run: Run) -> TeacherReport:
    """Train the teacher of a run; goes on where an earlier call was stopped."""
    config = run.config
    refuse_leaks(Dataset.open(run.dataset), config.training.allow_leaks)
    work = run.work_folder("teacher", ("teacher", "ensemble"))
    data = run.learning_data("valid")
    chosen = _learn_from_valid(run, data, work)
    if run.part == "test":
        data = run.learning_data("test")
    folds = range(config.teacher.folds)
    parameters = _train_folds(run, data, work, chosen.epochs)
    weights = Blend(**read_json(work / WEIGHTS))
    with run.progress.track(None, "members of the ensemble"):
        settings = run.ensemble_settings.only(weights.worth_fitting(config.ensemble.members))
        members = Members.fit(settings, data, work / run.part, folds, chosen.trees, run.progress)
    _move_results(run, work, run.teacher)
    absent = _absent(config.ensemble.members, data, members)
    metrics = {
        "epochs": chosen.epochs,
        "valid": chosen.losses,
        "ensemble": asdict(weights),
        "absent": absent,
        "parameters": parameters,
        "seed": config.seed,
        "settings": config.model_dump(mode="json"),
    }
    write_json(run.teacher / "metrics.json", metrics)
    shutil.rmtree(work)
    return TeacherReport(chosen.epochs, parameters, chosen.losses, [*weights.lines(), *absent])


def _learn_from_valid(run: Run, data: LearningData, work: Path) -> _ChosenOnValid:
    """Choose all that valid decides; the weights of the members are left in `work`."""
    config, progress = run.config, run.progress
    teacher, seed = config.teacher, config.seed
    chosen, weights = work / "chosen.json", work / "valid-network.safetensors"
    if not chosen.exists():
        folder = work / "choose"
        model, result = fit_on_valid(teacher, config.training, seed, data, folder, progress, "network on valid")
        save_weights(model, weights)
        write_json(chosen, {"epochs": result.epochs, "valid": result.valid})
    else:
        progress.say(f"network on valid: kept, made {age(chosen)} ago")
    result_on_valid = read_json(chosen)
    model = build_teacher(teacher, seed, data)
    load_weights(model, weights)
    # There is one network here, so one fold of the re-ranker is enough to choose weights.
    with progress.track(None, "members on valid"):
        members = Members.fit(run.ensemble_settings, data, work / "valid", [0], None, progress)
    choose_weights(run.ensemble_settings, data, [model.eval()], members, work / WEIGHTS, progress)
    trees = None if members.boosting is None else members.boosting.trees
    return _ChosenOnValid(int(result_on_valid["epochs"]), result_on_valid["valid"], trees)


def _train_folds(run: Run, data: LearningData, work: Path, epochs: int) -> int:
    """Train the network of each fold; the number of its parameters."""
    missing = [f for f in range(run.config.teacher.folds) if not (work / fold_name(f)).exists()]
    teacher, training = run.config.teacher, run.config.training
    if len(missing) < teacher.folds:
        run.progress.say(f"networks of the folds: {teacher.folds - len(missing)} of {teacher.folds} kept")
    # A GPU, and processes that share each batch, serve one training at a time; a short one is over before another
    # process has loaded torch. Sizes decide, not times: the same settings take the same way each time.
    short = epochs * _size(data) < WORTH_A_PROCESS
    alone = short or training.devices * training.num_nodes > 1 or uses_gpu(training)
    jobs = [_Fold(teacher, training, run.config.seed, data, work, epochs, fold) for fold in missing]
    side_by_side(jobs, run.progress, "networks of the folds", 1 if alone else None)
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
        reader = text_reader(data)
        fit(TrainingJob(model, train_batches, None, loop, folder, progress, title, reader=reader))
        shutil.copy(folder / EARLY, self.work / early_name(fold))
        save_weights(model, self.work / fold_name(fold))


def _move_results(run: Run, work: Path, out: Path) -> None:
    """Move networks, members, weights and training logs from `work` to `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for fold in range(run.config.teacher.folds):
        for name in (fold_name(fold), early_name(fold)):
            (work / name).rename(out / name)
    (work / run.part).rename(out / ENSEMBLE)
    shutil.copy(work / WEIGHTS, out / ENSEMBLE / WEIGHTS)
    for log in work.glob("*-log"):
        log.rename(out / log.name)


def _absent(names: Sequence[str], data: LearningData, members: Members) -> list[str]:
    """A sentence for each member that the settings name and that the catalogue is too large for."""
    if members.snapshots is None or data.n_items <= MAX_DENSE_ITEMS:
        return []
    last = members.snapshots.last
    return [
        f"ensemble: {name} is absent: {data.n_items:,} items are too many for an item-to-item matrix"
        for name, member in (("ease", last.ease), ("als", last.als))
        if member is None and name in names
    ]
