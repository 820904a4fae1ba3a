"""Closed-form members fitted on part of a log, and their scores of every item for a request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse

from edgerec.ensemble.closed_form import (
    Als,
    Matrix,
    best_of_rows,
    cosine,
    counts,
    dense,
    ease,
    graph,
    normalized,
    transitions,
)
from edgerec.ensemble.histories import FlatHistories, HistoryMatrices
from edgerec.examples.log import Log
from edgerec.examples.requests import Ragged, Requests
from edgerec.files import replacing
from edgerec.tasks.history import Float, Int

MAX_DENSE_ITEMS = 20_000
"""Beyond this an items x items matrix takes gigabytes: EASE and ALS are left out, and a sparse graph is fitted."""
MOST_GRAPH_PAIRS = 100_000_000
"""Pairs of items of one user, of all users, that a graph is fitted on: of users with many items, the latest ones."""
NEIGHBOURS = 300
"""Items that a row of an item-to-item matrix keeps."""
MOST_PAIRS = 500_000_000
"""The same of cosines, in a log whose sessions hold one item each."""
SIGNALS = ("ease", "ease_recent", "als", "graph", "transitions", "cosine", "text")
NEAREST = ("cosine.nearest", "text.nearest")
"""Columns of `Snapshot.nearest`."""


@dataclass(frozen=True)
class Snapshot:
    """Closed-form members fitted on part of a log; EASE and ALS may be None, as where there are too many items.

    There a sparse graph (N, N) may take the place of EASE, see `edgerec.ensemble.closed_form.graph`.

    Attributes:
        ease: float16 (N, N). transitions: sparse (N, N). text: (N, c), rows of unit length or zero.
        cosine: sparse (N, N), by the sessions that items share; where each session holds one item, by the users.
    """

    n_items: int
    ease: npt.NDArray[np.float16] | None
    als: Als | None
    transitions: Matrix
    cosine: Matrix
    text: Float
    graph: Matrix | None = None

    @classmethod
    def fit(
        cls, log: Log, rows: Int, n_items: int, text: Float, seed: int, members: Collection[str] = ("ease", "als")
    ) -> Snapshot:
        """Fit on `rows` of `log` (ascending); `text` (N, c) are the items' text vectors.

        `members`: EASE, ALS, the graph and, for the re-ranker, cosines by users, which take most of the time, are
        fitted if they are named here.
        """
        rows = rows[log.item[rows] < n_items]
        user, item = log.user[rows], log.item[rows]
        by_user = counts(user, item, int(user.max(initial=0)) + 1, n_items)
        sessions, owner = sessions_of(log, rows, n_items)
        dense_members = set(members) if n_items <= MAX_DENSE_ITEMS else set()
        binary = by_user.copy()
        binary.data[:] = 1
        length = np.linalg.norm(text, axis=1, keepdims=True)
        alone = "reranker" in members and sessions.nnz == sessions.shape[0]
        return cls(
            n_items,
            ease(binary).astype(np.float16)
            if "ease" in dense_members
            else None,  # halves the file; the fourth digit is noise
            Als.fit(by_user, seed) if "als" in dense_members else None,
            best_of_rows(transitions(sessions, owner), NEIGHBOURS),
            cosine(_latest(binary, user, item, MOST_PAIRS) if alone else sessions, NEIGHBOURS),
            (text / np.maximum(length, 1e-9)).astype(np.float32),
            graph(_latest(binary, user, item, MOST_GRAPH_PAIRS), NEIGHBOURS)
            if "graph" in members and n_items > MAX_DENSE_ITEMS
            else None,
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file; it is whole or not there."""
        tensors: dict[str, npt.NDArray[np.generic]] = {"text": self.text}
        if self.ease is not None:
            tensors["ease"] = self.ease
        if self.als is not None:
            tensors["als"] = self.als.items
        matrices = {"transitions": self.transitions, "cosine": self.cosine, "graph": self.graph}
        for name, matrix in matrices.items():
            for part in ("data", "indices", "indptr") if matrix is not None else ():
                tensors[f"{name}.{part}"] = getattr(matrix, part)
        with replacing(path) as new:
            save_file(tensors, new)

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """What `save` wrote."""
        tensors = load_file(path)
        n = len(tensors["text"])

        def matrix(name: str) -> Matrix:
            parts = tuple(tensors[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
            return sparse.csr_matrix(parts, shape=(n, n))

        als = Als(tensors["als"]) if "als" in tensors else None
        ease_matrix = tensors.get("ease")
        of_graph = matrix("graph") if "graph.data" in tensors else None
        return cls(n, ease_matrix, als, matrix("transitions"), matrix("cosine"), tensors["text"], of_graph)

    def names(self) -> list[str]:
        """Names of the signals that there are, in their order."""
        absent = {"ease", "ease_recent"} if self.ease is None else set()
        absent |= {"als"} if self.als is None else set()
        absent |= {"graph"} if self.graph is None else set()
        absent |= {"text"} if not self.text.shape[1] else set()
        return [name for name in SIGNALS if name not in absent]

    @cached_property
    def _ease(self) -> Float:
        assert self.ease is not None
        return self.ease.astype(np.float32)

    def signals(self, requests: Requests, chosen: Int) -> dict[str, Float]:
        """Scores of every item by each of `names`, (B, N); higher is better."""
        histories = HistoryMatrices.of(requests, chosen, self.n_items)
        signals: dict[str, Float] = {}
        if self.ease is not None:
            signals["ease"] = dense(histories.binary, self._ease)
            signals["ease_recent"] = dense(histories.recent, self._ease)
        if self.als is not None:
            signals["als"] = self.als.scores(histories.count)
        if self.graph is not None:
            signals["graph"] = dense(histories.binary, self.graph)
        signals["transitions"] = dense(histories.last, self.transitions)
        signals["cosine"] = dense(normalized(histories.recent), self.cosine)
        if self.text.shape[1]:
            signals["text"] = dense(normalized(histories.recent), self.text) @ self.text.T
        return signals

    def nearest(self, requests: Requests, chosen: Int, item: Int) -> Float:
        """Largest similarity of each candidate to another item of the history, (B, P, len(NEAREST)).

        `item`: int64 (B, P). A sum over the history, as in `signals`, blurs the one item that a candidate goes with.
        """
        nearest = np.zeros((*item.shape, len(NEAREST)), np.float32)
        flat = FlatHistories.of(requests, chosen)
        known = flat.item < self.n_items
        row, owned = flat.row[known], flat.item[known]
        nearest[:, :, 0] = np.take_along_axis(self._nearest_in_sessions(row, owned, len(chosen)), item, axis=1)
        place = np.full(self.n_items, -1)
        for r, mine in enumerate(np.split(owned, np.searchsorted(row, np.arange(1, len(chosen))))):
            if len(mine) and self.text.shape[1]:
                similarity = self.text[mine] @ self.text[item[r]].T
                place[item[r]] = np.arange(item.shape[1])
                itself = place[mine]
                similarity[np.flatnonzero(itself >= 0), itself[itself >= 0]] = 0
                nearest[r, :, 1] = similarity.max(axis=0)
                place[item[r]] = -1
        return nearest

    def _nearest_in_sessions(self, row: Int, owned: Int, n: int) -> Float:
        """The largest cosine of each item to the items `owned` by a request, (n, N)."""
        lists = Ragged(self.cosine.indptr.astype(np.int64), np.arange(len(self.cosine.data))).take(owned)
        nearest, at = np.zeros(n * self.n_items, np.float32), lists.values
        # One flat index: three times as fast as two.
        np.maximum.at(nearest, row[lists.owner()] * self.n_items + self.cosine.indices[at], self.cosine.data[at])
        return nearest.reshape(n, self.n_items)


def _latest(binary: Matrix, user: Int, item: Int, most: int) -> Matrix:
    """`binary`, users by items; of each user so many of the latest of the rows that at most `most` pairs share a user.

    Whatever part of a log a snapshot is fitted on, it has the same members, and the scores of one are comparable.
    """
    if _pairs(np.diff(binary.indptr)) <= most:
        return binary
    sizes = np.bincount(user, minlength=binary.shape[0])
    least, over = 1, int(sizes.max(initial=1)) + 1
    while over - least > 1:
        middle = (least + over) // 2
        least, over = (middle, over) if _pairs(np.minimum(sizes, middle)) <= most else (least, middle)
    kept = np.cumsum(sizes)[user] - np.arange(len(user)) <= least  # rows are ordered by user, then time
    few = counts(user[kept], item[kept], *binary.shape)
    few.data[:] = 1
    return few


def _pairs(sizes: Int) -> int:
    """Pairs of items that share one of the rows of these sizes."""
    return int(np.square(sizes.astype(np.int64)).sum())


def sessions_of(log: Log, rows: Int, n_items: int) -> tuple[Matrix, Int]:
    """Sessions by items, sorted by user, then time, and the user of each session."""
    user, session, time_ms = log.user[rows], log.session[rows], log.time_ms[rows]
    order = np.lexsort((rows, session, time_ms, user))
    new = np.ones(len(rows), np.int64)
    u, v = user[order], session[order]
    new[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    number = np.cumsum(new) - 1
    sessions = counts(number, log.item[rows][order], int(number[-1]) + 1 if len(number) else 0, n_items)
    sessions.data[:] = 1
    return sessions, u[new == 1]


def pools(orders: Sequence[Int], own: npt.NDArray[np.bool_]) -> Int:
    """The S items of each request that come highest in any of the `orders`, history items first.

    Args:
        orders: int64 (B, S) each, see `best_first`. own: bool (B, N), items of the history.
    Returns:
        int64 (B, S).
    """
    n, size = own.shape[1], orders[0].shape[1]
    best, place = np.where(own, -1, n).astype(np.int32), np.arange(size, dtype=np.int32)
    for order in orders:
        np.put_along_axis(best, order, np.minimum(np.take_along_axis(best, order, 1), place), axis=1)
    return np.argsort(best, axis=1, kind="stable")[:, :size].astype(np.int64)


def best_first(scores: Float, size: int) -> Int:
    """The `size` items with the highest `scores` (B, N), or all N, best first: int64 (B, min(size, N))."""
    n = scores.shape[1]
    some = np.argpartition(-scores, min(size, n - 1), axis=1)[:, :size]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)
