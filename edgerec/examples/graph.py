"""The edges of the graph as they were known at each as-of time, whole or as a random draw of each node's neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from edgerec.examples.log import Log
from edgerec.models.inputs import Adjacency, ItemGraph
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int

SESSION_NEIGHBOURS = 20
"""Items of the same sessions that an item is joined to, those with the largest cosine."""
SESSION_ITEMS = 100
"""Of a longer session only its last items make pairs, whose number grows with the square."""
SNAPSHOTS = 16
"""As-of times at which the item pairs of sessions are counted; between two of them the earlier one holds."""
CACHED = 4
"""As-of times whose whole graph stays in memory: the batches of an as-of time come in no order."""

Narrow = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SparseRows:
    """M sparse rows, see `Adjacency`: offsets int64 (M + 1,), source int32 (E,), weight float32 (E,)."""

    offsets: Int
    source: Narrow
    weight: Float

    @classmethod
    def of(cls, target: Int, source: Int, weight: npt.NDArray[np.floating], n: int) -> SparseRows:
        """From edges in any order; the weights of equal ones are added."""
        matrix = sparse.csr_matrix((weight.astype(np.float32), (target, source)), (n, n))
        matrix.sum_duplicates()
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)

    def sizes(self) -> Int:
        """Neighbours of each node."""
        return np.diff(self.offsets)

    def normalized(self) -> SparseRows:
        """Each weight over the root of the product of its two nodes' sums, so that no layer makes vectors longer.

        Only for symmetric rows.
        """
        owner = np.repeat(np.arange(len(self.offsets) - 1), self.sizes())
        total = np.bincount(owner, self.weight, len(self.offsets) - 1)
        root = 1 / np.sqrt(np.maximum(total, 1e-12))
        return SparseRows(self.offsets, self.source, (self.weight * root[owner] * root[self.source]).astype(np.float32))

    def draw(self, most: int, rng: np.random.Generator) -> SparseRows:
        """`most` neighbours of each node that has more, drawn with replacement; the expected sum is the same."""
        size = self.sizes()
        many = size > most
        taken = np.minimum(size, most)
        offsets = np.concatenate(([0], np.cumsum(taken)))
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], taken)
        owner = np.repeat(np.arange(len(size)), taken)
        drawn = (rng.random(len(place)) * size[owner]).astype(np.int64)
        at = self.offsets[owner] + np.where(many[owner], drawn, place)
        factor = np.where(many, size / most, 1.0)[owner]
        return SparseRows(offsets, self.source[at], (self.weight[at] * factor).astype(np.float32))

    def turned(self) -> SparseRows:
        """The same edges, rows by their source."""
        n = len(self.offsets) - 1
        back = sparse.csr_matrix((self.weight, self.source, self.offsets), (n, n)).tocsc()
        return SparseRows(back.indptr.astype(np.int64), back.indices.astype(np.int32), back.data)

    def adjacency(self, back: SparseRows) -> Adjacency:
        """As tensors, with the turned rows `back`."""
        tensors = [torch.from_numpy(a) for r in (self, back) for a in (r.offsets.astype(np.int32), r.source, r.weight)]
        return Adjacency(*tensors)


@dataclass(frozen=True)
class Knowledge:
    """Edges without a time, by relation: their two ends, in both directions; nodes are items, then entities."""

    entities: int
    edges: tuple[tuple[Int, Int], ...]


class GraphEdges:
    """All edges of the training rows, and those of them that were known at each as-of time.

    Nodes are N items, the entities, and U users. The relations are: user and item, in both directions; items of one
    session, if there are sessions; then those of the knowledge graph.

    Args:
        consumed: bool (E,), rows of `log` that are interactions.
        as_of_ms: ascending as-of times of the statistics; an edge is there at those after its first row.
        layers, neighbours: of the model; `neighbours` 0 draws none but takes all.
    """

    def __init__(
        self,
        log: Log,
        consumed: npt.NDArray[np.bool_],
        n_items: int,
        as_of_ms: Int,
        knowledge: Knowledge,
        has_sessions: bool,
        layers: int,
        neighbours: int,
    ) -> None:
        self.layers, self.neighbours, self.as_of_ms = layers, neighbours, as_of_ms
        self.entities = knowledge.entities
        self.nodes = n_items + knowledge.entities + len(log.offsets) - 1
        rows = np.flatnonzero(consumed & (log.item < n_items))
        self._interactions = _first_times(log, rows, n_items + knowledge.entities, self.nodes)
        self._snapshots = _co_occurrence(log, rows, n_items, as_of_ms) if has_sessions else None
        self._knowledge = [SparseRows.of(a, b, np.ones(len(a)), self.nodes).normalized() for a, b in knowledge.edges]
        self._whole: OrderedDict[int, list[SparseRows]] = OrderedDict()

    @property
    def relations(self) -> int:
        """Kinds of edges."""
        return 1 + (self._snapshots is not None) + len(self._knowledge)

    def until(self, as_of: int) -> ItemGraph:
        """All edges that were known at the as-of time of this index."""
        return ItemGraph((tuple(rows.adjacency(rows) for rows in self._rows(as_of)),))

    def draw(self, as_of: int, rng: np.random.Generator) -> ItemGraph:
        """As `until`, but of each node with more a random `neighbours`, anew for each layer; all if that is 0."""
        if not self.neighbours:
            return self.until(as_of)
        return ItemGraph(tuple(tuple(self._drawn(as_of, rng)) for _ in range(self.layers)))

    def _drawn(self, as_of: int, rng: np.random.Generator) -> Iterator[Adjacency]:
        for rows in self._rows(as_of):
            drawn = rows.draw(self.neighbours, rng)
            yield drawn.adjacency(drawn.turned())

    def _rows(self, as_of: int) -> list[SparseRows]:
        """All edges of each relation; each relation is symmetric."""
        as_of %= len(self.as_of_ms)
        if as_of not in self._whole:
            relations = [self._interactions.before(int(self.as_of_ms[as_of])).normalized()]
            if self._snapshots is not None:
                relations.append(_padded(self._snapshots.at(as_of), self.nodes))
            self._whole[as_of] = relations + self._knowledge
            if len(self._whole) > CACHED:
                self._whole.popitem(last=False)
        self._whole.move_to_end(as_of)
        return self._whole[as_of]


@dataclass(frozen=True)
class _TimedRows:
    """Sparse rows whose edges each begin at a time."""

    n: int
    target: Int
    source: Narrow
    time_ms: Int

    def before(self, time_ms: int) -> SparseRows:
        """The edges that began before, all of weight 1."""
        begun = self.time_ms < time_ms
        sizes = np.bincount(self.target[begun], minlength=self.n)
        source = self.source[begun]
        return SparseRows(np.concatenate(([0], np.cumsum(sizes))), source, np.ones(len(source), np.float32))


def _first_times(log: Log, rows: Int, first_user: int, nodes: int) -> _TimedRows:
    """Each pair of user and item once, both ways, from its first row on."""
    user, item, time_ms = log.user[rows] + first_user, log.item[rows], log.time_ms[rows]
    order = np.lexsort((time_ms, item, user))
    user, item, time_ms = user[order], item[order], time_ms[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    user, item, time_ms = user[new], item[new], time_ms[new]
    target, source = np.concatenate([item, user]), np.concatenate([user, item])
    order = np.lexsort((source, target))
    return _TimedRows(nodes, target[order], source[order].astype(np.int32), np.concatenate([time_ms, time_ms])[order])


@dataclass(frozen=True)
class _Snapshots:
    """Sparse rows at some of the as-of times, `index` ascending."""

    index: Int
    rows: tuple[SparseRows, ...]

    def at(self, as_of: int) -> SparseRows:
        """Those of the last one that is not after `as_of`."""
        return self.rows[int(np.searchsorted(self.index, as_of, side="right")) - 1]


def _co_occurrence(log: Log, rows: Int, n_items: int, as_of_ms: Int) -> _Snapshots:
    """Items joined to those that share most sessions with them, by the sessions before each snapshot.

    Source: cosine item-to-item, Deshpande and Karypis, TOIS 2004.
    """
    session = log.session[rows]
    order = np.lexsort((log.time_ms[rows], session))
    rows, session = rows[order], session[order]
    from_end = np.searchsorted(session, session, side="right") - np.arange(len(session))
    rows, session = rows[from_end <= SESSION_ITEMS], session[from_end <= SESSION_ITEMS]
    index = np.unique(np.linspace(0, len(as_of_ms) - 1, SNAPSHOTS).round().astype(np.int64))
    slot = np.searchsorted(as_of_ms[index], log.time_ms[rows], side="right")
    total = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    neighbours = []
    for number in range(len(index)):
        now = slot == number
        _, owner = np.unique(session[now], return_inverse=True)
        holds = sparse.csr_matrix((np.ones(now.sum(), np.float32), (owner, log.item[rows[now]])), (now.sum(), n_items))
        holds.data[:] = 1  # an item that occurs twice in a session was added up
        total = (total + holds.T @ holds).tocsr()
        neighbours.append(_nearest(total, SESSION_NEIGHBOURS))
    return _Snapshots(index, tuple(neighbours))


def _nearest(counts: sparse.csr_matrix, most: int) -> SparseRows:
    """The `most` largest cosines of each row, both ways, normalised; `counts` has items alone on its diagonal."""
    own = np.sqrt(np.maximum(counts.diagonal(), 1))
    pairs = counts.tocoo()
    apart = pairs.row != pairs.col
    row, column = pairs.row[apart].astype(np.int64), pairs.col[apart].astype(np.int64)
    cosine = pairs.data[apart] / (own[row] * own[column])
    order = np.lexsort((column, -cosine, row))
    row, column, cosine = row[order], column[order], cosine[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    best = rank < most
    row, column, cosine = row[best], column[best], cosine[best]
    one_way = sparse.csr_matrix((cosine, (row, column)), counts.shape)
    both = one_way.maximum(one_way.T).tocoo()
    return SparseRows.of(both.row, both.col, both.data, counts.shape[0]).normalized()


def _padded(rows: SparseRows, nodes: int) -> SparseRows:
    """`rows` with further nodes that have no neighbours."""
    return SparseRows(np.pad(rows.offsets, (0, nodes + 1 - len(rows.offsets)), mode="edge"), rows.source, rows.weight)


def consumed_rows(log: Log, tasks: Sequence[Task]) -> npt.NDArray[np.bool_]:
    """Rows that count for a retrieval task or have a positive label; all rows where there are no such tasks."""
    counting = [t for t in tasks if t.kind in ("retrieval", "binary")]
    consumed = np.full(len(log), not counting)
    for task in counting:
        consumed |= log.labels[task.name] > 0 if task.label is not None else np.ones(len(log), bool)
    return consumed
