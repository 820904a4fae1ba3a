"""How the losses of the tasks are joined into the one that is learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn


class Backward(Protocol):
    """Adds the gradients of a loss to the parameters' `grad`, scaled as precision and accumulation need it."""

    def __call__(self, loss: Tensor, retain: bool = False) -> None:
        """`retain` keeps the graph for another call."""


class TaskWeighting(nn.Module):
    """Joins the losses of a step. May own parameters; they are trained beside the model's.

    Args:
        weights: of each task, by name; each loss is first multiplied by its own.
    """

    one_process: ClassVar[bool] = False
    """Needs whole gradients of each task, which no process has when several share a batch."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        """The loss to learn from.

        Args:
            losses: of the tasks that the step holds examples of.
            shared: parameters that all tasks learn.
        """
        raise NotImplementedError

    def backward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter], run: Backward) -> None:
        """Bring the gradients of all losses into the parameters' `grad`, by one or more calls of `run`."""
        run(self(losses, shared))


class FixedWeights(TaskWeighting):
    """The weighted sum."""

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()


WEIGHTINGS: dict[str, Callable[[Mapping[str, float]], TaskWeighting]] = {"fixed": FixedWeights}
"""By the name in [teacher] loss_weights."""
