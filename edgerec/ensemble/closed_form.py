"""Closed-form models of what users had and in which order. numpy and scipy only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from edgerec.tasks.history import Float, Int

Matrix: TypeAlias = Any
"""A scipy.sparse.csr_matrix, float32; scipy has no types. Rows are users, sessions, requests or items."""

ALS_FACTORS = 32
ALS_ROUNDS = 5
TRANSITION_LAGS = (1.0, 0.5, 0.33, 0.25, 0.2)
"""Weights of the next session, the one after it, ..."""
EVENT_LAGS = tuple((1 + lag) ** -0.7 for lag in range(12))
"""The same where each session holds one item: events reach further than baskets."""
GRAPH_POWER = 0.3
"""The graph is divided by the popularity of where a step leads, to this power, and of where it starts, to the rest."""
MOST_TRANSITIONS = 60_000_000
"""Pairs of events up to which all of these are counted."""
PAIRS_AT_ONCE = 20_000_000
"""Pairs of items whose products are in memory together."""
TRANSITION_POWER = 0.5
"""Transitions are divided by the popularity of where they lead, to this power."""


def counts(row: Int, item: Int, n_rows: int, n_items: int, weight: Float | None = None) -> Matrix:
    """Rows by items: how often, or with what total weight, a row holds an item."""
    values = np.ones(len(row), np.float32) if weight is None else weight
    return sparse.csr_matrix((values, (row, item)), shape=(n_rows, n_items), dtype=np.float32)


def ease(by_user: Matrix, l2: float = 800.0) -> Float:
    """Weights (N, N) that predict an item of a user from the user's other items.

    Source: Steck, WWW 2019. `by_user`: users by items, 1 where the user had the item. Needs N x N numbers in memory.
    """
    weights: Float = (by_user.T @ by_user).astype(np.float32).toarray(order="C")
    weights[np.diag_indices_from(weights)] += l2
    _invert(weights)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def _invert(matrix: Float) -> None:
    """Invert a symmetric positive definite matrix in place, by its Cholesky factor: no second one is in memory."""
    fortran = matrix.T  # the order of LAPACK, which would otherwise copy it
    for step in (lapack.spotrf, lapack.spotri):
        result, failed = step(fortran, lower=True, **{"overwrite_a" if step is lapack.spotrf else "overwrite_c": True})
        assert not failed and np.shares_memory(result, matrix)
    for start in range(0, len(matrix), BLOCK):  # the other triangle
        rows = slice(start, start + BLOCK)
        own = matrix[rows, rows]
        matrix[rows, rows] = np.triu(own) + np.triu(own, 1).T
        matrix[start + BLOCK :, rows] = matrix[rows, start + BLOCK :].T


BLOCK = 1024
"""Rows and columns that are worked on together."""


class Als:
    """Item factors from how often each user had each item; a user's factors are computed from a history when needed.

    Source: Hu, Koren and Volinsky, ICDM 2008: confidence ``1 + alpha log(1 + count)`` in what a user had.
    """

    def __init__(self, items: Float, alpha: float = 10.0, l2: float = 10.0) -> None:
        self.items, self.alpha, self.l2 = items, alpha, l2
        self.gram = items.T @ items + l2 * np.eye(items.shape[1], dtype=np.float32)

    @classmethod
    def fit(cls, by_user: Matrix, seed: int, factors: int = ALS_FACTORS, rounds: int = ALS_ROUNDS) -> Als:
        """`by_user`: users by items, counts."""
        rng = np.random.default_rng(seed)
        model = cls(rng.normal(0, 0.1, (by_user.shape[1], factors)).astype(np.float32))
        by_item = by_user.T.tocsr()
        for _ in range(rounds):
            users = cls(model.users(by_user))
            model = cls(users.users(by_item))
        return model

    def users(self, counted: Matrix, at_once: int = 1024) -> Float:
        """Factors (R, f) of users with the items of each row, `counted` (R, N)."""
        confidence = counted.copy()
        confidence.data = self.alpha * np.log1p(confidence.data)
        factors = np.zeros((counted.shape[0], self.items.shape[1]), np.float32)
        for start in range(0, counted.shape[0], at_once):
            rows = confidence[start : start + at_once]
            outer = rows @ self._outer
            left = self.gram + outer.reshape(-1, *self.gram.shape)
            ones = rows.copy()
            ones.data = 1 + ones.data
            right = ones @ self.items
            factors[start : start + at_once] = np.linalg.solve(left, right[:, :, None])[:, :, 0]
        return factors

    @cached_property
    def _outer(self) -> Float:
        """Outer product of each item's factors, (N, f * f)."""
        outer: Float = (self.items[:, :, None] * self.items[:, None, :]).reshape(len(self.items), -1)
        return outer

    def scores(self, counted: Matrix) -> Float:
        """Scores of every item for users with the items of each row, (R, N)."""
        scores: Float = self.users(counted) @ self.items.T
        return scores


