"""What every model must beat: popularity, the user's own habit, EASE, and co-occurrence for related items.

All are closed form, numpy only, and fitted on the arrays of the training split: `user`, `item` (indices) and `time`
(int64 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from edgerec.metrics.estimate import Array
from edgerec.tasks.units import MS_PER_DAY

__all__ = [
    "HALF_LIVES_DAYS",
    "MAX_DENSE_ITEMS",
    "Baseline",
    "Ease",
    "OwnFrequency",
    "RecentPopularity",
    "co_counts",
    "related_by_sessions",
    "top_items",
    "top_k",
]

Counts: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

MAX_DENSE_ITEMS = 20_000
"""Beyond this an items x items matrix takes gigabytes, and inverting it many minutes."""

HALF_LIVES_DAYS = (3.0, 7.0, 14.0, 28.0, 56.0, 1e6)
"""Tried for recent popularity; the last one is all-time popularity."""


class Baseline(Protocol):
    """Anything that scores the whole catalog for some histories."""

    def scores(self, histories: Sequence[Array]) -> Array:
        """Higher is better.

        Args:
            histories: per request its past items (indices, repeats kept), oldest first; may be empty.
        Returns:
            float, shape (len(histories), n_items).
        """


class RecentPopularity:
    """How often an item occurs; an event `half_life_days` before the last one of the training split counts half.

    Without a half-life, each of `HALF_LIVES_DAYS` is fitted on all but the last tenth of the training split, and the
    one whose 20 most popular items make up most of that tenth is taken.
    """

    def __init__(self, item: Array, time: Array, n_items: int, half_life_days: float | None = None) -> None:
        self.half_life_days = half_life_days or _best_half_life(item, time, n_items)
        self.popularity = _decayed_counts(item, time, n_items, self.half_life_days)

    def scores(self, histories: Sequence[Array]) -> Array:
        """The same popularity for everyone."""
        return np.tile(self.popularity, (len(histories), 1))


def _decayed_counts(item: Array, time: Array, n_items: int, half_life_days: float) -> Array:
    age_days = (time.max(initial=0) - time) / MS_PER_DAY
    return np.bincount(item, 0.5 ** (age_days / half_life_days), n_items)


def _best_half_life(item: Array, time: Array, n_items: int) -> float:
    order = np.argsort(time, kind="stable")
    before, after = np.split(order, [len(order) - len(order) // 10])
    later = np.bincount(item[after], minlength=n_items)

    def caught(half_life_days: float) -> int:
        popular = top_k(_decayed_counts(item[before], time[before], n_items, half_life_days)[None], 20)[0]
        return int(later[popular].sum())

    return max(HALF_LIVES_DAYS, key=caught)


class OwnFrequency:
    """How often the user had the item; equal counts, and all other items, by popularity.

    On the validation split of Online Retail this beats breaking ties, or counting, by recency.
    """

    def __init__(self, popularity: Array) -> None:
        self._popularity = popularity / (popularity.max(initial=0) * 2 or 1)  # in [0, 0.5]: only breaks ties

    def scores(self, histories: Sequence[Array]) -> Array:
        """The user's counts + popularity in [0, 0.5]."""
        return _own_counts(histories, len(self._popularity)) + self._popularity


def _own_counts(histories: Sequence[Array], n_items: int) -> Array:
    counts = [np.bincount(history, minlength=n_items) for history in histories]
    return np.stack(counts) if counts else np.zeros((0, n_items), np.int64)


class Ease:
    """A linear item-item model in closed form, from who had what.

    An item of the history also gets its own count, since the model itself says nothing about having it again (its
    diagonal is zero). Where repeats are excluded, this changes nothing.
    Source: Steck, WWW 2019. `l2` is the ridge added to the diagonal of the Gram matrix; it and the counts were chosen
    on the validation split of Online Retail.
    Raises:
        ValueError: more than `MAX_DENSE_ITEMS` items.
    """

    def __init__(self, user: Array, item: Array, n_items: int, l2: float = 800.0) -> None:
        gram = co_counts(user, item, n_items, "EASE")
        gram[np.diag_indices(n_items)] += l2
        weights = np.linalg.inv(gram)
        weights /= -np.diag(weights)
        np.fill_diagonal(weights, 0.0)
        self._weights = weights

    def scores(self, histories: Sequence[Array]) -> Array:
        """The user's counts + the weights from the user's distinct items."""
        counts = _own_counts(histories, len(self._weights))
        return counts + (counts > 0).astype(np.float32) @ self._weights


def co_counts(group: Array, item: Array, n_items: int, what: str, size_power: float = 0.0) -> Counts:
    """In how many groups (users, sessions) two items occur together; a group of n items counts n ** -size_power."""
    if n_items > MAX_DENSE_ITEMS:
        raise ValueError(f"{what} is skipped: {n_items} items, and its dense matrix is limited to {MAX_DENSE_ITEMS}")
    pairs = np.unique(np.stack([group, item], axis=1).astype(np.int64), axis=0)
    counts = np.zeros((n_items, n_items), np.float32)
    for members in np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1):
        counts[np.ix_(members, members)] += max(len(members), 1) ** -size_power
    return counts


def related_by_sessions(session: Array, item: Array, n_items: int, k: int = 100, size_power: float = 0.75) -> Array:
    """The items most often in one session with an item, where a session of n items counts n ** -`size_power`.

    The default was chosen on the validation split of Online Retail.
    Returns:
        int64, shape (n_items, k): best first, -1 where no more items share a session.
    Raises:
        ValueError: more than `MAX_DENSE_ITEMS` items.
    """
    together = co_counts(session, item, n_items, "co-occurrence", size_power)
    np.fill_diagonal(together, 0.0)
    return top_k(np.where(together > 0, together, -np.inf), k)


def top_k(scores: Array, k: int) -> Array:
    """Indices of the `k` highest scores of each row, best first; equal scores by index; -inf becomes -1.

    >>> top_k(np.array([[0.1, 0.9, 0.9, -np.inf]]), 4).tolist()
    [[1, 2, 0, -1]]
    """
    k = min(k, scores.shape[1])
    kth = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k] if k else np.zeros((len(scores), 1))
    out = np.full((len(scores), k), -1, np.int64)
    for row, values, bound in zip(out, scores, kth[:, 0], strict=True):
        best = np.flatnonzero((values >= bound) & (values > -np.inf))
        best = best[np.argsort(-values[best], kind="stable")][:k]
        row[: len(best)] = best
    return out


def top_items(
    model: Baseline, histories: Sequence[Array], k: int, exclude: Sequence[Array] | None = None, block: int = 256
) -> Array:
    """Ranked lists of `model`, scored `block` requests at a time.

    Args:
        exclude: per request the items that may not be listed.
    Returns:
        int64, shape (n_requests, k): item indices, best first, -1 pads.
    """
    lists = []
    for start in range(0, len(histories), block):
        scores = np.array(model.scores(histories[start : start + block]), copy=True)
        for row, items in zip(scores, exclude[start : start + block] if exclude is not None else (), strict=False):
            row[items] = -np.inf
        lists.append(top_k(scores, k))
    return np.concatenate(lists) if lists else np.zeros((0, k), np.int64)
