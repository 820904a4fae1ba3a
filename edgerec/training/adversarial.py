"""Adversarial training: what is learned must hold for item vectors that are moved a little, the worst way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from edgerec.models.inputs import Items
from edgerec.training.joint import JointTraining


class Adversary:
    """Moves each item's vector by one length along its gradient, and has the loss there added to the loss.

    A step is learned from twice: under `watched`, whose backward pass leaves the gradient at the vectors, then under
    `attacked`. It costs a second forward and backward pass.
    Source: Miyato et al., ICLR 2017 (the fast gradient method on embeddings); He et al., SIGIR 2018 (on each item's).
    Args:
        size: length of the move in standard deviations, that is in root mean squared distances of the vectors from
            their mean: whatever scale they are learned to, they do not outgrow it.
    """

    def __init__(self, size: float) -> None:
        self.size = size
        self._moves: list[Tensor] = []
        self._lengths: list[Tensor] = []

    @contextmanager
    def watched(self, module: JointTraining) -> Iterator[None]:
        """The losses of `module` stay as they are; their gradient at the item vectors is remembered for `attacked`."""
        self._moves, self._lengths = [], []
        with _altered(module, self._watch):
            yield
        self._moves = [
            worst_move(move.grad, length) if move.grad is not None else torch.zeros_like(move)
            for move, length in zip(self._moves, self._lengths, strict=True)
        ]

    @contextmanager
    def attacked(self, module: JointTraining) -> Iterator[None]:
        """The losses of `module`, over the same batch, are those for the vectors that were moved."""
        with _altered(module, self._attack):
            yield

    def _watch(self, items: Items) -> Items:
        table, *rest = items
        self._moves.append(torch.zeros_like(table, requires_grad=True))
        self._lengths.append(self.size * spread(table.detach()))
        return (table + self._moves[-1], *rest)

    def _attack(self, items: Items) -> Items:
        table, *rest = items
        return (table + self._moves.pop(0), *rest)


@contextmanager
def _altered(module: JointTraining, alter: Callable[[Items], Items]) -> Iterator[None]:
    module.alter = alter
    try:
        yield
    finally:
        module.alter = None


def spread(table: Tensor) -> Tensor:
    """Root mean squared distance of the rows of `table` (N, dim) from their mean, a scalar."""
    return (table - table.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def worst_move(gradient: Tensor, length: Tensor) -> Tensor:
    """Rows of `length` along those of `gradient` (N, dim); a row without a gradient, or an endless one, stays."""
    gradient = gradient / gradient.abs().amax(dim=1, keepdim=True)  # small ones would be lost in their squares
    return torch.nan_to_num(length * gradient / gradient.norm(dim=1, keepdim=True), nan=0.0)
