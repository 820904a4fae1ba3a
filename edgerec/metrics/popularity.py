"""Popularity of items as of any time: what an app could have known when the request came, and nothing later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from edgerec.metrics.estimate import Array
from edgerec.tasks.units import MS_PER_HOUR

__all__ = ["HALF_LIVES_H", "Popularity", "decayed_counts", "duration", "popularity_before"]

HALF_LIVES_H = (1.0, 3.0, 12.0, 24.0, 72.0, 168.0, 336.0, 720.0, 2160.0, 8760.0)
"""Hours, from one to a year: news lives for hours, films for days, groceries for seasons."""


def decayed_counts(item: Array, time_ms: Array, n_items: int, half_life_h: float) -> Array:
    """How often each item occurs, (n_items,); an event `half_life_h` before the last one counts half."""
    age_h = (time_ms.max(initial=0) - time_ms) / MS_PER_HOUR
    return np.bincount(item, 0.5 ** (age_h / half_life_h), n_items)


class Popularity:
    """Decayed counts of the events before a time; an event a half-life before the last of them counts half.

    Args:
        item, time_ms: int64 (E,), in any order.
    """

    def __init__(self, item: Array, time_ms: Array, n_items: int) -> None:
        order = np.argsort(time_ms, kind="stable")
        self.item, self.time_ms, self.n_items = item[order], time_ms[order], n_items

    def known(self, at_ms: Array) -> Array:
        """How many events come strictly before each time."""
        return np.searchsorted(self.time_ms, at_ms, side="left")

    def advance(self, counts: Array, half_life_h: float, seen: int, end: int) -> None:
        """Bring `counts` (n_items,) of the first `seen` events to those of the first `end`, in place."""
        if end > seen:
            last_ms, before_ms = int(self.time_ms[end - 1]), int(self.time_ms[seen - 1]) if seen else 0
            counts *= 0.5 ** ((last_ms - before_ms) / MS_PER_HOUR / half_life_h)
            age_h = (last_ms - self.time_ms[seen:end]) / MS_PER_HOUR
            counts += np.bincount(self.item[seen:end], 0.5 ** (age_h / half_life_h), self.n_items)


def popularity_before(events: Popularity, at_ms: Array, half_lives_h: Sequence[float]) -> Iterator[tuple[slice, Array]]:
    """Decayed counts of the events strictly before each time.

    Times with the same earlier events have the same order of items, so they share one result.
    Args:
        at_ms: int64 (R,), ascending.
    Yields:
        Places among `at_ms`, and float64 (len(half_lives_h), n_items), which the next step changes.

    >>> day = 24 * 3_600_000
    >>> events = Popularity(np.array([0, 1, 1]), np.array([0, 0, 2 * day]), 2)
    >>> for places, counts in popularity_before(events, np.array([day, 2 * day, 3 * day]), [48.0]):
    ...     print(places.start, places.stop, counts.tolist())
    0 2 [[1.0, 1.0]]
    2 3 [[0.5, 1.5]]
    """
    known, seen = events.known(at_ms), 0
    counts = np.zeros((len(half_lives_h), events.n_items))
    for start, stop in pairwise(np.flatnonzero(np.diff(known, prepend=-1, append=-1)).tolist()):
        for of, half_life_h in zip(counts, half_lives_h, strict=True):
            events.advance(of, half_life_h, seen, int(known[start]))
        seen = int(known[start])
        yield slice(start, stop), counts


def duration(hours: float) -> str:
    """In words, for a person.

    >>> duration(3), duration(24), duration(168)
    ('3 hours', '1 day', '7 days')
    """
    number, unit = (hours / 24, "day") if hours >= 24 else (hours, "hour")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
