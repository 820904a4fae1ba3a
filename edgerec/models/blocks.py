"""Parts that teacher and student share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgerec.models.inputs import Adjacency, ItemFeatures, RequestBatch, Shape
from edgerec.models.sparse import both_ways, matrices, product

EVENT_FEATURES = 6
"""Columns of `event_features` without the order of events."""
FOLLOWS = 0.3
"""What an event adds at first, before training, to an item that follows it with weight 1."""
FEW_VALUES = 64
"""Of a categorical column, unknown included: each of them has many items."""
ABSENT = -1e4
"""Logit of padding; small enough to leave no attention, and within the range of float16."""


def event_features(count: Tensor, age_h: Tensor, interval_h: Tensor, later: Tensor | None = None) -> Tensor:
    """What is read of each event beside its item and kind, of order one: (..., 6), or 7 with `later`.

    Logs of count, age and interval, and how overdue the item is. What comes next depends most on the order of the
    latest events, which may be seconds apart, and ages in hours do not show it: `later` (...,) is how many of the
    history's items had a later event.
    """
    age, interval = age_h / 24.0, interval_h / 24.0
    repeated = (count > 1).to(age.dtype)
    overdue = torch.log1p(age) - torch.log1p(interval)
    features = [
        torch.log(count),
        torch.log1p(age_h) * 0.2,
        torch.log1p(age) * 0.4,
        torch.log1p(interval) * 0.4,
        overdue * repeated,
        repeated,
    ]
    if later is not None:
        features.append(torch.log1p(later.to(age.dtype)) * 0.5)
    return torch.stack(features, dim=-1)


def later_items(age_h: Tensor, present: Tensor) -> Tensor:
    """How many of the history's items had an event later than each one, int64; `age_h` and `present` (B, L)."""
    ascending = age_h.masked_fill(~present, torch.inf).sort(dim=1).values
    return torch.searchsorted(ascending, age_h.contiguous())