def transitions(
    sessions: Matrix, user: Int, lags: Sequence[float] | None = None, power: float = TRANSITION_POWER
) -> Matrix:
    """How often an item follows another: items by items, from a session's items to those of the user's next sessions.

    Args:
        sessions: sessions by items, sorted by user, then time. user: int64 (sessions,).
        lags: weights of the next session, the one after it, ...; None: as the sessions are.
    """
    n, single = sessions.shape[1], bool((np.diff(sessions.indptr) == 1).all())
    if lags is None:
        most = max(MOST_TRANSITIONS // max(len(user), 1), len(TRANSITION_LAGS))
        lags = EVENT_LAGS[:most] if single else TRANSITION_LAGS
    total = sparse.csr_matrix((n, n), dtype=np.float32)
    for lag, weight in enumerate(lags, start=1):
        same = np.flatnonzero(user[lag:] == user[:-lag])
        if single:  # three times as fast as a product
            ends = sessions.indices[same], sessions.indices[same + lag]
            total = total + counts(*ends, n, n, np.full(len(same), weight, np.float32))
        else:
            total = total + weight * (sessions[same].T @ sessions[same + lag])
    popularity = np.asarray(sessions.sum(axis=0)).ravel() + 1
    return (total @ sparse.diags((popularity**-power).astype(np.float32))).tocsr()


def cosine(sessions: Matrix, most: int) -> Matrix:
    """Items by items: co-occurrence in sessions over the geometric mean of both popularities, the `most` best a row."""
    popularity = np.asarray(sessions.sum(axis=0)).ravel() + 1
    scale = (popularity**-0.5).astype(np.float32)
    return _between_items(sessions, sessions, scale, scale, most)


def graph(by_user: Matrix, most: int) -> Matrix:
    """Items by items: the users that two items share, of whom those of few items tell more; the `most` best a row.

    From an item to those that a user of it may want: a product with a history is a linear filter of the graph of users
    and items. It takes the place of EASE where there are too many items for that.

    Source: GF-CF, Shen et al., CIKM 2021, without its low-pass part; here the end of a step counts less than its start.
    Args:
        by_user: users by items, 1 where the user had the item.
    """
    users = np.maximum(np.asarray(by_user.sum(axis=1)).ravel(), 1)
    items = np.asarray(by_user.sum(axis=0)).ravel() + 1
    shared = sparse.diags((1 / users).astype(np.float32)) @ by_user
    start, end = ((items**power).astype(np.float32) for power in (GRAPH_POWER - 1, -GRAPH_POWER))
    return _between_items(by_user, shared, start, end, most)


def _between_items(one: Matrix, other: Matrix, start: Float, end: Float, most: int) -> Matrix:
    """``start * (one.T @ other) * end`` without its diagonal, the `most` best a row; `start` and `end` (N,).

    Some rows at a time: of a large catalogue the whole product takes gigabytes.
    """
    by_item, end_of = one.T.tocsr(), sparse.diags(end)
    n, at_once = by_item.shape[0], max(PAIRS_AT_ONCE // max(by_item.shape[0], 1), 1)
    parts = [sparse.csr_matrix((0, n), dtype=np.float32)]
    for first in range(0, n, at_once):
        rows = slice(first, first + at_once)
        part = (sparse.diags(start[rows]) @ (by_item[rows] @ other) @ end_of).tocsr()
        part.setdiag(0, k=first)
        parts.append(best_of_rows(part, most))
    return sparse.vstack(parts, format="csr")


def best_of_rows(matrix: Matrix, most: int) -> Matrix:
    """The `most` largest values of each row."""
    matrix = matrix.tocsr()
    ends = matrix.indptr
    keep = np.ones(len(matrix.data), bool)
    for row in np.flatnonzero(np.diff(ends) > most):  # a partition a row takes a tenth of the time of one sort of all
        data = matrix.data[ends[row] : ends[row + 1]]
        keep[ends[row] + np.argpartition(-data, most)[most:]] = False
    sizes = np.add.reduceat(np.append(keep, False), ends[:-1]) if len(keep) else np.zeros(matrix.shape[0], int)
    offsets = np.concatenate(([0], np.cumsum(np.where(np.diff(ends) > 0, sizes, 0))))
    return sparse.csr_matrix((matrix.data[keep], matrix.indices[keep], offsets), shape=matrix.shape)


def normalized(rows: Matrix) -> Matrix:
    """Each row divided by its sum."""
    total = np.asarray(rows.sum(axis=1)).ravel()
    return sparse.diags((1 / np.maximum(total, 1e-9)).astype(np.float32)) @ rows


def dense(rows: Matrix, matrix: Matrix | Float) -> Float:
    """``rows @ matrix`` as an array."""
    product = rows @ matrix
    result: Float = product.toarray() if sparse.issparse(product) else np.asarray(product)
    return result.astype(np.float32)
