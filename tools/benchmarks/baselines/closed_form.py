"""Ranking baselines that are solved, counted or alternated, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from edgerec.training.committee.closed_form import Als, best_of_rows, transitions
from tools.benchmarks.baselines.interactions import Floats, Int, Matrix, Ranker, Seen

HALF_LIVES_DAYS = (7.0, 14.0, 28.0, 56.0, 1e6)
OWN = (0.0, 0.3, 1.0)
"""Weights of the user's own counts, since an item-to-item model says little about having an item again."""
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A baseline and the settings among which valid chooses, for each task on its own.

    `prepare` does what all settings share; `score` makes a ranker of it. Where `grid` has several values of a key named
    in `costly`, they belong to `prepare`.
    """

    prepare: Callable[[Seen, Settings], Any]
    score: Callable[[Seen, Any, Settings], Ranker]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    costly: tuple[str, ...] = ()


def dense(rows: Any) -> Floats:
    """As an array, float32."""
    found: Floats = np.asarray(rows.toarray() if sparse.issparse(rows) else rows, np.float32)
    return found


def with_own(seen: Seen, scores: Ranker, own: float) -> Ranker:
    """Scores + `own` times how often the user had the item."""
    return lambda users: scores(users) + own * dense(seen.counts[users])


def _popularity(seen: Seen, _: Any, settings: Settings) -> Ranker:
    popular = seen.decayed(settings["half_life_days"])
    return lambda users: np.tile(popular, (len(users), 1))


def _own_frequency(seen: Seen, _: Any, settings: Settings) -> Ranker:
    popular = seen.decayed(settings["half_life_days"])
    return with_own(seen, lambda users: np.tile(popular / (2 * popular.max()), (len(users), 1)), 1.0)


def _inverse(seen: Seen, settings: Settings) -> Floats:
    """Of the items' Gram matrix with a ridge, by Cholesky."""
    rows = _damped(seen, settings["counts"])
    gram = dense(rows.T @ rows)
    gram[np.diag_indices_from(gram)] += settings["l2"]
    factor, failed = lapack.spotrf(gram, lower=True, overwrite_a=True)
    assert not failed
    lower, failed = lapack.spotri(factor, lower=True, overwrite_c=True)
    assert not failed
    return dense(np.tril(lower) + np.tril(lower, -1).T)


def _linear(inverse: Floats, settings: Settings) -> Floats:
    """Weights between items: of EASE (Steck, WWW 2019), or with their diagonal, where what a user had says more."""
    if settings["diagonal"] == "kept":
        return dense(np.eye(len(inverse), dtype=np.float32) - settings["l2"] * inverse)
    weights = dense(inverse / -np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return weights


def _damped(seen: Seen, counts: str) -> Matrix:
    """Users by items: 1 ("binary"), log(1 + count) ("log") or "count" for what the user had."""
    if counts == "log":
        rows = seen.counts.copy()
        rows.data = np.log1p(rows.data)
        return rows
    return seen.counts if counts == "count" else seen.held


def _ease_scores(seen: Seen, inverse: Floats, settings: Settings) -> Ranker:
    weights = _linear(inverse, settings)
    rows = _damped(seen, settings["counts"])
    popular = seen.decayed(settings.get("half_life_days", 28.0))
    lift = settings.get("popularity", 0.0) * popular / popular.max()
    return with_own(seen, lambda users: dense(rows[users] @ weights) + lift, settings["own"])


def _cosine(seen: Seen, settings: Settings) -> Matrix:
    """Items by items: visits or users in common over the geometric mean of both numbers; a diagonal of ones."""
    rows = seen.visits[1] if settings["of"] == "visits" else seen.held
    size = np.asarray(rows.sum(axis=0)).ravel()
    scale = sparse.diags((1 / np.sqrt(np.maximum(size, 1))).astype(np.float32))
    return best_of_rows((scale @ (rows.T @ rows) @ scale).tocsr(), settings["neighbours"])


def _knn_scores(seen: Seen, like: Matrix, settings: Settings) -> Ranker:
    rows = _damped(seen, settings["counts"])
    return with_own(seen, lambda users: dense(rows[users] @ like), settings["own"])


def _als(seen: Seen, settings: Settings) -> Als:
    return Als.fit(seen.counts, seed=0, factors=settings["factors"])


def _als_scores(seen: Seen, model: Als, settings: Settings) -> Ranker:
    return with_own(seen, lambda users: model.scores(seen.counts[users]), settings["own"])


def _follows(seen: Seen, settings: Settings) -> Matrix:
    user, visits = seen.visits
    return transitions(visits, user, power=settings["power"])


def _follow_scores(seen: Seen, follows: Matrix, settings: Settings) -> Ranker:
    """From the user's last visits, the latest one with weight 1, the one before with 1/2, ..."""
    user, visits = seen.visits
    ends = np.cumsum(np.bincount(user, minlength=seen.n_users))
    back = ends[user] - 1 - np.arange(len(user))
    weight = np.where(back < settings["visits"], 1 / (1.0 + back), 0).astype(np.float32)
    shape = (seen.n_users, len(user))
    latest = sparse.csr_matrix((weight, (user, np.arange(len(user)))), shape=shape) @ visits

    def scores(users: Int) -> Floats:
        found = dense(latest[users] @ follows)
        found /= np.maximum(found.max(axis=1, keepdims=True), 1e-9)
        return found

    return with_own(seen, scores, settings["own"])


def _nothing(seen: Seen, settings: Settings) -> None:
    return None


CLOSED_FORM: dict[str, Peer] = {
    "recent popularity": Peer(_nothing, _popularity, {"half_life_days": HALF_LIVES_DAYS}),
    "own frequency": Peer(_nothing, _own_frequency, {"half_life_days": HALF_LIVES_DAYS}),
    "EASE": Peer(
        _inverse,
        _ease_scores,
        {"l2": (200.0, 800.0, 3200.0), "counts": ("binary", "log", "count"), "diagonal": ("zero", "kept"), "own": OWN},
        costly=("l2", "counts"),
    ),
    "EASE + recent popularity": Peer(
        _inverse,
        _ease_scores,
        {
            "l2": (800.0,),
            "counts": ("binary", "count"),
            "diagonal": ("zero", "kept"),
            "own": (0.0, 0.3),
            "popularity": (0.02, 0.05, 0.1, 0.3),
            "half_life_days": (7.0, 14.0, 28.0),
        },
        costly=("l2", "counts"),
    ),
    "item-kNN, cosine": Peer(
        _cosine,
        _knn_scores,
        {
            "of": ("users", "visits"),
            "neighbours": (50, 200, 100_000),
            "counts": ("binary", "log", "count"),
            "own": (0.0, 1.0, 10.0),
        },
        costly=("of", "neighbours"),
    ),
    "iALS": Peer(_als, _als_scores, {"factors": (64,), "own": OWN}, costly=("factors",)),
    "directed co-occurrence": Peer(
        _follows,
        _follow_scores,
        {"power": (0.0, 0.25, 0.5), "visits": (1, 3, 10), "own": OWN},
        costly=("power",),
    ),
}
LIGHT = ("recent popularity", "own frequency", "item-kNN, cosine", "directed co-occurrence")
"""Those without an items x items inverse."""
