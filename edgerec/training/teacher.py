"""The teacher's network: built by the settings, trained on a part of the users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgerec.config import TeacherConfig, TrainingConfig
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.training.job import Fitted, LoopSettings, OnEpoch, TrainingJob
from edgerec.training.loop import fit
from edgerec.training.text_reader import TextReader


def build_teacher(teacher: TeacherConfig, seed: int, data: LearningData) -> Teacher:
    """A new teacher, the same for the same seed."""
    torch.manual_seed(seed)
    pointwise = [task.kind != "retrieval" for task in scored_tasks(data.tasks)]
    return Teacher(
        data.shape,
        data.features,
        pointwise,
        teacher.dim,
        teacher.hidden,
        teacher.heads,
        teacher.experts,
        teacher.dropout,
        teacher.graph_layers,
        teacher.sequence,
        teacher.sequence_layers,
        teacher.sharing,
        teacher.text_joint > 0,
    )


def text_reader(data: LearningData) -> TextReader | None:
    """A language model that learns along, if the settings ask for it; its own for each network."""
    return None if data.text_source is None else TextReader(data.text_source)


def batch_settings(teacher: TeacherConfig, data: LearningData, history_dropout: float = 0.0) -> BatchSettings:
    """Sizes of the joint batches of teacher and student."""
    return BatchSettings(
        teacher.sessions,
        teacher.impressions,
        teacher.sessions_per_epoch,
        history_dropout,
        data.lag,
        impressions_per_epoch=teacher.impressions_per_epoch,
    )


def loop_settings(teacher: TeacherConfig, training: TrainingConfig, stop_after: int | None = None) -> LoopSettings:
    """How the settings ask to train a network of the teacher."""
    return LoopSettings(
        teacher.epochs,
        teacher.learning_rate,
        teacher.weight_decay,
        teacher.patience,
        stop_after=stop_after,
        regression=teacher.regression,
        loss_weights=teacher.loss_weights,
        adversarial=teacher.adversarial,
        training=training,
    )


def fit_on_valid(
    teacher: TeacherConfig,
    training: TrainingConfig,
    seed: int,
    data: LearningData,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
) -> tuple[Teacher, Fitted]:
    """One network as a fold model learns, left at its best epoch on the evaluation split of `data`."""
    batches = batch_settings(teacher, data, teacher.item_dropout)
    model = build_teacher(teacher, seed, data)
    # As many users as a fold model will learn from: more data would choose another number of epochs.
    users = fold_of(np.arange(len(data.train_log.offsets) - 1), teacher.folds) != 0
    train_batches = JointBatches(data.train, batches, seed, users=users)
    valid = JointBatches(data.evaluation, batches, seed, train=False)
    loop, reader = loop_settings(teacher, training), text_reader(data)
    job = TrainingJob(model, train_batches, valid, loop, folder, progress, title, on_epoch, reader)
    return model, fit(job)
