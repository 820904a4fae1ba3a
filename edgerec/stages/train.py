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

from edgerec.config import Config, TeacherConfig, TrainingConfig
from edgerec.data import Dataset
from edgerec.data.doctor import refuse_leaks
from edgerec.ensemble.members import ChosenOnValid, Members
from edgerec.ensemble.signals import MAX_DENSE_ITEMS
from edgerec.ensemble.views import EnsembleSettings
from edgerec.ensemble.weights import Blend, choose_weights
from edgerec.examples.batches import JointBatches
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.files import read_json, write_json
from edgerec.progress import Progress, Silent, age
from edgerec.stages.cost import FEW_ITEMS
from edgerec.stages.run import ENSEMBLE, WEIGHTS, Run, early_name, ensemble_settings, fold_name
from edgerec.threads import cores
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.group import uses_gpu
from edgerec.training.job import TrainingJob
from edgerec.training.loop import EARLY, fit
from edgerec.training.processes import Work, side_by_side
from edgerec.training.teacher import batch_settings, build_teacher, fit_on_valid, loop_settings, text_reader

EARLY_PART = 3
"""The early checkpoint is taken after this part of the epochs."""
WORTH_A_PROCESS = 40_000
"""Examples of all epochs of a network from which it is trained in a process of its own."""


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
    """Epochs of the networks, their losses on valid, and what the members need to know."""

    epochs: int
    losses: dict[str, float]
    members: ChosenOnValid


def train(run: Run) -> TeacherReport:
    """Train the teacher of a run; goes on where an earlier call was stopped."""
    config = run.config
    refuse_leaks(Dataset.open(run.dataset), config.training.allow_leaks)
    work = run.work_folder("teacher", ("teacher", "ensemble"))
    data = run.learning_data("valid")
    chosen = _learn_from_valid(run, data, work)
    if data.n_items > FEW_ITEMS or _workers(run, chosen.epochs * _size(data)) == 1:
        _weigh(run, data, work)  # else beside the networks of the folds
    if run.part == "test":
        del data  # before the next one is read
        data = run.learning_data("test")
    members = _WorthFitting(run.asked, run.folder, work, data, chosen.members)
    folds = _missing_folds(run, data, work, chosen.epochs)
    _at_once(run, folds, members, chosen.epochs * _size(data), "networks of the folds and members")
    parameters = sum(p.numel() for p in build_teacher(config.teacher, config.seed, data).parameters())
    weights = Blend(**read_json(work / WEIGHTS))
    absent = _absent(config.ensemble.members, data, members.of(run.config, weights).fitted())
    _move_results(run, work, run.teacher)
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
    """Choose the epochs of the networks and what the members need to know; leaves both on valid in `work`."""
    network, members = _OnValid.of(run, data, work), _members_on_valid(run, data, work)
    if network.report.exists():
        run.progress.say(f"network on valid: kept, made {age(network.report)} ago")
    missing = [] if network.report.exists() else [network]
    _at_once(run, missing, members, run.config.teacher.epochs * _size(data), "network and members on valid")
    result = read_json(network.report)
    return _ChosenOnValid(int(result["epochs"]), result["valid"], members.fitted().chosen)


def _members_on_valid(run: Run, data: LearningData, work: Path) -> _Members:
    # There is one network here, so one fold of the re-ranker is enough to choose weights.
    return _Members(run.ensemble_settings, data, work / "valid", [0], None)


def _weigh(run: Run, data: LearningData, work: Path) -> None:
    """Choose the weights of network and members on valid; they are left in `work`."""
    model = build_teacher(run.config.teacher, run.config.seed, data)
    load_weights(model, _OnValid.of(run, data, work).weights)
    members = _members_on_valid(run, data, work).fitted()
    choose_weights(run.ensemble_settings, data, [model.eval()], members, work / WEIGHTS, run.progress)


def _missing_folds(run: Run, data: LearningData, work: Path, epochs: int) -> list[_Fold]:
    """The trainings of the folds' networks that an earlier call has not ended."""
    config = run.config
    missing = [fold for fold in range(config.teacher.folds) if not (work / fold_name(fold)).exists()]
    if len(missing) < config.teacher.folds:
        run.progress.say(f"networks of the folds: {config.teacher.folds - len(missing)} of {config.teacher.folds} kept")
    return [_Fold(config.teacher, config.training, config.seed, data, work, epochs, fold) for fold in missing]


