"""Metrics of ranked lists and of related items. Lists hold item indices, best first, padded with -1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from edgerec.metrics.estimate import Array, Estimate, mean
from edgerec.metrics.results import TaskMetrics

__all__ = ["MAX_RANK", "coverage", "hits", "overlap", "ranking_metrics", "related_metrics"]

Mask: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

MAX_RANK = 100
"""Only this many items of a list are looked at; MRR is cut here."""


def _flat(groups: Sequence[Array]) -> tuple[Array, Array]:
    """Ragged groups as (group number of each entry, entries), both int64."""
    sizes = np.array([len(g) for g in groups], np.int64)
    entries = np.concatenate([np.asarray(g, np.int64) for g in groups]) if len(groups) else np.zeros(0, np.int64)
    return np.repeat(np.arange(len(groups)), sizes), entries


def _member(row: Array, item: Array, groups: Sequence[Array]) -> Mask:
    """Is `item` in `groups[row]`? `row` and `item` broadcast; a negative item is in no group."""
    group, entry = _flat(groups)
    width = max(int(entry.max(initial=0)), int(item.max(initial=0))) + 1
    return np.asarray(np.isin(row * width + item, group * width + entry) & (item >= 0))


def hits(top: Array, truth: Sequence[Array]) -> Mask:
    """Which entries of each list are true items of its request.

    Args:
        top: int, shape (n_requests, K), item indices, best first, -1 pads.
        truth: per request its true items, unique.
    Returns:
        bool, shape (n_requests, K).
    """
    return _member(np.arange(len(top))[:, None], np.asarray(top, np.int64), truth)


def _refuse_bad_lists(top: Array, n_items: int, exclude: Sequence[Array] | None) -> None:
    ordered = np.sort(top, axis=1)
    repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    unknown = (top >= n_items).any(axis=1)
    excluded = hits(top, exclude).any(axis=1) if exclude is not None else np.zeros(len(top), bool)
    for what, bad in (("repeated", repeated), ("unknown", unknown), ("excluded", excluded)):
        if bad.any():
            raise ValueError(f"request {int(np.flatnonzero(bad)[0])}: its list holds a {what} item")


def ranking_metrics(
    top: Array,
    truth: Sequence[Array],
    n_items: int,
    exclude: Sequence[Array] | None = None,
    k: Sequence[int] = (10, 20),
) -> TaskMetrics:
    """NDCG (binary gain), recall, capped recall, hit rate and MAP at every `k`, MRR and coverage of ranked lists.

    Args:
        top: int, shape (n_requests, K), item indices, best first, -1 pads; a request without a list scores 0.
        truth: per request its true items: unique, at least one.
        n_items: size of the catalog that was ranked.
        exclude: per request the items that its list may not hold.
    Returns:
        "ndcg@10", "recall@10", "capped_recall@10", "hit@10", "map@10", "coverage@10", ...; "mrr" (cut at `MAX_RANK`).
    Raises:
        ValueError: a list holds a repeated, excluded or unknown item; a request has no true item.
    """
    top = np.asarray(top, np.int64)[:, :MAX_RANK]
    if len(top) != len(truth):
        raise ValueError(f"{len(truth)} requests need as many lists, got {len(top)}")
    n_true = np.array([len(t) for t in truth], np.int64)
    if (n_true == 0).any():
        raise ValueError(f"request {int(np.flatnonzero(n_true == 0)[0])} has no true item")
    _refuse_bad_lists(top, n_items, exclude)
    hit = hits(top, truth)
    ranks = np.arange(1, hit.shape[1] + 1)
    out: TaskMetrics = {}
    for cut in k:
        n_hits = hit[:, :cut].sum(axis=1)
        gain = 1.0 / np.log2(np.arange(2, cut + 2))
        best = np.cumsum(gain)[np.minimum(cut, n_true) - 1]
        out[f"ndcg@{cut}"] = mean(hit[:, :cut] @ gain[: hit.shape[1]] / best)
        out[f"recall@{cut}"] = mean(n_hits / n_true)
        out[f"capped_recall@{cut}"] = mean(n_hits / np.minimum(cut, n_true))
        out[f"hit@{cut}"] = mean((n_hits > 0).astype(np.float64))
        out[f"map@{cut}"] = mean((hit[:, :cut] * np.cumsum(hit[:, :cut], axis=1) / ranks[:cut]).sum(axis=1) / n_true)
        out[f"coverage@{cut}"] = coverage(top, n_items, cut)
    out["mrr"] = mean((hit / ranks).max(axis=1, initial=0.0))
    return out


def coverage(top: Array, n_items: int, k: int = 10) -> Estimate:
    """Share of the catalog that is in any list's first `k`; a figure of the whole set, so without error."""
    listed = np.unique(top[:, :k])
    return Estimate(float((listed >= 0).sum() / n_items) if n_items else math.nan, len(top))


def related_metrics(baskets: Sequence[Array], top: Array, k: Sequence[int] = (10,)) -> TaskMetrics:
    """Given one item of a basket, are its other items in that item's list? Mean over queries, then over baskets.

    Args:
        baskets: item indices of each basket, unique, at least two.
        top: int, shape (n_items, K): for every item its related items, best first, -1 pads.
    Returns:
        "recall@10" (hits / others, bounded by 10 / others), "capped_recall@10" (hits / min(10, others)), "hit@10".
    Raises:
        ValueError: a list holds its own item or repeats one; a basket has fewer than two items.
    """
    top = np.asarray(top, np.int64)
    own = (top == np.arange(len(top))[:, None]).any(axis=1)
    if own.any():
        raise ValueError(f"item {int(np.flatnonzero(own)[0])}: its list holds the item itself")
    _refuse_bad_lists(top, len(top), None)
    basket, query = _flat(baskets)
    others = np.bincount(basket, minlength=len(baskets)) - 1
    if (others < 1).any():
        raise ValueError(f"basket {int(np.flatnonzero(others < 1)[0])} has fewer than two items")
    hit = _member(basket[:, None], top[query], baskets)
    out: TaskMetrics = {}
    for cut in k:
        n_hits = hit[:, :cut].sum(axis=1)
        mean_hits = np.bincount(basket, n_hits, len(baskets)) / (others + 1)
        out[f"recall@{cut}"] = mean(mean_hits / others)
        out[f"capped_recall@{cut}"] = mean(mean_hits / np.minimum(cut, others))
        out[f"hit@{cut}"] = mean(np.bincount(basket, n_hits > 0, len(baskets)) / (others + 1))
    return out


def overlap(top: Array, other: Array, k: int = 10) -> Estimate:
    """Share of the first `k` that two models have in common, in any order; two empty lists agree."""
    a, b = np.asarray(top, np.int64)[:, :k], np.asarray(other, np.int64)[:, :k]
    common = hits(a, [row[row >= 0] for row in b]).sum(axis=1)
    longest = np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    return mean(np.where(longest > 0, common / np.maximum(longest, 1), 1.0))
