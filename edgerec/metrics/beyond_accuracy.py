"""What accuracy does not tell of ranked lists: how new, how varied, how fair to the tail, how spread they are.

Sources: novelty as self-information, Vargas and Castells, RecSys 2011; popularity lift, Abdollahpouri et al., 2019;
debiased recall by inverse propensities, Yang et al., RecSys 2018 (propensity: the item's frequency to the power .5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgerec.metrics.accuracy import Estimate, hits, mean

__all__ = ["ItemUsage", "beyond", "head_of"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

PROPENSITY: Final = 0.5
CHUNK: Final = 1_000_000
"""Pairs of items that are compared at once."""


class ItemUsage:
    """What is known of the items before the evaluation split: who had which, and how often.

    Args:
        user, item: of the training log's rows. n_items: of the catalogue.
    """

    def __init__(self, user: Array, item: Array, n_items: int) -> None:
        from scipy.sparse import csr_matrix

        self.n_items = n_items
        self.count = np.bincount(item, minlength=n_items)[:n_items].astype(np.float64)
        # One more for each, so that an item that nobody had is surprising, not infinitely so.
        self.surprise = -np.log2((self.count + 1) / (self.count.sum() + n_items))
        self.head = head_of(self.count)
        pairs = np.unique(np.stack([item, user]), axis=1)
        had = csr_matrix((np.ones(pairs.shape[1], np.float32), pairs), (n_items, int(user.max(initial=-1)) + 1))
        length = np.sqrt(np.asarray(had.sum(axis=1)).ravel())
        self._had = had.multiply(1 / np.maximum(length, 1)[:, None]).tocsr()

    def likeness(self, a: Array, b: Array) -> Floats:
        """Cosine of the users of pairs of items, (n,) each: 1 for the same users, 0 for none in common."""
        parts = [
            np.asarray(self._had[a[at : at + CHUNK]].multiply(self._had[b[at : at + CHUNK]]).sum(axis=1)).ravel()
            for at in range(0, len(a), CHUNK)
        ]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def head_of(count: Array) -> npt.NDArray[np.bool_]:
    """The most frequent items that make up half of all rows, (n_items,)."""
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    head = np.zeros(len(count), bool)
    head[order[before < count.sum() / 2]] = True
    return head


def beyond(
    top: Array, truth: Sequence[Array], pasts: Sequence[Array], catalogue: ItemUsage, k: int = 10
) -> dict[str, Estimate]:
    """Figures of the first `k` of each list.

    Args:
        top: int, shape (n_cases, K), item indices, best first, -1 pads. truth: per case its true items.
        pasts: per case the items that its user had.
    Returns:
        "novelty" (bits: how rare a listed item is), "diversity" (1 less the mean likeness of two items of a list),
        "popularity_lift" (mean frequency of listed items over that of the user's past, less 1), "tail_recall" (of true
        items outside the head), "debiased_recall" (true items counted by how rare they are), "gini" (0: every item is
        listed equally often, 1: one item alone).
    """
    top = np.asarray(top, np.int64)[:, :k]
    listed = top >= 0
    some: Array = np.asarray(listed.any(axis=1))
    hit = hits(top, truth)
    row, item = np.nonzero(listed)[0], top[listed]
    n = np.maximum(listed.sum(axis=1), 1)
    found = {
        "novelty": mean((np.bincount(row, catalogue.surprise[item], len(top)) / n)[some]),
        "diversity": _diversity(top, catalogue),
        "popularity_lift": _lift(np.bincount(row, catalogue.count[item], len(top)) / n, pasts, catalogue, some),
    }
    weights = {"tail_recall": (~catalogue.head).astype(np.float64)}
    weights["debiased_recall"] = np.maximum(catalogue.count, 1) ** -PROPENSITY
    sizes = np.array([len(t) for t in truth], np.int64)
    case = np.repeat(np.arange(len(truth)), sizes)
    true_item = np.concatenate([np.asarray(t, np.int64) for t in truth]) if len(truth) else np.zeros(0, np.int64)
    for name, weight in weights.items():
        got = np.where(hit, weight[np.maximum(top, 0)], 0.0).sum(axis=1)
        found[name] = _ratio(got, np.bincount(case, weight[true_item], len(top)).astype(np.float64))
    found["gini"] = Estimate(_gini(np.bincount(item, minlength=catalogue.n_items)), len(top))
    return found


def _diversity(top: Array, catalogue: ItemUsage) -> Estimate:
    a, b = np.triu_indices(top.shape[1], 1)
    left, right = top[:, a], top[:, b]
    both = (left >= 0) & (right >= 0)
    # Many users have the same pairs in their lists.
    keys, inverse = np.unique(left[both] * catalogue.n_items + right[both], return_inverse=True)
    alike = catalogue.likeness(keys // catalogue.n_items, keys % catalogue.n_items)[inverse]
    case = np.nonzero(both)[0]
    pairs = np.bincount(case, minlength=len(top))
    some = pairs > 0
    return mean(1 - np.bincount(case, alike, len(top))[some] / pairs[some])


def _lift(listed: Floats, pasts: Sequence[Array], catalogue: ItemUsage, some: Array) -> Estimate:
    own = np.array([catalogue.count[p].mean() if len(p) else 0.0 for p in pasts], np.float64)
    known = some & (own > 0)
    return mean(listed[known] / own[known] - 1)


def _ratio(got: Floats, whole: Floats) -> Estimate:
    """Sum over sum, over the cases that have any; its error to first order."""
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
