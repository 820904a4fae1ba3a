"""The student: closed in form, so that one graph scores the whole catalogue on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgerec.models.blocks import (
    HistoryPooling,
    ItemTower,
    Mlp,
    RepeatTerm,
    RequestContext,
    event_numbers,
    repeat_of,
    scatter_repeat,
)
from edgerec.models.inputs import ItemFeatures, Items, Moment, RequestBatch, Shape
from edgerec.models.rounding import round_rows, row_scales


@dataclass(frozen=True)
class StudentSizes:
    """Widths of a student; pruning makes each of them smaller by itself.

    Attributes:
        dim: of the item table. heads: of the attention over the history.
        inner, context: hidden units on the way to, and of, the context vector.
        pooling, repeat, head: hidden units of the attention, the repeat term and the task vectors' head.
        item: hidden units of the item tower, which is folded into the table.
        factor: see `ItemTower`.
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

    @classmethod
    def of(cls, dim: int, hidden: int, heads: int, factor: int = 0, item: int | None = None) -> StudentSizes:
        """All parts of one width but the repeat term, which needs half of it."""
        return cls(dim, heads, hidden, hidden, hidden, max(hidden // 2, 1), hidden, item or hidden, factor)


class RequestTower(nn.Module):
    """From the past items' vectors and the context to one vector a task, and to the repeat term."""

    def __init__(self, shape: Shape, tasks: int, sizes: StudentSizes, dropout: float) -> None:
        super().__init__()
        self.tasks, self.dim, self.heads = tasks, sizes.dim, sizes.heads
        pooled = sizes.heads * sizes.dim
        self.context = RequestContext(shape, sizes.inner, sizes.context, dropout)
        self.pooling = HistoryPooling(shape.kinds, sizes.dim, sizes.pooling, sizes.heads, sizes.context)
        self.repeat = RepeatTerm(shape.kinds, sizes.dim, sizes.repeat, sizes.context, tasks)
        self.mix = nn.Linear(pooled, tasks * sizes.dim, bias=False)
        self.head = Mlp(sizes.context + pooled, sizes.head, tasks * sizes.dim, dropout)

    def forward(
        self, vectors: Tensor, kind: Tensor, numbers: Tensor, present: Tensor, categorical: Tensor, numeric: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Task vectors (B, T, dim), repeat (B, L, T), attention (B, L, heads); arguments as in the blocks."""
        context = self.context(categorical, numeric)
        attention = self.pooling(vectors, kind, numbers, context, present)
        pooled = torch.einsum("blh,bld->bhd", attention, vectors).flatten(1)
        user = self.mix(pooled) + self.head(torch.cat([context, pooled], dim=1))
        return user.unflatten(1, (self.tasks, self.dim)), self.repeat(vectors, kind, numbers, context), attention


class Student(nn.Module):
    """``logit_t(i) = u_t . v_i + b_t(i) + repeat_t(i)`` for every task t and item i.

    `related` scores item pairs with the same table: ``v_q R . v_i + b(i)``.

    Attributes:
        rounded: see the table as the bundle will hold it, rounded to INT8.
        step: log of each row's quantization step against that which just covers the row's largest number, (N,).
    """

    def __init__(
        self, shape: Shape, features: ItemFeatures, tasks: int, sizes: StudentSizes, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape, self.tasks, self.sizes = shape, tasks, sizes
        self.items = ItemTower(shape, features, sizes.dim, sizes.item, tasks + 1, factor=sizes.factor)
        self.step = nn.Parameter(torch.zeros(shape.n_items))
        self.rounded = False
        self.requests = RequestTower(shape, tasks, sizes, dropout)
        self.relation = nn.Linear(sizes.dim, sizes.dim, bias=False)
        nn.init.eye_(self.relation.weight)

    def encode_items(self, moment: Moment) -> Items:
        """Item vectors (N, dim) and priors (N, T + 1; the last column belongs to `related`)."""
        table, prior = self.items(moment.statistics)
        return (round_rows(table, row_scales(table, self.step)) if self.rounded else table), prior

    def rescale(self, task: int, slope: float, offset: float) -> None:
        """Change a task's logits z to ``slope * z + offset``, by its weights alone; `tasks` names the related task."""
        tower, prior = self.requests, self.items
        rows = slice(task * tower.dim, (task + 1) * tower.dim)
        with torch.no_grad():
            scaled = [prior.bias.weight[:, task], prior.prior.last.weight[task], prior.prior.last.bias[task : task + 1]]
            if task == self.tasks:
                scaled.append(self.relation.weight)
            else:
                scaled += [tower.mix.weight[rows], tower.head.last.weight[rows], tower.head.last.bias[rows]]
                scaled += [tower.repeat.out.weight[task], tower.repeat.out.bias[task : task + 1]]
            for values in scaled:
                values.mul_(slope)
            prior.prior.last.bias[task] += offset

    def encode_requests(self, batch: RequestBatch, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Task vectors, repeat term and attention, see `RequestTower`."""
        numbers = event_numbers(batch.count, batch.age_h, batch.interval_h)
        vectors = nn.functional.embedding(batch.item, table)
        encoded: tuple[Tensor, Tensor, Tensor] = self.requests(
            vectors, batch.kind, numbers, batch.present, batch.categorical, batch.numeric
        )
        return encoded

    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor:
        """Logits of every item for all tasks, or for the `tasks` that are asked for: (B, T, N)."""
        table, prior = items
        user, repeat, _ = self.encode_requests(batch, table)
        wanted = list(range(self.tasks) if tasks is None else tasks)
        logits = user[:, wanted] @ table.T + prior[:, wanted].T
        return scatter_repeat(logits, repeat[:, :, wanted], batch)

    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor:
        """Logits of one candidate a request, (B, T); `candidate` int64 (B,)."""
        table, prior = items
        user, repeat, _ = self.encode_requests(batch, table)
        dot = torch.einsum("btd,bd->bt", user, table[candidate])
        return dot + prior[candidate, : self.tasks] + repeat_of(candidate, repeat, batch)

    def score_related(self, query: Tensor, items: Items) -> Tensor:
        """Logits of being in one session with `query` (Q,), (Q, N)."""
        table, prior = items
        logits: Tensor = self.relation(table[query]) @ table.T + prior[:, self.tasks]
        return logits
