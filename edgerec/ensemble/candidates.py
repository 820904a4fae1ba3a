"""The candidates of a request and their features: closed-form scores, the user's own past and item statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.histories import FlatHistories, session_rank
from edgerec.ensemble.parts import part_columns
from edgerec.ensemble.signals import NEAREST, Snapshot, best_first, pools
from edgerec.examples.requests import Requests
from edgerec.examples.statistics import ItemStatistics
from edgerec.models.inputs import ItemFeatures
from edgerec.tasks.history import Float, Int
from edgerec.threads import each_ahead

Scalar = TypeVar("Scalar", np.float32, np.int32)
AT_ONCE = 64
"""Requests whose whole catalogue is scored together."""
MOST_SCORES = 2_000_000
"""Scores of a signal that are in memory together: fewer requests of a very large catalogue."""
OWN = ("count", "age_days", "interval_days", "overdue", "share_of_visits", "visits_ago", "kind")
"""Features of history items; other candidates have none of them. LightGBM's files hold these names."""


@dataclass(frozen=True)
class Pool:
    """The candidates of B requests, one request after the other: S in all.

    Attributes:
        sizes: int64 (B,), candidates of each request.
        item: int64 (S,). features: float32 (S, F).
    """

    sizes: Int
    item: Int
    features: Float

    def owner(self) -> Int:
        """The request of each candidate, in [0, B)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


@dataclass(frozen=True)
class _CatalogFacts:
    """What is known of every item for B requests.

    Attributes:
        signals: (B, N) each. own: (H, len(OWN)), of all history items. place: int32 (B, N), of an item in `own`; -1
            where the history does not hold it.
    """

    snapshot: Snapshot
    requests: Requests
    chosen: Int
    signals: dict[str, Float]
    own: Float
    place: npt.NDArray[np.int32]


class Candidates:
    """Makes candidates and their features."""

    def __init__(self, statistics: ItemStatistics, features: ItemFeatures, n_items: int) -> None:
        self.statistics, self.n_items = statistics, n_items
        self.numeric = np.concatenate([features.numeric.numpy(), part_columns(features)], axis=1, dtype=np.float32)
        self.popularity = [i for i, n in enumerate(statistics.names) if n.startswith("popularity")]
        self.adoption = [i for i, n in enumerate(statistics.names) if n.startswith("adoption")]

    def names(self, snapshot: Snapshot, requests: Requests) -> list[str]:
        """Names of the features."""
        return [
            *(f"own.{name}" for name in OWN),
            *snapshot.names(),
            *(f"{name}.rank" for name in snapshot.names()),
            *NEAREST,
            *self.statistics.names,
            *(f"trend.{self.statistics.names[i]}" for i in self.popularity[:-1]),
            *(f"item.{i}" for i in range(self.numeric.shape[1])),
            *(f"user.{i}" for i in range(requests.numeric(np.zeros(0, np.int64)).shape[1])),
            *(f"context.{i}" for i in range(requests.categorical.shape[1])),
        ]

    def of(self, snapshot: Snapshot, requests: Requests, chosen: Int, size: int) -> Iterator[tuple[Int, Pool]]:
        """The history and the `size` best other items of the requests `chosen`, in parts of about `AT_ONCE`.

        Yields:
            Places in `chosen`, by length of the history so that a part needs little room, and their pools.
        """
        order, at_once = np.argsort(requests.lengths(chosen), kind="stable"), max(MOST_SCORES // self.n_items, 1)
        parts = np.array_split(order, max(-(-len(order) // min(at_once, AT_ONCE)), 1)) if len(order) else []
        pools_of = each_ahead(lambda places: self._pool(snapshot, requests, chosen[places], size), parts)
        yield from zip(parts, pools_of, strict=True)

    def _pool(self, snapshot: Snapshot, requests: Requests, chosen: Int, size: int) -> Pool:
        own, place = self._own(requests, chosen)
        facts = _CatalogFacts(snapshot, requests, chosen, snapshot.signals(requests, chosen), own, place)
        as_of = requests.as_of[chosen]
        had = place >= 0
        n_own = had.sum(axis=1)
        most = size + int(n_own.max())
        orders = [best_first(signal, most) for signal in facts.signals.values()]
        times, which = np.unique(as_of, return_inverse=True)
        for i in (*self.popularity[1:6], *self.adoption[:2]):  # alike for all requests of one as-of time
            orders.append(best_first(self.statistics.values[times, :, i], most)[which])
        item = pools(orders, had)
        # A request with a short history has no more candidates because another one of its part has a long history.
        inside = np.arange(item.shape[1]) < (size + n_own)[:, None]
        return Pool(inside.sum(axis=1), item[inside], self._features(facts, item, inside)[inside])

    def _features(self, facts: _CatalogFacts, item: Int, inside: npt.NDArray[np.bool_]) -> Float:
        """(B, P, F) of the candidates `item` (B, P); ranks are among those that are `inside` a request's pool."""

        def at(values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
            return np.take_along_axis(values, item, axis=1)

        requests, chosen = facts.requests, facts.chosen
        shape, numbers = item.shape, requests.numeric(chosen)
        statistics = self.statistics.values[requests.as_of[chosen][:, None], item]
        columns = [
            facts.own[at(facts.place)],
            np.stack([at(s) for s in facts.signals.values()], 2),
            np.stack([_rank(np.where(inside, at(s), -np.inf)) for s in facts.signals.values()], 2),
            facts.snapshot.nearest(requests, chosen, item),
            statistics,
            statistics[:, :, self.popularity[:-1]] - statistics[:, :, self.popularity[1:]],  # trends
            self.numeric[item],
            np.broadcast_to(numbers[:, None], (*shape, numbers.shape[1])),
            np.broadcast_to(requests.categorical[chosen][:, None], (*shape, requests.categorical.shape[1])),
        ]
        return np.concatenate(columns, axis=2, dtype=np.float32)

    def _own(self, requests: Requests, chosen: Int) -> tuple[Float, npt.NDArray[np.int32]]:
        """See `_CatalogFacts`; the last row of `own` is that of items which a history does not hold."""
        flat = FlatHistories.of(requests, chosen)
        rank = session_rank(flat.row, flat.last_ms)
        sessions = np.ones(len(chosen))
        np.maximum.at(sessions, flat.row, rank + 1.0)
        values = np.stack(
            [
                flat.count,
                flat.age_days,
                np.where(flat.count > 1, flat.interval_days, np.nan),
                np.where(flat.count > 1, flat.age_days / np.maximum(flat.interval_days, 0.5), np.nan),
                flat.count / sessions[flat.row],
                rank,
                flat.kind,
            ],
            axis=1,
        )
        none = [0.0, *[np.nan] * (len(OWN) - 1)]
        known = np.flatnonzero(flat.item < self.n_items)
        place = np.full((len(chosen), self.n_items), -1, np.int32)
        place[flat.row[known], flat.item[known]] = known
        return np.concatenate([values, [none]]).astype(np.float32), place


def _rank(values: Float) -> Float:
    """Place of each candidate among those of its request, log scaled."""
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty(order.shape, np.float32)
    np.put_along_axis(rank, order, np.log1p(np.arange(values.shape[1], dtype=np.float32))[None], axis=1)
    return rank
