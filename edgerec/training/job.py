"""What one training takes: a model, the batches it learns from, how long and how fast, and where its state is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from torch import nn

from edgerec.config.stages import Regression, TrainingConfig
from edgerec.examples.batches import JointBatches
from edgerec.progress import Progress
from edgerec.tasks import Task
from edgerec.training.joint import Terms
from edgerec.training.text_reader import TextReader

OnEpoch: TypeAlias = "Callable[[int, dict[str, float]], None]"
"""Called after each epoch (1, 2, ...) with the validation losses, of each task and "loss"; its error ends `fit`."""


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn."""

    epochs: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    """Stop after this many epochs without a better validation loss; None runs all epochs."""
    terms: Terms = field(default_factory=Terms)
    """What is learned from."""
    stop_after: int | None = None
    """Stop the schedule of `epochs` after this many of them: repeats a run that was stopped early."""
    early: int | None = None
    """Write the weights after this many epochs too, to `EARLY`."""
    keep_last: bool = False
    """Leave the model at its last epoch, even where another was better on valid."""
    regression: Regression = "huber"
    """The loss of the regression tasks."""
    loss_weights: str = "fixed"
    """Of `WEIGHTINGS`."""
    adversarial: float = 0.0
    """Size of an `Adversary`; 0: none."""
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class TrainingJob:
    """One training of a model.

    Attributes:
        train: batches to learn from; their examples say which tasks are learned.
        valid: batches that are validated on after each epoch, or None.
        folder: of checkpoints and weights; trackers write to a folder beside it.
        title: begins each line on the screen.
        reader: a language model that is trained along, for models that read item texts.
    """

    model: nn.Module
    train: JointBatches
    valid: JointBatches | None
    settings: LoopSettings
    folder: Path
    progress: Progress
    title: str
    on_epoch: OnEpoch | None = None
    reader: TextReader | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is learned."""
        return self.train.examples.tasks

    @cached_property
    def steps(self) -> int:
        """Batches of an epoch; planning them takes time."""
        return self.train.steps()

    @property
    def processes(self) -> int:
        """Processes that share each batch."""
        return self.settings.training.devices * self.settings.training.num_nodes


@dataclass(frozen=True)
class Fitted:
    """How a model was trained: epochs, and the validation loss of each task at the last of them."""

    epochs: int
    valid: dict[str, float]
