"""Counts of what shares a session or a user, and the best of some scores."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from edgerec.metrics.estimate import Array

__all__ = ["MAX_DENSE_ITEMS", "co_counts", "related_by_sessions", "top_k"]

Counts: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

MAX_DENSE_ITEMS = 20_000
"""Beyond this an items x items matrix takes gigabytes, and inverting it many minutes."""


def co_counts(group: Array, item: Array, n_items: int, what: str, size_power: float = 0.0) -> Counts:
    """In how many groups (users, sessions) two items occur together; a group of n items counts n ** -size_power."""
    if n_items > MAX_DENSE_ITEMS:
        raise ValueError(f"{what} is skipped: {n_items} items, and its dense matrix is limited to {MAX_DENSE_ITEMS}")
    from scipy import sparse  # here alone: judging answers needs numpy only

    groups, number = np.unique(group, return_inverse=True)
    had = sparse.csr_matrix((np.ones(len(item), np.float32), (number, item)), shape=(len(groups), n_items))
    had.data[:] = 1  # however often
    sizes = np.diff(had.indptr)
    weighted = had.copy()
    weighted.data[:] = np.repeat(sizes, sizes) ** -float(size_power)
    together: Counts = (had.T @ weighted).toarray()
    return together


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
