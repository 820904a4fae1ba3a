"""Beyond accuracy: how novel, how diverse and how fair to rare items ranked lists are.

Sources: novelty as self-information, Vargas and Castells, RecSys 2011; popularity lift, Abdollahpouri et al., 2019;
debiased recall by inverse propensities, Yang et al., RecSys 2018 (propensity: the item's frequency to the power .5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgerec.metrics.estimate import Array, Estimate, Floats, mean
from edgerec.metrics.ranked_lists import Mask, hits
from edgerec.metrics.results import TaskMetrics

__all__ = ["ItemUsage", "beyond_accuracy_metrics", "most_frequent_items"]

PROPENSITY: Final = 0.5
CHUNK: Final = 1_000_000
"""Pairs of items that are compared at once."""


class ItemUsage:
    """Who consumed which items in the training split, and how often.

    Args:
        user, item: of the rows of the training log. n_items: size of the catalog.
    """

    def __init__(self, user: Array, item: Array, n_items: int) -> None:
        from scipy.sparse import csr_matrix

        self.n_items = n_items
        self.count = np.bincount(item, minlength=n_items)[:n_items].astype(np.float64)
        # One more for each: an item that nobody consumed is surprising, not infinitely so.
        self.surprise = -np.log2((self.count + 1) / (self.count.sum() + n_items))
        self.head = most_frequent_items(self.count)
        pairs = np.unique(np.stack([item, user]), axis=1)
        consumed = csr_matrix((np.ones(pairs.shape[1], np.float32), pairs), (n_items, int(user.max(initial=-1)) + 1))
        length = np.sqrt(np.asarray(consumed.sum(axis=1)).ravel())
        self._users = consumed.multiply(1 / np.maximum(length, 1)[:, None]).tocsr()

    def similarity(self, a: Array, b: Array) -> Floats:
        """Cosine similarity of the users of pairs of items, (n,) each: 1 for the same users, 0 for none in common."""
        parts = [
            np.asarray(self._users[a[at : at + CHUNK]].multiply(self._users[b[at : at + CHUNK]]).sum(axis=1)).ravel()
            for at in range(0, len(a), CHUNK)
        ]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def most_frequent_items(count: Array) -> Mask:
    """The most frequent items that make up half of all rows, (n_items,)."""
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    head = np.zeros(len(count), bool)
    head[order[before < count.sum() / 2]] = True
    return head


def beyond_accuracy_metrics(
    top: Array, truth: Sequence[Array], pasts: Sequence[Array], usage: ItemUsage, k: int = 10
) -> TaskMetrics:
    """Metrics of the first `k` items of each list.

    Args:
        top: int, shape (n_requests, K), item indices, best first, -1 pads. truth: per request its true items.
        pasts: per request the items that its user consumed before.
    Returns:
        "novelty" (bits: how rare a listed item is), "diversity" (1 - the mean similarity of two items of a list),
        "popularity_lift" (mean frequency of listed items over that of the user's past, - 1), "tail_recall" (recall of
        true items outside the head), "debiased_recall" (true items weighted by how rare they are), "gini" (0: every
        item is listed equally often, 1: only one item is listed).
    """
    top = np.asarray(top, np.int64)[:, :k]
    listed = top >= 0
    some: Array = np.asarray(listed.any(axis=1))
    hit = hits(top, truth)
    row, item = np.nonzero(listed)[0], top[listed]
    n = np.maximum(listed.sum(axis=1), 1)
    metrics = {
        "novelty": mean((np.bincount(row, usage.surprise[item], len(top)) / n)[some]),
        "diversity": _diversity(top, usage),
        "popularity_lift": _lift(np.bincount(row, usage.count[item], len(top)) / n, pasts, usage, some),
    }
    weights = {"tail_recall": (~usage.head).astype(np.float64)}
    weights["debiased_recall"] = np.maximum(usage.count, 1) ** -PROPENSITY
    sizes = np.array([len(t) for t in truth], np.int64)
    request = np.repeat(np.arange(len(truth)), sizes)
    true_item = np.concatenate([np.asarray(t, np.int64) for t in truth]) if len(truth) else np.zeros(0, np.int64)
    for name, weight in weights.items():
        got = np.where(hit, weight[np.maximum(top, 0)], 0.0).sum(axis=1)
        metrics[name] = _ratio(got, np.bincount(request, weight[true_item], len(top)).astype(np.float64))
    metrics["gini"] = Estimate(_gini(np.bincount(item, minlength=usage.n_items)), len(top))
    return metrics


def _diversity(top: Array, usage: ItemUsage) -> Estimate:
    a, b = np.triu_indices(top.shape[1], 1)
    left, right = top[:, a], top[:, b]
    both = (left >= 0) & (right >= 0)
    # Many users have the same pairs in their lists.
    keys, inverse = np.unique(left[both] * usage.n_items + right[both], return_inverse=True)
    alike = usage.similarity(keys // usage.n_items, keys % usage.n_items)[inverse]
    request = np.nonzero(both)[0]
    pairs = np.bincount(request, minlength=len(top))
    some = pairs > 0
    return mean(1 - np.bincount(request, alike, len(top))[some] / pairs[some])


def _lift(listed: Floats, pasts: Sequence[Array], usage: ItemUsage, some: Array) -> Estimate:
    own = np.array([usage.count[p].mean() if len(p) else 0.0 for p in pasts], np.float64)
    known = some & (own > 0)
    return mean(listed[known] / own[known] - 1)


def _ratio(got: Floats, whole: Floats) -> Estimate:
    """Sum over sum, over the requests that have any; its error to first order."""
    some = whole > 0
    got, whole, n = got[some], whole[some], int(some.sum())
    if not n:
        return Estimate(math.nan, 0)
    value = float(got.sum() / whole.sum())
    return Estimate(value, n, (got - value * whole) / whole.sum() * math.sqrt(n / (n - 1)) if n > 1 else None)


def _gini(counts: Array) -> float:
    ordered = np.sort(counts).astype(np.float64)
    n, whole = len(ordered), float(ordered.sum())
    if not whole:
        return math.nan
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * whole))
