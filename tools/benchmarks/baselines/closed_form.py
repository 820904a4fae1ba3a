"""Ranking baselines that are solved, counted or alternated, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from edgerec.ensemble.closed_form import Als, best_of_rows, transitions
from edgerec.evaluation.baselines.interactions import Floats, Int, Interactions, Matrix, Ranker

HALF_LIVES_DAYS = (7.0, 14.0, 28.0, 56.0, 1e6)
OWN = (0.0, 0.3, 1.0)
"""Weights of the user's own counts, since an item-to-item model says little about having an item again."""
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class ClosedForm:
    """A baseline, and the settings that valid chooses from, for each task on its own.

    `prepare` does what all settings share; `score` makes a ranker of it. Where `grid` has several values of a key named
    in `costly`, they belong to `prepare`.
    """

    prepare: Callable[[Interactions, Settings], Any]
    score: Callable[[Interactions, Any, Settings], Ranker]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    costly: tuple[str, ...] = ()


def dense(rows: Any) -> Floats:
    """As an array, float32."""
    array: Floats = np.asarray(rows.toarray() if sparse.issparse(rows) else rows, np.float32)
    return array


def with_own(log: Interactions, scores: Ranker, own: float) -> Ranker:
    """Scores + `own` times how often the user had the item."""
    return lambda users: scores(users) + own * dense(log.counts[users])


def _popularity(log: Interactions, _: Any, settings: Settings) -> Ranker:
    popular = log.decayed(settings["half_life_days"])
    return lambda users: np.tile(popular, (len(users), 1))


def _own_frequency(log: Interactions, _: Any, settings: Settings) -> Ranker:
    popular = log.decayed(settings["half_life_days"])
    return with_own(log, lambda users: np.tile(popular / (2 * popular.max()), (len(users), 1)), 1.0)


def _inverse(log: Interactions, settings: Settings) -> Floats:
    """Of the items' Gram matrix with a ridge, by Cholesky."""
    rows = _damped(log, settings["counts"])
    gram = dense(rows.T @ rows)
    gram[np.diag_indices_from(gram)] += settings["l2"]
    factor, failed = lapack.spotrf(gram, lower=True, overwrite_a=True)
    assert not failed
    lower, failed = lapack.spotri(factor, lower=True, overwrite_c=True)
    assert not failed
    return dense(np.tril(lower) + np.tril(lower, -1).T)


def _linear(inverse: Floats, settings: Settings) -> Floats:
    """Weights between items: of EASE (Steck, WWW 2019), or with their diagonal, where what a user had says more."""
    if settings["diagonal"] == "free":
        return dense(np.eye(len(inverse), dtype=np.float32) - settings["l2"] * inverse)
    weights = dense(inverse / -np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return weights


def _damped(log: Interactions, counts: str) -> Matrix:
    """Users by items: 1 ("binary"), log(1 + count) ("log") or "count" for what the user had."""
    if counts == "log":
        rows = log.counts.copy()
        rows.data = np.log1p(rows.data)
        return rows
    return log.counts if counts == "count" else log.binary


def _ease_scores(log: Interactions, inverse: Floats, settings: Settings) -> Ranker:
    weights = _linear(inverse, settings)
    rows = _damped(log, settings["counts"])
    popular = log.decayed(settings.get("half_life_days", 28.0))
    lift = settings.get("popularity", 0.0) * popular / popular.max()
    return with_own(log, lambda users: dense(rows[users] @ weights) + lift, settings["own"])


def _cosine(log: Interactions, settings: Settings) -> Matrix:
    """Items by items: sessions or users in common over the geometric mean of both numbers; a diagonal of ones."""
    rows = log.sessions[1] if settings["of"] == "sessions" else log.binary
    size = np.asarray(rows.sum(axis=0)).ravel()
    scale = sparse.diags((1 / np.sqrt(np.maximum(size, 1))).astype(np.float32))
    return best_of_rows((scale @ (rows.T @ rows) @ scale).tocsr(), settings["neighbours"])


def _knn_scores(log: Interactions, like: Matrix, settings: Settings) -> Ranker:
    rows = _damped(log, settings["counts"])
    return with_own(log, lambda users: dense(rows[users] @ like), settings["own"])


def _als(log: Interactions, settings: Settings) -> Als:
    return Als.fit(log.counts, seed=0, factors=settings["factors"])


def _als_scores(log: Interactions, model: Als, settings: Settings) -> Ranker:
    return with_own(log, lambda users: model.scores(log.counts[users]), settings["own"])


def _transitions(log: Interactions, settings: Settings) -> Matrix:
    user, sessions = log.sessions
    return transitions(sessions, user, power=settings["power"])


def _transition_scores(log: Interactions, next_items: Matrix, settings: Settings) -> Ranker:
    """From the user's last sessions, the latest one with weight 1, the one before with 1/2, ..."""
    user, sessions = log.sessions
    ends = np.cumsum(np.bincount(user, minlength=log.n_users))
    back = ends[user] - 1 - np.arange(len(user))
    weight = np.where(back < settings["sessions"], 1 / (1.0 + back), 0).astype(np.float32)
    shape = (log.n_users, len(user))
    latest = sparse.csr_matrix((weight, (user, np.arange(len(user)))), shape=shape) @ sessions

    def ranker(users: Int) -> Floats:
        scores = dense(latest[users] @ next_items)
        scores /= np.maximum(scores.max(axis=1, keepdims=True), 1e-9)
        return scores

    return with_own(log, ranker, settings["own"])


def _nothing(log: Interactions, settings: Settings) -> None:
    return None


CLOSED_FORM: dict[str, ClosedForm] = {
    "recent popularity": ClosedForm(_nothing, _popularity, {"half_life_days": HALF_LIVES_DAYS}),
    "own frequency": ClosedForm(_nothing, _own_frequency, {"half_life_days": HALF_LIVES_DAYS}),
    "EASE": ClosedForm(
        _inverse,
        _ease_scores,
        {"l2": (200.0, 800.0, 3200.0), "counts": ("binary", "log", "count"), "diagonal": ("zero", "free"), "own": OWN},
        costly=("l2", "counts"),
    ),
    "EASE + recent popularity": ClosedForm(
        _inverse,
        _ease_scores,
        {
            "l2": (800.0,),
            "counts": ("binary", "count"),
            "diagonal": ("zero", "free"),
            "own": (0.0, 0.3),
            "popularity": (0.02, 0.05, 0.1, 0.3),
            "half_life_days": (7.0, 14.0, 28.0),
        },
        costly=("l2", "counts"),
    ),
    "item-kNN, cosine": ClosedForm(
        _cosine,
        _knn_scores,
        {
            "of": ("users", "sessions"),
            "neighbours": (50, 200, 100_000),
            "counts": ("binary", "log", "count"),
            "own": (0.0, 1.0, 10.0),
        },
        costly=("of", "neighbours"),
    ),
    "iALS": ClosedForm(_als, _als_scores, {"factors": (64,), "own": OWN}, costly=("factors",)),
    "directed co-occurrence": ClosedForm(
        _transitions,
        _transition_scores,
        {"power": (0.0, 0.25, 0.5), "sessions": (1, 3, 10), "own": OWN},
        costly=("power",),
    ),
}
LIGHT = ("recent popularity", "own frequency", "item-kNN, cosine", "directed co-occurrence")
"""Those without an items x items inverse."""