class Mlp(nn.Module):
    """One hidden layer: enough for every use here, and cheap on a phone."""

    def __init__(self, n_in: int, hidden: int, n_out: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(n_in, hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        out: Tensor = self.last(self.dropout(torch.relu(self.first(x))))
        return out


class CategoricalEmbedding(nn.Module):
    """Sum of one embedding a column, in one table; index 0, unknown, is learned too."""

    first: Tensor

    def __init__(self, sizes: Sequence[int], dim: int, apart: bool = False) -> None:
        """`apart`: the values of columns of few values start with vectors of about length 1, all others near zero.

        A history of such vectors shows from the first step on which values a user likes.
        """
        super().__init__()
        first = [sum(sizes[:column]) for column in range(len(sizes))]
        self.register_buffer("first", torch.tensor(first, dtype=torch.int64), persistent=False)
        self.table = nn.Embedding(max(sum(sizes), 1), dim)
        nn.init.normal_(self.table.weight, std=0.02)
        if apart:
            with torch.no_grad():
                for start, size in zip(first, sizes, strict=True):
                    if size <= FEW_VALUES:
                        self.table.weight[start : start + size] *= dim**-0.5 / 0.02

    def forward(self, index: Tensor) -> Tensor:
        """(..., C) int64 -> (..., dim)."""
        vectors: Tensor = self.table(index + self.first)
        return vectors.sum(dim=-2)


class ItemTower(nn.Module):
    """Item vectors and priors from id, features, text and the statistics of one as-of time.

    Attributes:
        fresh: items and their text vectors, in place of those of `text` where joint training has just read them.
        direct: what each statistic, such as popularity at an age, adds to each prior, (priors, F).
    """

    text: Tensor
    categorical: Tensor
    numeric: Tensor
    parts: Tensor
    shares: Tensor

    def __init__(
        self,
        shape: Shape,
        features: ItemFeatures,
        dim: int,
        hidden: int,
        priors: int,
        own_text: bool = False,
        factor: int = 0,
    ) -> None:
        """`own_text`: the text vectors are learned, so they are stored with the weights.

        `factor`: the ids' vectors are the product of a table of this width and a matrix; 0: a table as wide as `dim`.
        Source: multi-layer embedding training, Wang et al., 2021.
        """
        super().__init__()
        self.register_buffer("text", features.text.clone() if own_text else features.text, persistent=own_text)
        self.fresh: tuple[Tensor, Tensor] | None = None
        self.register_buffer("categorical", features.categorical, persistent=False)
        self.register_buffer("numeric", features.numeric, persistent=False)
        self.identity = nn.Embedding(shape.n_items, factor or dim)
        nn.init.normal_(self.identity.weight, std=0.02)
        self.fold = nn.Linear(factor, dim, bias=False) if factor else None
        self.bias = nn.Embedding(shape.n_items, priors)
        nn.init.zeros_(self.bias.weight)
        self.from_text = nn.Linear(shape.text, dim, bias=False) if shape.text else None
        self.from_category = CategoricalEmbedding(shape.item_categories, dim, apart=True)
        self.from_parts: nn.Embedding | None = None
        if features.parts is not None and features.shares is not None:
            self.register_buffer("parts", features.parts, persistent=False)
            self.register_buffer("shares", features.shares, persistent=False)
            self.from_parts = nn.Embedding(max(shape.item_parts, 1), dim)
            nn.init.normal_(self.from_parts.weight, std=0.02)
        self._values: Adjacency | None = None
        self.from_numbers = Mlp(shape.statistics + shape.item_numbers, hidden, dim)
        self.prior = Mlp(shape.statistics + shape.item_numbers, hidden, priors)
        self.direct = nn.Parameter(torch.zeros(priors, shape.statistics))

    def forward(self, statistics: Tensor, rows: slice | Tensor = slice(None)) -> tuple[Tensor, Tensor]:
        """Statistics (N, F) of one as-of time -> vectors (N, dim), priors (N, priors); of some `rows` alone."""
        features = torch.cat([statistics[rows], self.numeric[rows]], dim=1)
        identity = _rows_of(self.identity, rows)
        identity = identity if self.fold is None else self.fold(identity)
        vectors = identity + self.from_attributes(rows) + self.from_numbers(features)
        if self.from_text is not None:
            text = self.text
            if self.fresh is not None:
                items, read = self.fresh
                text = text.index_copy(0, items, read.to(text.dtype))  # a GPU reads in half precision
            vectors = vectors + self.from_text(text[rows])
        return vectors, self.priors(statistics[rows], self.numeric[rows]) + _rows_of(self.bias, rows)

    def needed(self, statistics: Tensor, about: Tensor | None) -> tuple[Tensor, Tensor]:
        """`forward` with all N rows, but only those of the items `about`, int64 (n,), are computed; others are 0."""
        n = len(statistics)
        if about is None or 2 * len(about) > n:
            return self.forward(statistics)
        vectors, priors = self.forward(statistics, about)
        return (
            vectors.new_zeros(n, vectors.shape[1]).index_copy(0, about, vectors),
            priors.new_zeros(n, priors.shape[1]).index_copy(0, about, priors),
        )

    def priors(self, statistics: Tensor, numeric: Tensor) -> Tensor:
        """What statistics and numbers say of items apart from who they are, (N, priors)."""
        features = torch.cat([statistics, numeric], dim=1)
        priors: Tensor = self.prior(features) + statistics @ self.direct.T
        return priors

    def from_attributes(self, rows: slice | Tensor = slice(None)) -> Tensor:
        """What categories add to the vectors, (N, dim): of columns with several values in a cell, their mean."""
        vectors: Tensor = self.from_category(self.categorical[rows])
        if self.from_parts is None:
            return vectors
        weight = self.from_parts.weight
        if weight.device.type != "cpu":
            parts, shares = self.parts[rows], self.shares[rows]
            return vectors + functional.embedding_bag(parts, weight, per_sample_weights=shares, mode="sum")
        if self._values is None:
            self._values = _shares_of_values(self.parts, self.shares, len(weight))
        # On a CPU its gradient takes a fifth of `embedding_bag`'s time.
        means = product(*matrices(self._values, (len(self.parts), len(weight))), weight)
        return vectors + (means[rows] if isinstance(rows, slice) else functional.embedding(rows, means))


def _shares_of_values(parts: Tensor, shares: Tensor, n_values: int) -> Adjacency:
    """The share that each item has of each value, (N, V)."""
    item = torch.arange(len(parts)).repeat_interleave(parts.shape[1])
    some = shares.flatten() > 0
    return both_ways(item[some], parts.flatten()[some], shares.flatten()[some], (len(parts), n_values))


def _rows_of(table: nn.Embedding, rows: slice | Tensor) -> Tensor:
    """Some rows of a table; of listed ones, the gradient comes faster than by indexing."""
    if isinstance(rows, slice):
        return table.weight[rows]
    found: Tensor = table(rows)
    return found


class EventLayer(nn.Module):
    """Hidden units of each past event: of its item, kind and features, and of the request's context."""

    def __init__(self, kinds: int, dim: int, hidden: int, context: int, features: int) -> None:
        """`features`: columns of each event's features."""
        super().__init__()
        self.kind = nn.Embedding(kinds, hidden)
        self.from_item = nn.Linear(dim, hidden)
        self.from_numbers = nn.Linear(features, hidden)
        self.from_context = nn.Linear(context, hidden, bias=False)

    def hidden(self, vectors: Tensor, kind: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """(B, L, hidden) of item vectors (B, L, dim), kind (B, L), features (B, L, features), context (B, context)."""
        event = self.from_item(vectors) + self.from_numbers(features) + self.kind(kind)
        return torch.relu(event + self.from_context(context).unsqueeze(1))


class HistoryPooling(EventLayer):
    """Attention over the past items and their event features; every history also has a learned "nothing" event."""

    def __init__(
        self, kinds: int, dim: int, hidden: int, heads: int, context: int, features: int = EVENT_FEATURES
    ) -> None:
        super().__init__(kinds, dim, hidden, context, features)
        self.attention = nn.Linear(hidden, heads)
        self.nothing = nn.Parameter(torch.zeros(heads))

    def weights(self, logits: Tensor) -> Tensor:
        """Attention (B, L, heads) of the events' `logits`, `ABSENT` on padding; "nothing" has the rest."""
        nothing = self.nothing.expand(logits.shape[0], 1, -1)
        return torch.softmax(torch.cat([nothing, logits], dim=1), dim=1)[:, 1:]


class RepeatTerm(EventLayer):
    """What an item of the history adds to its own logits, by its count, age, interval and kind and by the user.

    With `transitions` as many outputs again: how much it adds to the logits of the items that follow it.
    """

    def __init__(
        self,
        kinds: int,
        dim: int,
        hidden: int,
        context: int,
        tasks: int,
        features: int = EVENT_FEATURES,
        transitions: bool = False,
    ) -> None:
        super().__init__(kinds, dim, hidden, context, features)
        outputs = 2 * tasks if transitions else tasks
        self.out = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if transitions:
            nn.init.constant_(self.out.bias[tasks:], FOLLOWS)


@dataclass(frozen=True)
class PastEvents:
    """The S past items of B requests, without the padding to the longest past, L.

    Attributes:
        owner, item, kind: int64 (S,), request, item and kind of each. features: (S, F).
        present: bool (B, L), where they stand with padding.
    """

    owner: Tensor
    item: Tensor
    kind: Tensor
    features: Tensor
    present: Tensor

    @classmethod
    def of(cls, batch: RequestBatch, later: Tensor | None = None) -> PastEvents:
        """The events of `batch`; `later` (B, L), see `event_features`."""
        owner, place = batch.present.nonzero(as_tuple=True)
        counts, ages, intervals = (v[owner, place] for v in (batch.count, batch.age_h, batch.interval_h))
        features = event_features(counts, ages, intervals, None if later is None else later[owner, place])
        return cls(owner, batch.item[owner, place], batch.kind[owner, place], features, batch.present)

    def padded(self, values: Tensor, empty: float) -> Tensor:
        """`values` (S, C) in their places, (B, L, C), and `empty` elsewhere."""
        out = values.new_full((*self.present.shape, values.shape[1]), empty)
        return out.masked_scatter(self.present.unsqueeze(2), values)


def read_past(
    pooling: HistoryPooling, repeat: RepeatTerm, events: PastEvents, table: Tensor, context: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention (B, L, heads) and repeat term (B, L, outputs), as by `hidden` of both layers but much faster.

    Both layers are read as one; where the catalogue `table` (N, dim) has fewer rows than there are events, each item
    passes through the layers once; padding never does.
    """
    layers = (pooling, repeat)
    from_item, bias = (torch.cat([getattr(layer.from_item, name) for layer in layers]) for name in ("weight", "bias"))
    of_numbers = torch.cat([layer.from_numbers.weight for layer in layers])
    bias = bias + torch.cat([layer.from_numbers.bias for layer in layers])
    if len(table) <= len(events.item):
        of_item = functional.embedding(events.item, functional.linear(table, from_item, bias))
    else:
        of_item = functional.linear(functional.embedding(events.item, table), from_item, bias)
    of_request = functional.linear(context, torch.cat([layer.from_context.weight for layer in layers]))
    of_kind = torch.cat([layer.kind.weight for layer in layers], dim=1)
    if len(of_kind) == 1:
        of_request = of_request + of_kind
    hidden = torch.addmm(of_item, events.features, of_numbers.T).add_(functional.embedding(events.owner, of_request))
    if len(of_kind) > 1:
        hidden = hidden.add_(functional.embedding(events.kind, of_kind))
    # One product with zeros: slices of the hidden units would be copied in the backward pass, which takes longer.
    heads, outputs = pooling.attention, repeat.out
    weight: Tensor = torch.block_diag(heads.weight, outputs.weight)  # type: ignore[no-untyped-call]
    of_event = functional.linear(hidden.relu_(), weight, torch.cat([heads.bias, outputs.bias]))
    attention = pooling.weights(events.padded(of_event[:, : heads.out_features], ABSENT))
    return attention, events.padded(of_event[:, heads.out_features :], 0.0)


class Transitions(nn.Module):
    """For each item the K items that most often follow it, and the weight of each, learned.

    Item vectors of few dimensions cannot say which item follows which; a short list can.

    Attributes:
        item: int32 (N, K); a place that no item takes holds the row's own item, with weight 0.
        weight: (N, K).
    """

    item: Tensor

    def __init__(self, n_items: int, most: int) -> None:
        super().__init__()
        self.register_buffer("item", torch.arange(n_items, dtype=torch.int32).unsqueeze(1).repeat(1, most))
        self.weight = nn.Parameter(torch.zeros(n_items, most))

    def start(self, item: Tensor, weight: Tensor) -> None:
        """Set both, as they are before learning."""
        with torch.no_grad():
            self.item.copy_(item)
            self.weight.copy_(weight)


class RequestContext(nn.Module):
    """Context, user attributes and the user's own past as one vector."""

    def __init__(self, shape: Shape, inner: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.category = CategoricalEmbedding(shape.categories, inner)
        self.numbers = nn.Linear(shape.numbers, inner)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(inner, hidden)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """(B, C), (B, M) -> (B, hidden)."""
        inner = torch.relu(self.category(categorical) + self.numbers(numeric))
        return torch.relu(self.out(self.dropout(inner)))


def scatter_repeat(logits: Tensor, repeat: Tensor, batch: RequestBatch) -> Tensor:
    """Add each past item's `repeat` (B, L, T) to its place in `logits` (B, T, N)."""
    index = batch.item.unsqueeze(1).expand(-1, logits.shape[1], -1)
    added = (repeat * batch.present.unsqueeze(2)).transpose(1, 2).to(logits.dtype)  # another one under mixed precision
    return logits.scatter_add(2, index, added)


def repeat_of(candidate: Tensor, repeat: Tensor, batch: RequestBatch) -> Tensor:
    """The `repeat` (B, L, T) of each request's candidate (B,), zero where it is not in the history: (B, T)."""
    same = (batch.item == candidate.unsqueeze(1)) & batch.present
    return (repeat * same.unsqueeze(2)).sum(dim=1)


def scatter_transitions(logits: Tensor, follow: Tensor, item: Tensor, weight: Tensor) -> Tensor:
    """Add ``follow[b, l, t] * weight[b, l, k]`` to the logits (B, T, N) of the item ``item[b, l, k]``.

    Args:
        follow: (B, L, T), 0 on padding. item, weight: (B, L, K), of each past item.
    """
    added = torch.einsum("blt,blk->btlk", follow, weight).flatten(2).to(logits.dtype)
    index = item.flatten(1).to(torch.int64).unsqueeze(1).expand(-1, logits.shape[1], -1)
    return logits.scatter_add(2, index, added)


def follow_of(candidate: Tensor, follow: Tensor, item: Tensor, weight: Tensor) -> Tensor:
    """What `scatter_transitions` adds to each request's candidate (B,): (B, T)."""
    strength = (weight * (item == candidate[:, None, None])).sum(dim=2)
    return torch.einsum("bl,blt->bt", strength, follow)
