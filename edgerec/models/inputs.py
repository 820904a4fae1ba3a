"""The tensors that teacher and student read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Items = tuple[Tensor, ...]
"""What a model's `encode_items` gives and its scoring functions take: item vectors (N, dim), priors (N, T + 1), ..."""


@dataclass(frozen=True)
class LatestEvents:
    """The latest raw events of B requests, oldest first, padded on the left to the longest, S >= 1.

    Attributes:
        item, kind: int64 (B, S).
        gap_h: float32 (B, S), hours until the next event; of the latest one, until the first request it is read for.
        present: bool (B, S), False on padding.
        past: int64 (B,); requests with the same value have the same events, which need to be read only once.
    """

    item: Tensor
    kind: Tensor
    gap_h: Tensor
    present: Tensor
    past: Tensor


@dataclass(frozen=True)
class RequestBatch:
    """B requests, histories padded to the longest, L.

    Attributes:
        item, kind: int64 (B, L).
        count, age_h, interval_h: float32 (B, L), see `edgerec.tasks.History`.
        present: bool (B, L), False on padding.
        categorical: int64 (B, C); numeric: float32 (B, M), see `edgerec.tasks.RequestEncoder`.
        latest: for a teacher with a sequence model; None without.
    """

    item: Tensor
    kind: Tensor
    count: Tensor
    age_h: Tensor
    interval_h: Tensor
    present: Tensor
    categorical: Tensor
    numeric: Tensor
    latest: LatestEvents | None = None


@dataclass(frozen=True)
class Adjacency:
    """Weighted edges between M nodes as sparse rows, and turned round, which is what their derivative needs.

    Attributes:
        offsets: int32 (M + 1,); node i hears from ``source[offsets[i]:offsets[i + 1]]``, int32 (E,).
        weight: float32 (E,).
        back_offsets, back_source, back_weight: the same edges, rows by their source.
    """

    offsets: Tensor
    source: Tensor
    weight: Tensor
    back_offsets: Tensor
    back_source: Tensor
    back_weight: Tensor


@dataclass(frozen=True)
class ItemGraph:
    """Items, entities and users, in this order, as nodes, and the edges along which each layer passes messages.

    Attributes:
        layers: one `Adjacency` a relation for each layer, or once for all of them.
    """

    layers: tuple[tuple[Adjacency, ...], ...]


@dataclass(frozen=True)
class ItemsAsOf:
    """What is known of N items at one as-of time: `statistics`, float32 (N, F); for graph layers, the `graph`."""

    statistics: Tensor
    graph: ItemGraph | None = None


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of N items apart from their id; constant over time.

    Attributes:
        text: float32 (N, D), vectors of a language model, zero where an item has no text; D may be 0.
        categorical: int64 (N, Ci), 0 where unknown.
        numeric: float32 (N, Mi), standardised.
        parts: int64 (N, P), values of columns with several in a cell, as places in one table of all of them; None
            without such columns.
        shares: float32 (N, P), 1 over how many values of its column an item has; 0 where there is no value.
    """

    text: Tensor
    categorical: Tensor
    numeric: Tensor
    parts: Tensor | None = None
    shares: Tensor | None = None


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
        item_parts: values of all the items' columns with several in a cell.
        relations, entities: of the graph, if there is one.
    """

    n_items: int
    kinds: int
    categories: tuple[int, ...]
    numbers: int
    item_categories: tuple[int, ...]
    item_numbers: int
    text: int
    statistics: int
    relations: int = 0
    entities: int = 0
    item_parts: int = 0
