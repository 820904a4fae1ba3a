"""Metrics of probabilities, scores and regression targets, one value a row.

Standard errors are over users: rows of one user are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgerec.metrics.estimate import Array, Estimate, Floats
from edgerec.metrics.results import TaskMetrics

__all__ = [
    "auc",
    "auc_metrics",
    "binary_metrics",
    "ece",
    "gauc",
    "logloss",
    "mae",
    "regression_metrics",
    "reliability",
    "xauc",
]


def auc(label: Array, score: Array) -> float:
    """Probability that a positive scores above a negative, ties one half; NaN when a class is missing."""
    return _WeightedAuc(label, score, np.zeros(len(label), np.int64))(np.ones(1))


def gauc(label: Array, score: Array, user: Array) -> float:
    """Mean AUC per user weighted by the user's rows, over users who have both labels; NaN when there are none."""
    area, rows = _auc_per_user(label, score, np.unique(user, return_inverse=True)[1])
    return float(np.average(area, weights=rows)) if rows.any() else math.nan


def logloss(label: Array, probability: Array) -> float:
    """Mean negative log-likelihood in nats, with probabilities clipped to [1e-7, 1 - 1e-7]."""
    return float(_row_logloss(label, probability).mean())


def ece(label: Array, probability: Array, bins: int = 15) -> float:
    """Expected calibration error: mean |rate - probability| over `bins` bins of equally many rows.

    Source: Naeini et al., AAAI 2015, with equal-mass bins (clicks are rare: equal-width bins would hold one class).
    """
    gap = np.asarray(label, np.float64) - probability
    return (
        float(np.abs(np.bincount(_equal_mass(probability, bins), gap, bins)).sum() / len(gap)) if gap.size else math.nan
    )


def reliability(label: Array, probability: Array, bins: int = 15) -> list[list[float]]:
    """Mean probability, rate and number of rows of each of `bins` bins of equally many rows, as in `ece`."""
    bin_of = _equal_mass(probability, bins)
    n = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, np.asarray(values, np.float64), bins) for values in (probability, label)]
    each = zip(*(s / np.maximum(n, 1) for s in sums), n, strict=True)
    return [[float(p), float(rate), int(count)] for p, rate, count in each if count]


def mae(label: Array, prediction: Array) -> float:
    """Mean absolute error, in the unit of the label."""
    return float(np.abs(np.asarray(label, float) - prediction).mean())


def xauc(label: Array, prediction: Array) -> float:
    """Share of the pairs with different labels that the prediction puts in order, ties one half. O(n log n)."""
    alike, pairs = _ordered_pairs(np.asarray(label, float), np.asarray(prediction, float))
    return float(alike.sum() / pairs.sum()) if pairs.any() else math.nan


def auc_metrics(label: Array, score: Array, user: Array | None = None, boot: int = 200, seed: int = 0) -> TaskMetrics:
    """AUC and GAUC of any score; standard errors from `boot` seeded bootstraps over users.

    Args:
        label: 0 or 1, shape (n,).
        score: finite, shape (n,); higher means more likely 1.
        user: whose row it is, shape (n,); None makes every row its own user (then there is no GAUC).
    """
    label, score, user = _checked(label, score, user)
    return _bootstrap(_auc_terms(label, score, user), int(user.max(initial=-1)) + 1, boot, seed)


def binary_metrics(
    label: Array, probability: Array, user: Array | None = None, boot: int = 200, seed: int = 0
) -> TaskMetrics:
    """AUC, GAUC, log-loss and calibration error of probabilities; errors as in `auc_metrics`.

    Raises:
        ValueError: shapes differ, or a probability is not in [0, 1].
    """
    label, probability, user = _checked(label, probability, user)
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError(f"a probability is in [0, 1], got [{probability.min():.4g}, {probability.max():.4g}]")
    bins = 15
    bin_of, gap = _equal_mass(probability, bins), label - probability
    rows = np.bincount(user).astype(np.float64)
    gaps = np.bincount(bin_of * len(rows) + user, gap, bins * len(rows)).reshape(bins, len(rows))
    terms = _auc_terms(label, probability, user)
    terms["logloss"] = _mean(_row_logloss(label, probability), user)
    terms["ece"] = _Term(lambda drawn: float(np.abs(gaps @ drawn).sum() / (rows @ drawn)), len(label))
    return _bootstrap(terms, len(rows), boot, seed)


