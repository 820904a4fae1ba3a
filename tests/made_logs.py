"""Logs that tests make of users' items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgerec.examples.log import Log

DAY_MS = 86_400_000


def log_of(users: Sequence[Sequence[int]]) -> Log:
    """A log in which each user has one item a day, in sessions of their own."""
    sizes = np.array([len(items) for items in users])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n = int(offsets[-1])
    user = np.repeat(np.arange(len(users)), sizes)
    return Log(
        offsets=offsets,
        row=np.arange(n),
        user=user,
        item=np.array([item for items in users for item in items], np.int64),
        time_ms=(np.arange(n) - offsets[user]) * DAY_MS,
        kind=np.zeros(n, np.int64),
        session=np.arange(n),
        labels={},
        categorical=np.zeros((n, 0), np.int64),
        numeric=np.zeros((n, 0)),
    )


def walks(users: int, items: int, events: int, seed: int = 0) -> list[list[int]]:
    """Users who step from each item to the one that always follows it: order tells all, and popularity nothing."""
    follows = np.random.default_rng(seed).permutation(items)
    cycle = [int(i) for i in follows]  # item `cycle[p]` is followed by `cycle[p + 1]`
    starts = np.random.default_rng(seed + 1).integers(items, size=users)
    return [[cycle[(int(start) + step) % items] for step in range(events)] for start in starts]
