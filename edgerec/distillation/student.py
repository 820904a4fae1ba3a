"""The student: built from the settings, trained on hard and soft labels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from edgerec.config import DistillationConfig, StudentConfig, TeacherConfig, TrainingConfig
from edgerec.distillation.item_vectors import start_items
from edgerec.distillation.parts import LISTED, transitions_pay
from edgerec.ensemble.transition_lists import transition_lists
from edgerec.examples.batches import Examples, JointBatches
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.training.job import LoopSettings, OnEpoch, TrainingJob
from edgerec.training.joint import Terms
from edgerec.training.loop import fit
from edgerec.training.teacher import batch_settings

ITEM_UNITS = 64
"""Least hidden units of the item tower, which is folded into the table and costs nothing on the device."""


@dataclass(frozen=True)
class StudentSettings:
    """The settings of a student and of its training.

    Attributes:
        teacher: the student's batches have the sizes of the teacher's.
    """

    student: StudentConfig
    distillation: DistillationConfig
    teacher: TeacherConfig
    training: TrainingConfig
    seed: int

    def with_distillation(self, **values: object) -> StudentSettings:
        """The same with other values in ``[distillation]``."""
        return replace(self, distillation=self.distillation.model_copy(update=values))


def sizes_of(student: StudentConfig) -> StudentSizes:
    """The widths that the settings ask for; lists that are left to the data are left out."""
    dim, hidden, heads, factor = student.widths
    return StudentSizes.of(dim, hidden, heads, factor, max(hidden, ITEM_UNITS), student.transitions or 0)


def new_student(settings: StudentSettings, data: LearningData) -> Student:
    """An untrained student, the same for the same seed."""
    torch.manual_seed(settings.seed)
    sizes, dropout = sizes_of(settings.student), settings.distillation.dropout
    if settings.student.transitions is None and transitions_pay(data, settings.seed):
        sizes = replace(sizes, transitions=LISTED)
    student = Student(data.shape, data.features, len(scored_tasks(data.tasks)), sizes, dropout)
    held = HeldOut.of(data, settings.seed)
    start_items(student, data, held)
    if student.transitions is not None:
        student.transitions.start(*transition_lists(data, sizes.transitions, held))
    return student


def train_student(
    settings: StudentSettings,
    data: LearningData,
    examples: Examples,
    student: Student,
    epochs: int,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train `student` in place on hard and soft labels; `on_epoch` gets each epoch's loss on the evaluation split."""
    d = settings.distillation
    batches = replace(
        batch_settings(settings.teacher, data, d.history_dropout),
        sessions_per_epoch=d.requests_per_epoch,
        early_teacher_epochs=d.early_teacher_epochs,
    )
    loop = LoopSettings(
        epochs,
        d.learning_rate,
        d.weight_decay,
        None,
        terms_of(d),
        keep_last=True,
        training=settings.training,
    )
    train_batches = JointBatches(examples, batches, settings.seed)
    valid = None if on_epoch is None else JointBatches(data.evaluation, batches, settings.seed, train=False)
    fit(TrainingJob(student, train_batches, valid, loop, folder, progress, title, on_epoch))


def terms_of(settings: DistillationConfig) -> Terms:
    """The terms of the loss that the settings ask for."""
    names = [f.name for f in fields(Terms)]
    return Terms(**{name: getattr(settings, name) for name in names})


def needs_teacher(settings: DistillationConfig) -> bool:
    """Tell whether any term of the loss needs a teacher."""
    terms = terms_of(settings)
    return any((terms.probabilities, terms.listwise, terms.top_list, terms.neighbours, terms.alignment))