def regression_metrics(
    label: Array, prediction: Array, user: Array | None = None, boot: int = 200, seed: int = 0
) -> TaskMetrics:
    """MAE (unit of the label) and XAUC of regression targets.

    The error of MAE is a bootstrap over users as in `auc_metrics`; that of XAUC the infinitesimal jackknife over users
    (the limit of the bootstrap), since a bootstrap of pairs would sort the rows 200 times.
    """
    label, prediction, user = _checked(label, prediction, user)
    out = _bootstrap({"mae": _mean(np.abs(label - prediction), user)}, int(user.max(initial=-1)) + 1, boot, seed)
    alike, pairs = _ordered_pairs(label, prediction)
    if not pairs.any():
        return out | {"xauc": Estimate(math.nan, len(label))}
    value = float(alike.sum() / pairs.sum())
    # Both sums count every pair from both ends, hence the factor 2.
    influence = np.bincount(user, alike - value * pairs) * 2 / pairs.sum()
    return out | {"xauc": Estimate(value, len(label), influence)}


def _checked(label: Array, score: Array, user: Array | None) -> tuple[Floats, Floats, Array]:
    """Both as float64 and the users as 0..n_users-1 in the order of their ids."""
    label, score = np.asarray(label, np.float64), np.asarray(score, np.float64)
    if label.shape != score.shape or label.ndim != 1:
        raise ValueError(f"labels and scores need one shape (n,), got {label.shape} and {score.shape}")
    if not np.isfinite(score).all() or not np.isfinite(label).all():
        raise ValueError("labels and scores must be finite")
    return label, score, np.arange(len(label)) if user is None else np.unique(user, return_inverse=True)[1]


@dataclass(frozen=True)
class _Term:
    """A metric as a function of how often each user is drawn, (n_users,)."""

    of_draw: Callable[[Floats], float]
    n: int


def _mean(values: Floats, user: Array) -> _Term:
    """The mean over rows, one value each."""
    sums, rows = np.bincount(user, values), np.bincount(user).astype(np.float64)
    return _Term(lambda drawn: float(sums @ drawn / (rows @ drawn)), len(values))


def _auc_terms(label: Floats, score: Floats, user: Array) -> dict[str, _Term]:
    area, rows = _auc_per_user(label, score, user)

    def weighted_gauc(drawn: Floats) -> float:
        weight = rows * drawn
        return float(area @ weight / weight.sum()) if weight.any() else math.nan

    auc = _Term(_WeightedAuc(label, score, user), len(label))
    return {"auc": auc, "gauc": _Term(weighted_gauc, int((rows > 0).sum()))}


def _bootstrap(terms: Mapping[str, _Term], n_users: int, boot: int, seed: int) -> TaskMetrics:
    draws = np.array([[t.of_draw(drawn) for t in terms.values()] for drawn in _draws(n_users, boot, seed)])
    out = {}
    for i, (name, term) in enumerate(terms.items()):
        values = draws[:, i] if len(draws) else np.zeros(0)
        known = np.isfinite(values)
        deviations = None
        if known.sum() > 1:
            # A draw without both classes has no AUC: it is left out of the spread.
            deviations = np.where(known, values - values[known].mean(), 0.0) / math.sqrt(known.sum() - 1)
        out[name] = Estimate(term.of_draw(np.ones(n_users)) if term.n else math.nan, term.n, deviations)
    return out


def _draws(n_users: int, boot: int, seed: int) -> Iterator[Floats]:
    """How often each user is drawn when as many are drawn with replacement as there are."""
    rng = np.random.default_rng(seed)
    for _ in range(boot if n_users else 0):
        yield np.bincount(rng.integers(0, n_users, n_users), minlength=n_users).astype(np.float64)


class _WeightedAuc:
    """AUC where a row counts as often as its user is drawn; rows are sorted once."""

    def __init__(self, label: Array, score: Array, user: Array) -> None:
        label, score = np.asarray(label), np.asarray(score)
        negative = np.flatnonzero(~(label > 0))
        negative = negative[np.argsort(score[negative], kind="stable")]
        self._positive_user, self._negative_user = user[label > 0], user[negative]
        ordered, positive = score[negative], score[label > 0]
        self._below, self._upto = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))

    def __call__(self, drawn: Floats) -> float:
        positive = drawn[self._positive_user]
        negative = np.concatenate(([0.0], np.cumsum(drawn[self._negative_user])))
        pairs = positive.sum() * negative[-1]
        won = positive @ (negative[self._below] + negative[self._upto]) / 2  # ties count one half
        return float(won / pairs) if pairs else math.nan


