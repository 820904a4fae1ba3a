"""The tensors that teacher and student read."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

Items = tuple[Tensor, ...]
"""What a model's `encode_items` gives and its scoring functions take: item vectors (N, dim), priors (N, T + 1), ..."""


@dataclass(frozen=True)
class RequestBatch:
    """B requests, histories padded to the longest, L.

    Attributes:
        item, kind: int64 (B, L).
        count, age_h, interval_h: float32 (B, L), see `edgerec.tasks.History`.
        present: bool (B, L), False on padding.
        categorical: int64 (B, C); numeric: float32 (B, M), see `edgerec.tasks.RequestEncoder`.
    """

    item: Tensor
    kind: Tensor
    count: Tensor
    age_h: Tensor
    interval_h: Tensor
    present: Tensor
    categorical: Tensor
    numeric: Tensor

    def to(self, device: torch.device) -> RequestBatch:
        """The same batch on `device`."""
        return RequestBatch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


@dataclass(frozen=True)
class Moment:
    """What is known of N items at one moment: `statistics`, float32 (N, F)."""

    statistics: Tensor

    def to(self, device: torch.device) -> Moment:
        """The same on `device`."""
        return Moment(self.statistics.to(device, non_blocking=True))


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of N items apart from their id; constant over time.

    Attributes:
        text: float32 (N, D), vectors of a language model, zero where an item has no text; D may be 0.
        categorical: int64 (N, Ci), 0 where unknown.
        numeric: float32 (N, Mi), standardised.
    """

    text: Tensor
    categorical: Tensor
    numeric: Tensor


@dataclass(frozen=True)
class Shape:
    """Sizes that fix a model's parameters; written beside its weights.

    Attributes:
        kinds: number of event kinds, 2 ** number of binary tasks.
        categories: sizes of the request's categorical inputs, index 0 (unknown) included.
        numbers: columns of the request's numeric input.
        item_categories: sizes of the items' categorical features, index 0 included.
        item_numbers, text: columns of the items' numeric features and text vectors.
        statistics: columns of the items' statistics.
    """

    n_items: int
    kinds: int
    categories: tuple[int, ...]
    numbers: int
    item_categories: tuple[int, ...]
    item_numbers: int
    text: int
    statistics: int
