"""The histories of some requests: one after the other, and as matrices of requests by items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.closed_form import Matrix, counts
from edgerec.examples.requests import Ragged, Requests
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_DAY

RECENT_DAYS = 30.0
"""Half-life of a history item where recent ones count more."""
LAST_SESSIONS = 5
"""Sessions that transitions start from."""


@dataclass(frozen=True)
class FlatHistories:
    """The history items of B requests, one after the other: S values each. `row` is the request, in [0, B)."""

    row: Int
    item: Int
    kind: Int
    count: Float
    last_ms: Int
    age_days: npt.NDArray[np.float64]
    interval_days: npt.NDArray[np.float64]

    @classmethod
    def of(cls, requests: Requests, chosen: Int) -> FlatHistories:
        """The histories of the requests `chosen`."""
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


@dataclass(frozen=True)
class HistoryMatrices:
    """The histories of B requests as matrices (B, N) with different weights.

    Attributes:
        count: how often. binary: 1. recent: fades with age. last: the latest sessions only, fading with their rank.
    """

    count: Matrix
    binary: Matrix
    recent: Matrix
    last: Matrix

    @classmethod
    def of(cls, requests: Requests, chosen: Int, n_items: int) -> HistoryMatrices:
        """The histories of the requests `chosen`."""
        flat = FlatHistories.of(requests, chosen)
        known = flat.item < n_items
        row, item = flat.row[known], flat.item[known]

        def matrix(weight: npt.NDArray[np.floating]) -> Matrix:
            return counts(row, item, len(chosen), n_items, weight[known].astype(np.float32))

        rank = session_rank(flat.row, flat.last_ms)
        return cls(
            matrix(flat.count),
            matrix(np.ones(len(flat.item))),
            matrix(0.5 ** (flat.age_days / RECENT_DAYS)),
            matrix(np.where(rank < LAST_SESSIONS, 1.0 / (1 + rank), 0)),
        )


def session_rank(row: Int, last_ms: Int) -> Int:
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