def _auc_per_user(label: Array, score: Array, user: Array) -> tuple[Floats, Floats]:
    """AUC of each user and the rows it counts for: 0 for users who do not have both labels."""
    order = np.lexsort((score, user))
    u, s, y = np.asarray(user)[order], np.asarray(score, np.float64)[order], (np.asarray(label) > 0)[order]
    n_users = int(u.max(initial=-1)) + 1
    new = np.r_[True, (u[1:] != u[:-1]) | (s[1:] != s[:-1])][: len(u)]
    tie = np.cumsum(new) - 1
    tie_user = u[new]
    positive, negative = np.bincount(tie, y), np.bincount(tie, ~y)
    n_positive, n_negative = np.bincount(u, y, n_users), np.bincount(u, ~y, n_users)
    before = np.cumsum(negative) - negative - (np.cumsum(n_negative) - n_negative)[tie_user]
    won = np.bincount(tie_user, positive * (before + negative / 2), n_users)
    pairs = n_positive * n_negative
    area = np.divide(won, pairs, out=np.zeros(n_users), where=pairs > 0)
    return area, np.where(pairs > 0, n_positive + n_negative, 0.0)


def _row_logloss(label: Array, probability: Array) -> Floats:
    p = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)
    y = np.asarray(label, np.float64)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log(1 - p)))


def _equal_mass(probability: Array, bins: int) -> Array:
    """The bin (0..bins-1) of each row; equal probabilities share a bin."""
    p = np.asarray(probability, np.float64)
    if not len(p):
        return np.zeros(0, np.int64)
    edges = np.quantile(p, np.arange(1, bins) / bins)
    return np.searchsorted(edges, p, side="right")


def _ordered_pairs(y: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Per row: the rows with another `y` that `p` orders alike (ties one half), and all rows with another `y`."""
    n = len(y)
    if n == 0:
        return np.zeros(0), np.zeros(0)
    _, y_rank, y_count = np.unique(y, return_inverse=True, return_counts=True)
    _, p_rank, p_count = np.unique(p, return_inverse=True, return_counts=True)
    p_upto = np.cumsum(p_count)[p_rank]
    p_below = p_upto - p_count[p_rank]
    by_p = y_rank[np.argsort(p_rank, kind="stable")]
    below = _count_less(by_p, p_below, y_rank)
    below_or_level = _count_less(by_p, p_below, y_rank + 1)
    upto = _count_less(by_p, p_upto, y_rank)
    upto_or_level = _count_less(by_p, p_upto, y_rank + 1)
    above = n - p_upto - np.cumsum(y_count)[y_rank] + upto_or_level
    pairs = n - y_count[y_rank]
    tied = p_count[p_rank] - (upto_or_level - upto - below_or_level + below)
    return below + above + tied / 2, pairs.astype(np.float64)


def _count_less(values: Array, length: Array, bound: Array) -> Array:
    """For each query, how many of the first `length` values are below `bound`.

    A wavelet matrix: one stable partition per bit of the values, highest bit first, answers all queries at once.
    Source: Claude and Navarro, SPIRE 2012.

    >>> _count_less(np.array([3, 0, 2, 1]), np.array([2, 4]), np.array([3, 2])).tolist()
    [1, 2]
    """
    count = np.zeros(len(length), np.int64)
    left, right = np.zeros(len(length), np.int64), np.asarray(length, np.int64)
    top_bit = max(int(values.max(initial=0)), int(bound.max(initial=0))).bit_length() - 1
    for bit in range(top_bit, -1, -1):
        one = (values >> bit) & 1
        zeros = np.r_[0, np.cumsum(1 - one)]
        left_zeros, right_zeros = zeros[left], zeros[right]
        up = (bound >> bit) & 1 == 1
        count += np.where(up, right_zeros - left_zeros, 0)
        left = np.where(up, zeros[-1] + left - left_zeros, left_zeros)
        right = np.where(up, zeros[-1] + right - right_zeros, right_zeros)
        values = np.concatenate([values[one == 0], values[one == 1]])
    return count
