"""A teacher's scores of the catalogue for many requests: of every item, or of a long list that stands for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgerec.tasks.history import Float, Int

WHOLE = 50_000
"""In a catalogue of up to so many items each one is labelled."""
TOP = 1024
"""In a larger catalogue only so many items, the best of a request, are labelled one by one."""
TAIL = 1024
"""The rest, by rank, is cut into so many equally long stretches; one item of each stands for all of it."""
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

    Shortened lists are sorted, best first. The stretches are ranges of ranks, so that each range of scores has an item.
    """
    scores = scores - scores.mean(axis=1, keepdims=True)
    n = scores.shape[1]
    if n <= WHOLE:
        return SoftLists(scores.astype(np.float16))
    bounds = np.linspace(TOP, n, TAIL + 1).astype(np.int64)
    places = bounds[:-1] + (rng.random((len(scores), TAIL)) * np.diff(bounds)).astype(np.int64)
    order = np.argsort(-scores, axis=1, kind="stable")
    item = np.concatenate([order[:, :TOP], np.take_along_axis(order, places, axis=1)], axis=1)
    listed = np.take_along_axis(scores, item, axis=1).astype(np.float16)
    return SoftLists(listed, item.astype(np.int32), log_weights(n))


def log_weights(n: int) -> Float | None:
    """Log of how many of `n` items each place of a shortened list stands for; None where lists are whole."""
    if n <= WHOLE:
        return None
    widths = np.diff(np.linspace(TOP, n, TAIL + 1).astype(np.int64))
    return np.asarray(np.log(np.concatenate([np.ones(TOP), widths])), np.float32)
