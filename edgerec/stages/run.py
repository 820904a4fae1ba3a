"""A run: its settings and its folder. Only this package and `experiments` know where the parts of a run lie."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgerec import __version__
from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.distillation.student import StudentSettings
from edgerec.ensemble.ensemble import Ensemble
from edgerec.ensemble.members import Members
from edgerec.ensemble.scoring import AnyScorer, EnsembleScorer, TorchModel, TorchScorer
from edgerec.ensemble.views import EnsembleSettings
from edgerec.ensemble.weights import Blend
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import EvaluationPart, ExampleSettings, LearningData, load_learning_data
from edgerec.examples.scratch import Limits, Scratch
from edgerec.files import read_json
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.stages.effort import settled
from edgerec.training.checkpoint import load_student, load_weights
from edgerec.training.teacher import build_teacher
from edgerec.training.text_components import TextComponents, tuning_of

ENSEMBLE, WEIGHTS = "ensemble", "weights.json"
"""Folder of the members beside the networks, in the teacher's folder, and the file of all members' weights."""


@dataclass(frozen=True)
class Run:
    """Settings, and the folder in which the stages leave their results; `asked`: the settings as they were given."""

    asked: Config
    folder: Path
    progress: Progress
    loaded: dict[str, LearningData] = field(default_factory=dict, compare=False, repr=False)
    """The learning data that was asked for last, by what it depends on: the stages of one run read it once."""

    @property
    def config(self) -> Config:
        """The settings with all that is chosen for the size of the log, once the dataset is there."""
        return settled(self.asked, self.folder)

    @property
    def part(self) -> EvaluationPart:
        """The evaluation split: "valid" or "test"."""
        return self.config.evaluation.part

    @property
    def dataset(self) -> Path:
        """Where `prepare` leaves the dataset."""
        return self.folder / "dataset"

    @property
    def teacher(self) -> Path:
        """Where `train` leaves networks and members."""
        return self.folder / "teacher"

    @property
    def student(self) -> Path:
        """Where `distill` leaves the student."""
        return self.folder / "student"

    @property
    def labels(self) -> Path:
        """Where `distill` and `prune` find the teacher's labels, or make them."""
        return self.folder / "soft"

    @property
    def bundle(self) -> Path:
        """Where `quantize` leaves the bundle."""
        return self.folder / "bundle"

    @property
    def report(self) -> Path:
        """Where `evaluate` leaves its report."""
        return self.folder / "report"

    @property
    def ensemble_settings(self) -> EnsembleSettings:
        """Settings of the members beside the networks."""
        return ensemble_settings(self.config)

    @property
    def student_settings(self) -> StudentSettings:
        """Settings of a student and of its training."""
        return student_settings(self.config)

    def learning_data(self, part: EvaluationPart | None = None, limits: Limits | None = None) -> LearningData:
        """The dataset, ready to learn from and to evaluate on; `part`: that of the settings by default.

        Raises:
            DataError: there is no dataset, or nothing to learn from.
        """
        part, config = part or self.part, self.config
        judged = config.evaluation.users
        sections = config.model_dump_json(include={"seed", "data", "teacher", "student"}) + str(judged)
        key = f"{self.folder} {part} {sections}"
        if limits is None and key in self.loaded:
            return self.loaded[key]
        self.loaded.clear()
        dataset = Dataset.open(self.dataset)
        data, teacher = config.data, config.teacher
        tuning = tuning_of(teacher, config.seed, config.training.accelerator)
        has_sessions, cache = data.session is not None, self.folder / "text"
        read_texts = TextComponents(dataset, teacher, has_sessions, tuning, cache, self.progress)
        scratch = Scratch(self.folder / "work", limits)
        settings = ExampleSettings(data, teacher, config.student, config.seed, judged)
        with self.progress.track(None, f"reading the dataset for {part}"):
            learning = load_learning_data(dataset, part, settings, scratch, read_texts)
        if limits is None:
            self.loaded[key] = learning
        return learning

    def networks(self, data: LearningData, early: bool = False) -> list[Teacher]:
        """The fold models, ready to score; with `early`, from the checkpoint after a third of their training."""
        networks = []
        for fold in range(self.config.teacher.folds):
            network = build_teacher(self.config.teacher, self.config.seed, data)
            load_weights(network, self.teacher / (early_name if early else fold_name)(fold))
            networks.append(network.eval())
        return networks

    def ensemble(self, data: LearningData) -> Ensemble:
        """The teacher, ready to score."""
        folder = self.teacher / ENSEMBLE
        weights = Blend(**read_json(folder / WEIGHTS))
        members = Members.load(self.ensemble_settings, data, folder)
        return Ensemble(self.config.ensemble.candidates, data, self.networks(data), members, weights)

    def scorer(self, stage: str, data: LearningData) -> AnyScorer:
        """The model of "teacher", "student" or "pruned".

        Raises:
            DataError: the stage has not been run for these settings.
        """
        if stage == "teacher":
            return EnsembleScorer(self.ensemble(data))
        folder = self.folder / stage
        student = load_student(folder, data.shape, data.features).eval()
        return TorchScorer([student], data, read_json(folder / "model.json")["expectations"])

    def model(self, stage: str, data: LearningData, eval_requests: EvaluationRequests) -> TorchModel:
        """The model of a stage, as of `scorer`, asked on the evaluation split once: its answers are kept."""
        files = self.teacher_files() if stage == "teacher" else sorted((self.folder / stage).glob("model.*"))
        asked = [self.part, self.config.evaluation.users, self.config.seed, self.config.ensemble.candidates]
        kept = self.kept(f"answers-{stage}", files, asked)
        return TorchModel(self.scorer(stage, data), data, eval_requests, kept)

    def kept(self, name: str, files: Sequence[Path], settings: object) -> Path:
        """A file in which an answer is kept for this dataset, these files and settings; older answers are removed."""
        key = hashlib.sha256((self.dataset / "dataset.json").read_bytes())
        for path in files:
            key.update(path.read_bytes())
        key.update(json.dumps([settings, __version__]).encode())
        kept = self.folder / "work" / f"{name}-{key.hexdigest()[:12]}.npz"
        for old in kept.parent.glob(f"{name}-*"):
            if old.name.split(".")[0] != kept.stem:
                old.unlink()
        kept.parent.mkdir(parents=True, exist_ok=True)
        return kept

    def work_folder(self, stage: str, sections: Sequence[str]) -> Path:
        """Where a stage keeps unfinished work, so that it can go on after a stop.

        Other settings in `sections`, another length of histories, another dataset or another teacher have another
        folder; older folders are removed.
        """
        settings = self.config.model_dump(mode="json", include={"seed", "task", "evaluation", *sections})
        key = hashlib.sha256(json.dumps([settings, self.config.student.max_history], sort_keys=True).encode())
        key.update((self.dataset / "dataset.json").read_bytes())
        if stage != "teacher":
            for path in self.teacher_files():
                key.update(path.read_bytes())
        work = self.folder / "work" / f"{stage}-{key.hexdigest()[:12]}"
        for old in (self.folder / "work").glob(f"{stage}-*"):
            if old != work:
                shutil.rmtree(old)
        work.mkdir(parents=True, exist_ok=True)
        return work

    def teacher_files(self) -> list[Path]:
        """The files that identify a teacher: its networks, and the weights of its members."""
        return [*sorted(self.teacher.glob("*.safetensors")), *self.teacher.glob(f"{ENSEMBLE}/{WEIGHTS}")]


def ensemble_settings(config: Config) -> EnsembleSettings:
    """Settings of the members beside the networks."""
    return EnsembleSettings(config.ensemble, config.teacher.folds, config.teacher.regression, config.seed)


def student_settings(config: Config) -> StudentSettings:
    """Settings of a student and of its training."""
    return StudentSettings(config.student, config.distillation, config.teacher, config.training, config.seed)


def fold_name(fold: int) -> str:
    """File of a fold's weights."""
    return f"fold-{fold}.safetensors"


def early_name(fold: int) -> str:
    """File of a fold's weights after a third of its training."""
    return f"early-{fold}.safetensors"