def _at_once(
    run: Run, networks: Sequence[Work[None]], members: _Members | _WorthFitting, examples: int, title: str
) -> None:
    """Train `networks`, each on so many examples, and fit `members`, in processes where that pays."""
    workers = _workers(run, examples)
    if members.data.n_items <= FEW_ITEMS:
        side_by_side([*networks, members], run.progress, title, workers, last_has_all=True)
        return
    with run.progress.track(None, title):
        side_by_side(networks, run.progress, "networks", workers or cores())  # no more: each needs its own memory
        members(run.progress)


def _workers(run: Run, examples: int) -> int | None:
    """Processes that train networks on so many examples each; None: as the cores allow.

    A GPU, and processes that share each batch, serve one training at a time; a short one is over before another process
    has loaded torch. Sizes decide, not times: the same settings take the same way each time.
    """
    training = run.config.training
    alone = examples < WORTH_A_PROCESS or training.devices * training.num_nodes > 1 or uses_gpu(training)
    return 1 if alone else None


def _size(data: LearningData) -> int:
    """Examples that an epoch sees at most."""
    sessions, impressions = data.train.sessions, data.train.impressions
    return (0 if sessions is None else len(sessions.requests)) + (0 if impressions is None else len(impressions.item))


@dataclass(frozen=True)
class _Members:
    """The fitting of the members beside the networks, in whatever process it is called."""

    settings: EnsembleSettings
    data: LearningData
    folder: Path
    folds: Sequence[int]
    chosen: ChosenOnValid | None

    def __call__(self, progress: Progress) -> None:
        """Fit, and leave the members in the folder."""
        with progress.track(1, "members of the ensemble") as done:
            Members.fit(self.settings, self.data, self.folder, self.folds, self.chosen, progress)
            done.advance()

    def fitted(self) -> Members:
        """The members that are in the folder."""
        return Members.fit(self.settings, self.data, self.folder, self.folds, self.chosen, Silent())


@dataclass(frozen=True)
class _WorthFitting:
    """The fitting of the members that have a weight, which is chosen first if it is not yet, in whatever process."""

    asked: Config
    folder: Path
    work: Path
    data: LearningData
    chosen: ChosenOnValid

    def __call__(self, progress: Progress) -> None:
        """Choose, fit, and leave weights and members in `work`."""
        run = Run(self.asked, self.folder, progress)
        with progress.track(2, "members of the ensemble") as done:
            if not (self.work / WEIGHTS).exists():
                _weigh(run, run.learning_data("valid"), self.work)
            done.advance()
            self.of(run.config, Blend(**read_json(self.work / WEIGHTS)))(progress)
            done.advance()

    def of(self, config: Config, weights: Blend) -> _Members:
        """The fitting itself."""
        worth = weights.worth_fitting(config.ensemble.members)
        folder, folds = self.work / config.evaluation.part, range(config.teacher.folds)
        return _Members(ensemble_settings(config).only(worth), self.data, folder, folds, self.chosen)


@dataclass(frozen=True)
class _OnValid:
    """The training of the network that is judged on valid, in whatever process it is called."""

    teacher: TeacherConfig
    training: TrainingConfig
    seed: int
    data: LearningData
    work: Path

    @classmethod
    def of(cls, run: Run, data: LearningData, work: Path) -> _OnValid:
        """That of a run."""
        return cls(run.config.teacher, run.config.training, run.config.seed, data, work)

    @property
    def report(self) -> Path:
        """Where its epochs and losses are, once it is trained."""
        return self.work / "chosen.json"

    @property
    def weights(self) -> Path:
        """Where its weights are."""
        return self.work / "valid-network.safetensors"

    def __call__(self, progress: Progress) -> None:
        """Train, and leave weights and report in `work`."""
        folder, title = self.work / "choose", "network on valid"
        model, result = fit_on_valid(self.teacher, self.training, self.seed, self.data, folder, progress, title)
        save_weights(model, self.weights)
        write_json(self.report, {"epochs": result.epochs, "valid": result.valid})


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
