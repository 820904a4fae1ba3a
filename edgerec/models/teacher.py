"""The teacher: experts shared between tasks over text, ids, history, context and item statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgerec.models.blocks import (
    HistoryPooling,
    ItemTower,
    PastEvents,
    RepeatTerm,
    RequestContext,
    read_past,
    repeat_of,
    scatter_repeat,
)
from edgerec.models.experts import sharing_network
from edgerec.models.inputs import ItemFeatures, Items, ItemsAsOf, RequestBatch, Shape
from edgerec.models.sequence import Read, SequenceModel


class Teacher(nn.Module):
    """Scores the catalogue like the student, but with experts, and impressions with crosses of user and item.

    Args:
        pointwise: for each scored task, whether it judges impressions (binary, regression) or ranks the catalogue.
    """

    def __init__(
        self,
        shape: Shape,
        features: ItemFeatures,
        pointwise: Sequence[bool],
        dim: int = 64,
        hidden: int = 128,
        heads: int = 8,
        experts: int = 4,
        dropout: float = 0.2,
        graph_layers: int = 0,
        sequence: int = 0,
        sequence_layers: int = 2,
        sharing: str = "mmoe",
        own_text: bool = False,
    ) -> None:
        super().__init__()
        tasks = len(pointwise)
        self.tasks, self.dim = tasks, dim
        self.items = ItemTower(shape, features, dim, hidden, tasks + 1, own_text)
        self.context = RequestContext(shape, hidden, hidden, dropout)
        self.pooling = HistoryPooling(shape.kinds, dim, hidden, heads, hidden)
        self.repeat = RepeatTerm(shape.kinds, dim, hidden // 2, hidden, tasks)
        self.graph = _graph_layers(dim, shape, graph_layers) if graph_layers else None
        self.sequence = SequenceModel(shape.kinds, dim, heads, sequence_layers, sequence, dropout) if sequence else None
        read = dim if sequence else 0
        state = hidden + heads * dim + read
        self.request_experts = sharing_network(sharing, state, hidden, experts, tasks, dropout)
        self.mix = nn.Linear(heads * dim, tasks * dim, bias=False)
        self.to_user = nn.Linear(hidden, dim)
        self.relation = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.relation.weight)
        crossed = hidden + read + 3 * dim + shape.statistics + shape.item_numbers
        self.row_experts = (
            sharing_network(sharing, crossed, hidden, experts, tasks, dropout) if any(pointwise) else None
        )
        self.row_heads = nn.Parameter(torch.zeros(tasks, hidden))

    def encode_items(self, as_of: ItemsAsOf, about: Tensor | None = None) -> Items:
        """Item vectors (N, dim), priors (N, T + 1), and the statistics themselves for the crosses.

        `about`: the only items that are asked for, see `ItemTower.needed`; a graph needs them all.
        """
        table, prior = self.items.needed(as_of.statistics, about if self.graph is None else None)
        if self.graph is not None:
            assert as_of.graph is not None, "a teacher with graph layers needs the edges of the as-of time"
            table = self.graph(table, as_of.graph)
        return table, prior, as_of.statistics

    def _encode_requests(self, batch: RequestBatch, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Read | None]:
        """Task vectors (B, T, dim), repeat term (B, L, T), context (B, hidden + what the sequence says), and that."""
        vectors = nn.functional.embedding(batch.item, table)
        context = self.context(batch.categorical, batch.numeric)
        attention, repeat = read_past(self.pooling, self.repeat, PastEvents.of(batch), table, context)
        pooled = torch.einsum("blh,bld->bhd", attention, vectors).flatten(1)
        read = None
        if self.sequence is not None:
            assert batch.latest is not None, "a teacher with a sequence model needs the latest events"
            read = self.sequence(batch.latest, table)
            context = torch.cat([context, read.last()], dim=1)
        user = self.to_user(self.request_experts(torch.cat([context, pooled], dim=1)))
        user = user + self.mix(pooled).unflatten(1, (self.tasks, self.dim))
        return user, repeat, context, read

    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor:
        """Logits of every item for all tasks, or for the `tasks` that are asked for: (B, T, N)."""
        return self.score_sessions(batch, items, tasks)[0]

    def score_sessions(
        self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None
    ) -> tuple[Tensor, Read | None]:
        """As `score_catalog`, and what the sequence model read on the way, which has a loss of its own."""
        table, prior, _ = items
        user, repeat, _, read = self._encode_requests(batch, table)
        wanted = list(range(self.tasks) if tasks is None else tasks)
        logits = user[:, wanted] @ table.T + prior[:, wanted].T
        return scatter_repeat(logits, repeat[:, :, wanted], batch), read

    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor:
        """Logits of one candidate a request, (B, T): the dot product plus the experts' view of the pair."""
        table, prior, statistics = items
        user, repeat, context, _ = self._encode_requests(batch, table)
        item = table[candidate]
        logits = torch.einsum("btd,bd->bt", user, item) + prior[candidate, : self.tasks]
        logits = logits + repeat_of(candidate, repeat, batch)
        if self.row_experts is None:
            return logits
        mean_user = user.mean(dim=1)
        facts = torch.cat([statistics, self.items.numeric], dim=1)[candidate]
        crossed = torch.cat([context, mean_user, item, mean_user * item, facts], dim=1)
        return logits + torch.einsum("bth,th->bt", self.row_experts(crossed), self.row_heads)

    def score_related(self, query: Tensor, items: Items) -> Tensor:
        """Logits of being in one session with `query` (Q,), (Q, N)."""
        table, prior, _ = items
        logits: Tensor = self.relation(table[query]) @ table.T + prior[:, self.tasks]
        return logits


def _graph_layers(dim: int, shape: Shape, layers: int) -> nn.Module:
    from edgerec.models.graph import GraphLayers  # PyTorch Geometric takes seconds to load: only on use

    return GraphLayers(dim, shape.relations, shape.entities, layers)
