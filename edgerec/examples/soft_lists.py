"""A teacher's scores of the catalogue for many requests: of every item, or of a long list that stands for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgerec.tasks.history import Float, Int

TOP = 256
"""The best items of a request are labelled one by one, so many of them."""
TAIL = 256
"""The rest, by rank, is cut into at most so many stretches, ever longer; one item of each stands for all of it."""
WHOLE = 2 * (TOP + TAIL)
"""In a catalogue of up to so many items each one is labelled."""
RANKED = 16_384
"""Of more items below the best, so many drawn at random are ranked in place of all."""
Vectors: TypeAlias = npt.NDArray[np.float32]
"""Item vectors, (N, D)."""


@dataclass(frozen=True)
class SoftBatch:
    """Scores of one task for B requests.

    Attributes:
        scores: float32 (B, M), log-probabilities up to a constant for each request.
        item: int64 (B, M), whose they are; None: of all items in their order.
        log_weight: float32 (M,), log of how many items each place of the list stands for; None: one.
    """

    scores: Tensor
    item: Tensor | None = None
    log_weight: Tensor | None = None

    def part(self, rows: slice) -> SoftBatch:
        """The requests `rows`."""
        return replace(self, scores=self.scores[rows], item=None if self.item is None else self.item[rows])

    def listed(self, logits: Tensor) -> Tensor:
        """The `logits` (B, N) of the items that `scores` are of, (B, M)."""
        return logits[:, : self.scores.shape[1]] if self.item is None else logits.gather(1, self.item)


@dataclass(frozen=True)
class SoftLists:
    """Stored scores of one task for R requests: attributes as in `SoftBatch`, in float16, int32 and float32."""

    scores: npt.NDArray[np.float16]
    item: npt.NDArray[np.int32] | None = None
    log_weight: Float | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def batch(self, rows: Int) -> SoftBatch:
        """The requests `rows` as tensors."""
        return SoftBatch(
            torch.from_numpy(self.scores[rows].astype(np.float32)),
            None if self.item is None else torch.from_numpy(self.item[rows].astype(np.int64)),
            None if self.log_weight is None else torch.from_numpy(self.log_weight),
        )


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's view of the examples, by example; each part may be missing.

    Attributes:
        sessions: of each retrieval task.
        impressions: float16 (R, T), log-probabilities of binary tasks and standardised logs of regression targets.
        related: of every item as query.
        vectors: of the items, as the teacher's networks see them.
        early: the labels of the early-checkpoint teacher, which has not yet learned what is hard.
    """

    sessions: tuple[SoftLists, ...] | None = None
    impressions: npt.NDArray[np.float16] | None = None
    related: SoftLists | None = None
    vectors: Vectors | None = None
    early: SoftLabels | None = None


def shortened(scores: Float, rng: np.random.Generator) -> SoftLists:
    """Scores of every item, (B, N), as they are stored: all, or the top list and one item for each stretch of the rest.

    The top list is sorted, best first. The stretches are ranges of ranks, so that each range of scores has an item, and
    they are shorter where scores differ more.
    """
    scores = scores - scores.mean(axis=1, keepdims=True)
    n = scores.shape[1]
    if n <= WHOLE:
        return SoftLists(scores.astype(np.float16))
    best = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
    best = np.take_along_axis(
        best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable"), axis=1
    )
    item = np.concatenate([best, _tail(scores, best, rng)], axis=1)
    listed = np.take_along_axis(scores, item, axis=1).astype(np.float16)
    return SoftLists(listed, item.astype(np.int32), log_weights(n))


def _tail(scores: Float, best: Int, rng: np.random.Generator) -> Int:
    """An item for each stretch of the ranks after the `best` (B, TOP) of `scores` (B, N)."""
    n = scores.shape[1]
    drawn = np.arange(n) if n - TOP <= RANKED else np.sort(rng.choice(n, RANKED, replace=False))
    below = scores[:, drawn]
    if n - TOP <= RANKED:
        np.put_along_axis(below, best, np.inf, axis=1)  # first in the order, and passed over
        passed = np.full(len(scores), TOP)
    else:
        last = np.take_along_axis(scores, best[:, -1:], axis=1)
        passed = (below >= last).sum(axis=1)
    order = np.argsort(-below, axis=1)
    bounds = _stretches(n)
    at = (bounds[:-1] + rng.random((len(scores), len(bounds) - 1)) * np.diff(bounds) - TOP) / (n - TOP)
    places = passed[:, None] + (at * (len(drawn) - passed[:, None])).astype(np.int64)
    return np.asarray(drawn[np.take_along_axis(order, places, axis=1)])


def _stretches(n: int) -> Int:
    """Ranks at which the stretches of a catalogue of `n` items begin, and `n`: at equal ratios."""
    return np.unique(np.rint(np.geomspace(TOP, n, TAIL + 1)).astype(np.int64))


def log_weights(n: int) -> Float | None:
    """Log of how many of `n` items each place of a shortened list stands for; None where lists are whole."""
    if n <= WHOLE:
        return None
    return np.asarray(np.log(np.concatenate([np.ones(TOP), np.diff(_stretches(n))])), np.float32)
