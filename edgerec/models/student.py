"""The student: closed in form, so that one graph scores the whole catalogue on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgerec.models.blocks import (
    EVENT_FEATURES,
    HistoryPooling,
    ItemTower,
    Mlp,
    PastEvents,
    RepeatTerm,
    RequestContext,
    Transitions,
    follow_of,
    later_items,
    read_past,
    repeat_of,
    scatter_repeat,
    scatter_transitions,
)
from edgerec.models.inputs import ItemFeatures, Items, ItemsAsOf, RequestBatch, Shape
from edgerec.models.qat import LEVELS, round_rows, row_scales

FOLLOWED = 32
"""An item's transitions count if fewer items of the history than this had a later event."""


@dataclass(frozen=True)
class StudentSizes:
    """Widths of a student; pruning makes each of them smaller by itself.

    Attributes:
        dim: of the item table. heads: of the attention over the history.
        inner, context: hidden units on the way to, and of, the context vector.
        pooling, repeat, head: hidden units of the attention, the repeat term and the task vectors' head.
        item: hidden units of the item tower, which is folded into the table.
        factor: see `ItemTower`.
        transitions: of each item, see `Transitions`; 0 leaves them and the order of events out.
        levels: largest code of an entry of the quantized table.
    """

    dim: int
    heads: int
    inner: int
    context: int
    pooling: int
    repeat: int
    head: int
    item: int
    factor: int = 0
    transitions: int = 0
    levels: int = LEVELS

    @classmethod
    def of(
        cls, dim: int, hidden: int, heads: int, factor: int = 0, item: int | None = None, transitions: int = 0
    ) -> StudentSizes:
        """All parts of one width but the repeat term, which needs half of it."""
        return cls(dim, heads, hidden, hidden, hidden, max(hidden // 2, 1), hidden, item or hidden, factor, transitions)


class EncodedRequests(NamedTuple):
    """B encoded requests.

    Attributes:
        user: (B, T, dim), task vectors. repeat: (B, L, T), what past items add to their own logits.
        follow: the same, to the logits of their transitions; (B, L, 0) without. attention: (B, L, heads).
    """

    user: Tensor
    repeat: Tensor
    follow: Tensor
    attention: Tensor


class RequestTower(nn.Module):
    """From the past items' vectors and the context to one vector a task, and to what past items add by themselves."""

    def __init__(self, shape: Shape, tasks: int, sizes: StudentSizes, dropout: float) -> None:
        super().__init__()
        self.tasks, self.dim, self.heads = tasks, sizes.dim, sizes.heads
        pooled = sizes.heads * sizes.dim
        self.context = RequestContext(shape, sizes.inner, sizes.context, dropout)
        ordered = sizes.transitions > 0
        features = EVENT_FEATURES + ordered
        self.pooling = HistoryPooling(shape.kinds, sizes.dim, sizes.pooling, sizes.heads, sizes.context, features)
        self.repeat = RepeatTerm(shape.kinds, sizes.dim, sizes.repeat, sizes.context, tasks, features, ordered)
        self.mix = nn.Linear(pooled, tasks * sizes.dim, bias=False)
        self.head = Mlp(sizes.context + pooled, sizes.head, tasks * sizes.dim, dropout)

    def forward(
        self, vectors: Tensor, kind: Tensor, features: Tensor, categorical: Tensor, numeric: Tensor
    ) -> EncodedRequests:
        """Requests whose histories are all of one length, as the bundle's graph reads them; arguments as in the blocks.

        `read` does the same for histories with padding.
        """
        context = self.context(categorical, numeric)
        attention = self.pooling.weights(self.pooling.attention(self.pooling.hidden(vectors, kind, features, context)))
        added = self.repeat.out(self.repeat.hidden(vectors, kind, features, context))
        return self._encoded(context, attention, vectors, added)

    def read(self, batch: RequestBatch, later: Tensor | None, table: Tensor) -> EncodedRequests:
        """Requests with the item vectors `table` (N, dim); `later` as of `event_features`."""
        context = self.context(batch.categorical, batch.numeric)
        attention, added = read_past(self.pooling, self.repeat, PastEvents.of(batch, later), table, context)
        return self._encoded(context, attention, nn.functional.embedding(batch.item, table), added)

    def _encoded(self, context: Tensor, attention: Tensor, vectors: Tensor, added: Tensor) -> EncodedRequests:
        pooled = self.pooled(attention, vectors)
        user = self.mix(pooled) + self.head(torch.cat([context, pooled], dim=1))
        repeat, follow = added[..., : self.tasks], added[..., self.tasks :]
        return EncodedRequests(user.unflatten(1, (self.tasks, self.dim)), repeat, follow, attention)

    @staticmethod
    def pooled(attention: Tensor, vectors: Tensor) -> Tensor:
        """What each head sees of the history, (B, heads * dim), from (B, L, heads) and (B, L, dim)."""
        return (attention.transpose(1, 2) @ vectors).flatten(1)


class Student(nn.Module):
    """``logit_t(i) = u_t . v_i + b_t(i) + repeat_t(i) + follow_t(i)`` for every task t and item i.

    `related` scores item pairs with the same table: ``v_q R . v_i + b(i)``.

    Attributes:
        qat: quantization-aware training: the table is rounded as in the bundle.
        step: log of each row's quantization step over the one that just covers the row's largest entry, (N,).
    """

    def __init__(
        self, shape: Shape, features: ItemFeatures, tasks: int, sizes: StudentSizes, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape, self.tasks, self.sizes = shape, tasks, sizes
        self.items = ItemTower(shape, features, sizes.dim, sizes.item, tasks + 1, factor=sizes.factor)
        self.step = nn.Parameter(torch.zeros(shape.n_items))
        self.qat = False
        self.requests = RequestTower(shape, tasks, sizes, dropout)
        self.transitions = Transitions(shape.n_items, sizes.transitions) if sizes.transitions else None
        self.relation = nn.Linear(sizes.dim, sizes.dim, bias=False)
        nn.init.eye_(self.relation.weight)

    def encode_items(self, as_of: ItemsAsOf, about: Tensor | None = None) -> Items:
        """Item vectors (N, dim) and priors (N, T + 1; the last column belongs to `related`).

        `about`: the only items that are asked for, see `ItemTower.needed`.
        """
        table, prior = self.items.needed(as_of.statistics, about)
        return (round_rows(table, self.scales(table), self.sizes.levels) if self.qat else table), prior

    def scales(self, table: Tensor, rows: slice = slice(None)) -> Tensor:
        """Width of a quantization step of `rows` of the items, whose vectors `table` holds."""
        return row_scales(table, self.step[rows], self.sizes.levels)

    def rescale(self, task: int, slope: float, offset: float) -> None:
        """Change a task's logits z to ``slope * z + offset``, by its weights alone; `tasks` names the related task."""
        tower, prior = self.requests, self.items
        rows = slice(task * tower.dim, (task + 1) * tower.dim)
        with torch.no_grad():
            scaled = [prior.bias.weight[:, task], prior.prior.last.weight[task], prior.prior.last.bias[task : task + 1]]
            scaled.append(prior.direct[task])
            if task == self.tasks:
                scaled.append(self.relation.weight)
            else:
                scaled += [tower.mix.weight[rows], tower.head.last.weight[rows], tower.head.last.bias[rows]]
                for added in (task, self.tasks + task) if self.transitions is not None else (task,):
                    scaled += [tower.repeat.out.weight[added], tower.repeat.out.bias[added : added + 1]]
            for values in scaled:
                values.mul_(slope)
            prior.prior.last.bias[task] += offset

    def silence(self, task: int, repeat: bool = False) -> None:
        """Make a task's logits 0 for every item, by its weights alone.

        `repeat`: what past items add to their own logits stays.
        """
        tower, items = self.requests, self.items
        rows = slice(task * tower.dim, (task + 1) * tower.dim)
        last = items.prior.last
        nothing = [items.bias.weight[:, task], last.weight[task], last.bias[task : task + 1], items.direct[task]]
        nothing += [tower.mix.weight[rows], tower.head.last.weight[rows], tower.head.last.bias[rows]]
        added = [] if repeat else [task]
        added += [self.tasks + task] if self.transitions is not None else []
        for row in added:
            nothing += [tower.repeat.out.weight[row], tower.repeat.out.bias[row : row + 1]]
        with torch.no_grad():
            for values in nothing:
                values.zero_()

    def encode_requests(self, batch: RequestBatch, table: Tensor) -> EncodedRequests:
        """See `RequestTower`; padding and events that are too long ago have no transitions."""
        later = None if self.transitions is None else later_items(batch.age_h, batch.present)
        encoded = self.requests.read(batch, later, table)
        if later is None:
            return encoded
        followed = batch.present & (later < FOLLOWED)
        return encoded._replace(follow=encoded.follow * followed.unsqueeze(2))

    def _transitions(self, item: Tensor, follow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How much W past items add to their transitions (B, W, T), whose items and weights are both (B, W, K).

        The W events of the history (B, L) that have transitions are few, so they are packed together.
        """
        assert self.transitions is not None
        followed = (follow != 0).any(dim=2)
        width = int(followed.sum(dim=1).max())
        place = torch.argsort(followed.logical_not().to(torch.int8), dim=1, stable=True)[:, :width]
        item = item.gather(1, place)
        follow = follow.gather(1, place.unsqueeze(2).expand(-1, -1, follow.shape[2]))
        weight = nn.functional.embedding(item, self.transitions.weight)
        if self.qat:
            rows = weight.flatten(0, 1)
            weight = round_rows(rows, row_scales(rows, torch.zeros_like(rows[:, 0]))).view_as(weight)
        return follow, self.transitions.item[item], weight

    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor:
        """Logits of every item for all tasks, or for the `tasks` that are asked for: (B, T, N)."""
        table, prior = items
        request = self.encode_requests(batch, table)
        wanted = list(range(self.tasks) if tasks is None else tasks)
        logits = request.user[:, wanted] @ table.T + prior[:, wanted].T
        logits = scatter_repeat(logits, request.repeat[:, :, wanted], batch)
        if self.transitions is None:
            return logits
        return scatter_transitions(logits, *self._transitions(batch.item, request.follow[:, :, wanted]))

    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor:
        """Logits of one candidate a request, (B, T); `candidate` int64 (B,)."""
        table, prior = items
        request = self.encode_requests(batch, table)
        dot = torch.einsum("btd,bd->bt", request.user, table[candidate])
        logits = dot + prior[candidate, : self.tasks] + repeat_of(candidate, request.repeat, batch)
        if self.transitions is None:
            return logits
        return logits + follow_of(candidate, *self._transitions(batch.item, request.follow))

    def score_related(self, query: Tensor, items: Items) -> Tensor:
        """Logits of being in one session with `query` (Q,), (Q, N)."""
        table, prior = items
        logits: Tensor = self.relation(table[query]) @ table.T + prior[:, self.tasks]
        return logits
