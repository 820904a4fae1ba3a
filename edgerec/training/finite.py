"""Stops a training whose loss or gradient is not a number, and keeps the batch that led to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from edgerec.errors import EdgerecError
from edgerec.examples.batches import JointBatch


@dataclass
class LastStep:
    """A step that was taken: its batch, the losses, and the norm of the gradient once it is known."""

    number: int
    batch: JointBatch
    losses: dict[str, Tensor]
    norm: Tensor | None = None


class FiniteCheck:
    """Looks at each step one step late, so that a GPU need not wait for it, and always before weights are kept.

    Args:
        path: where the batch is written, as safetensors. title: of the training.
        gradients: look at gradients too; float16 has its own way with endless ones.
    """

    def __init__(self, path: Path, title: str, gradients: bool) -> None:
        self.path, self.title, self.gradients = path, title, gradients
        self.last: LastStep | None = None

    def watch(self, number: int, batch: JointBatch, losses: Mapping[str, Tensor]) -> None:
        """Remember a step, to be looked at by the next `check`."""
        self.last = LastStep(number, batch, {name: loss.detach() for name, loss in losses.items()})

    def check(self) -> None:
        """Look at the last step.

        Raises:
            EdgerecError: its loss or gradient is not a number.
        """
        last, self.last = self.last, None
        if last is None:
            return
        wrong = ""
        if not math.isfinite(float(sum(last.losses.values()))):
            wrong = "loss of " + ", ".join(name for name, value in last.losses.items() if not torch.isfinite(value))
        elif last.norm is not None and self.gradients and not math.isfinite(float(last.norm)):
            wrong = "gradient"
        if not wrong:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = last.batch.tensors()  # cloned: both parts may share those of their as-of time
        save_file({name: value.contiguous().cpu().clone() for name, value in tensors.items()}, self.path)
        raise EdgerecError(
            f"{self.title}: the {wrong} is not a number at step {last.number}; lower learning_rate, or look for wrong "
            f"values in the batch, which is kept in {self.path}"
        )
