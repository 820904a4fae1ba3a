"""What the closed-form members say of every item for a request, from a log as it was at one as-of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
    normalized,
    transitions,
)
from edgerec.examples.log import Log
from edgerec.examples.requests import Ragged, Requests
from edgerec.files import replacing
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_DAY

MAX_DENSE_ITEMS = 20_000
"""Beyond this an items x items matrix takes gigabytes: EASE and ALS are left out."""
NEIGHBOURS = 300
"""Items that a row of an item-to-item matrix keeps."""
RECENT_DAYS = 30.0
"""Half-life of a history item where recent ones count more."""
LAST_VISITS = 5
"""Sessions that transitions start from."""
SIGNALS = ("ease", "ease_recent", "als", "transitions", "cosine", "text")
NEAREST = ("cosine.nearest", "text.nearest")
"""What `Snapshot.nearest` tells."""


@dataclass(frozen=True)
class Snapshot:
    """Closed-form members fitted on part of a log. Members that were left out are None.

    Attributes:
        ease: float16 (N, N). transitions, cosine: sparse (N, N). text: (N, c), rows of unit length or zero.
    """

    n_items: int
    ease: npt.NDArray[np.float16] | None
    als: Als | None
    transitions: Matrix
    cosine: Matrix
    text: Float

    @classmethod
    def fit(cls, log: Log, rows: Int, n_items: int, text: Float, seed: int) -> Snapshot:
        """Fit on `rows` of `log` (ascending); `text` (N, c) are the items' text vectors."""
        rows = rows[log.item[rows] < n_items]
        user, item = log.user[rows], log.item[rows]
        evaluation = counts(user, item, int(user.max(initial=0)) + 1, n_items)
        sessions, owner = sessions_of(log, rows, n_items)
        small = n_items <= MAX_DENSE_ITEMS
        binary = evaluation.copy()
        binary.data[:] = 1
        length = np.linalg.norm(text, axis=1, keepdims=True)
        return cls(
            n_items,
            ease(binary).astype(np.float16) if small else None,  # halves the file; the fourth digit is noise
            Als.fit(evaluation, seed) if small else None,
            best_of_rows(transitions(sessions, owner), NEIGHBOURS),
            cosine(sessions, NEIGHBOURS),
            (text / np.maximum(length, 1e-9)).astype(np.float32),
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file; it is whole or not there."""
        tensors: dict[str, npt.NDArray[Any]] = {"text": self.text}
        if self.ease is not None:
            tensors["ease"] = self.ease
        if self.als is not None:
            tensors["als"] = self.als.items
        for name, matrix in (("transitions", self.transitions), ("cosine", self.cosine)):
            for part in ("data", "indices", "indptr"):
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
        return cls(n, ease_matrix, als, matrix("transitions"), matrix("cosine"), tensors["text"])

    def names(self) -> list[str]:
        """Of the signals, in their order."""
        absent = {"ease", "ease_recent"} if self.ease is None else set()
        absent |= {"als"} if self.als is None else set()
        absent |= {"text"} if not self.text.shape[1] else set()
        return [name for name in SIGNALS if name not in absent]

    @cached_property
    def _ease(self) -> Float:
        assert self.ease is not None
        return self.ease.astype(np.float32)

    def signals(self, requests: Requests, chosen: Int) -> dict[str, Float]:
        """By name of `SIGNALS` (B, N), what is not there left out; higher is better."""
        evaluation = _history(requests, chosen, self.n_items)
        found: dict[str, Float] = {}
        if self.ease is not None:
            found["ease"] = dense(evaluation.binary, self._ease)
            found["ease_recent"] = dense(evaluation.recent, self._ease)
        if self.als is not None:
            found["als"] = self.als.scores(evaluation.count)
        found["transitions"] = dense(evaluation.last, self.transitions)
        found["cosine"] = dense(normalized(evaluation.recent), self.cosine)
        if self.text.shape[1]:
            found["text"] = dense(normalized(evaluation.recent), self.text) @ self.text.T
        return found

    def nearest(self, requests: Requests, chosen: Int, item: Int) -> Float:
        """How near each candidate comes to any other item of the history, (B, P, len(NEAREST)).

        `item`: int64 (B, P). A sum over the history, as in `signals`, blurs the one item that a candidate goes with.
        """
        found = np.zeros((*item.shape, len(NEAREST)), np.float32)
        flat = Flat.of(requests, chosen)
        known = flat.item < self.n_items
        row, owned = flat.row[known], flat.item[known]
        found[:, :, 0] = np.take_along_axis(self._nearest_in_sessions(row, owned, len(chosen)), item, axis=1)
        for r, mine in enumerate(np.split(owned, np.searchsorted(row, np.arange(1, len(chosen))))):
            if len(mine) and self.text.shape[1]:
                alike = self.text[mine] @ self.text[item[r]].T
                alike[mine[:, None] == item[r]] = 0
                found[r, :, 1] = alike.max(axis=0)
        return found

    def _nearest_in_sessions(self, row: Int, evaluation: Int, n: int) -> Float:
        """The largest cosine of each item to a request's items, (n, N)."""
        lists = Ragged(self.cosine.indptr.astype(np.int64), np.arange(len(self.cosine.data))).take(evaluation)
        found = np.zeros((n, self.n_items), np.float32)
        at = lists.values
        np.maximum.at(found, (row[lists.owner()], self.cosine.indices[at]), self.cosine.data[at])
        return found


@dataclass(frozen=True)
class _Held:
    """The histories of B requests as matrices (B, N) with different weights."""

    count: Matrix
    binary: Matrix
    recent: Matrix
    last: Matrix


def _history(requests: Requests, chosen: Int, n_items: int) -> _Held:
    flat = Flat.of(requests, chosen)
    known = flat.item < n_items
    row, item = flat.row[known], flat.item[known]

    def matrix(weight: npt.NDArray[np.floating]) -> Matrix:
        return counts(row, item, len(chosen), n_items, weight[known].astype(np.float32))

    rank = visit_rank(flat.row, flat.last_ms)
    return _Held(
        matrix(flat.count),
        matrix(np.ones(len(flat.item))),
        matrix(0.5 ** (flat.age_days / RECENT_DAYS)),
        matrix(np.where(rank < LAST_VISITS, 1.0 / (1 + rank), 0)),
    )


@dataclass(frozen=True)
class Flat:
    """The history items of B requests, one after the other: S values each. `row` is the request, in [0, B)."""

    row: Int
    item: Int
    kind: Int
    count: Float
    last_ms: Int
    age_days: npt.NDArray[np.float64]
    interval_days: npt.NDArray[np.float64]

    @classmethod
    def of(cls, requests: Requests, chosen: Int) -> Flat:
        history, which = requests.histories(chosen)
        where = Ragged(history.offsets, np.arange(len(history.item))).take(which)
        row, at = where.owner(), where.values
        age = np.maximum(requests.time_ms[chosen][row] - history.last_ms[at], 0) / MS_PER_DAY
        return cls(
            row,
            history.item[at],
            history.kind[at],
            history.count[at],
            history.last_ms[at],
            age,
            history.interval_h[at].astype(np.float64) / 24.0,
        )


def visit_rank(row: Int, last_ms: Int) -> Int:
    """How many later distinct times the same request's history has after each entry; entries are oldest first."""
    if not len(row):
        return np.zeros(0, np.int64)
    new = np.ones(len(row), np.int64)
    new[1:] = (row[1:] != row[:-1]) | (last_ms[1:] != last_ms[:-1])
    number = np.cumsum(new)
    last = np.append(np.flatnonzero(np.diff(row)), len(row) - 1)
    of_row: Int = np.zeros(int(row.max()) + 1, np.int64)
    of_row[row[last]] = number[last]
    return of_row[row] - number


def sessions_of(log: Log, rows: Int, n_items: int) -> tuple[Matrix, Int]:
    """Sessions by items, by user and time, and the user of each."""
    user, session, time_ms = log.user[rows], log.session[rows], log.time_ms[rows]
    order = np.lexsort((rows, session, time_ms, user))
    new = np.ones(len(rows), np.int64)
    u, v = user[order], session[order]
    new[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    number = np.cumsum(new) - 1
    evaluation = counts(number, log.item[rows][order], int(number[-1]) + 1 if len(number) else 0, n_items)
    evaluation.data[:] = 1
    return evaluation, u[new == 1]


def pools(signals: Sequence[Float], own: Float, size: int) -> Int:
    """The `size` items of each request that come highest in any of the `signals` (B, N), history items first.

    Args:
        own: (B, N), positive for items of the history.
    Returns:
        int64 (B, min(size, N)).
    """
    n = own.shape[1]
    size = min(size, n)
    best = np.where(own > 0, -1, n).astype(np.int32)
    for signal in signals:
        order = np.argpartition(-signal, min(size, n - 1), axis=1)[:, :size]
        values = np.take_along_axis(signal, order, axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, np.argsort(-values, axis=1, kind="stable"), np.arange(size)[None], axis=1)
        np.put_along_axis(best, order, np.minimum(np.take_along_axis(best, order, 1), rank.astype(np.int32)), axis=1)
    return np.argsort(best, axis=1, kind="stable")[:, :size].astype(np.int64)
