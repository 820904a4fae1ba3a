"""Off-policy evaluation: what a policy would have earned, from a log of another policy or of random exposure.

Each row is one choice: its reward, the probability with which the logging policy made it (`logged`), and the
probability with which the evaluated policy would have made it (`target`). Errors are over users, since the rows of one
user are not independent.

Sources: IPS, Horvitz and Thompson 1952; SNIPS, Swaminathan and Joachims, NIPS 2015; doubly robust, Dudik et al., ICML
2011; effective sample size, Kish 1965; replay, Li et al., WSDM 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgerec.errors import DataError
from edgerec.metrics.estimate import Array, Estimate, Floats
from edgerec.metrics.results import TaskMetrics

__all__ = ["MIN_SUPPORT", "OffPolicy", "best_of", "doubly_robust", "estimate_policy", "ips", "snips"]

MIN_SUPPORT: Final = 100
"""Effective rows below which an estimate is called unreliable."""


@dataclass(frozen=True)
class OffPolicy:
    """Value of a policy: its mean reward per choice.

    Attributes:
        values: by estimator ("ips", "snips", and "dr" where a reward model was given).
        effective: effective number of rows (Kish); small where the two policies hardly overlap.
    """

    values: TaskMetrics
    effective: float
    rows: int

    def warnings(self) -> list[str]:
        """Why the figures are unreliable, if they are."""
        if self.effective >= MIN_SUPPORT:
            return []
        return [
            f"support is thin: {self.rows:,} choices count as {self.effective:,.0f} for this policy, fewer than "
            f"{MIN_SUPPORT}; log longer, or with a larger explore.epsilon"
        ]


def estimate_policy(
    reward: Array,
    logged: Array,
    target: Array,
    user: Array | None = None,
    predicted: Array | None = None,
    expected: Array | None = None,
    clip: float | None = None,
) -> OffPolicy:
    """The value of a policy, by all estimators that the given columns allow.

    Args:
        reward, logged, target: (n,); `logged` in (0, 1], `target` in [0, 1].
        user: of each row, (n,); None: every row is of another user.
        predicted: what a reward model predicts for the logged choice, (n,).
        expected: what it predicts for the choices of the evaluated policy, weighted by their probabilities, (n,). Both
            or none.
        clip: the largest importance weight; a lower one gives less variance and more bias.
    Raises:
        DataError: there is no row; a probability is out of range; shapes differ.
    """
    reward, weight, user = _checked(reward, logged, target, user, clip)
    values = {"ips": ips(reward, weight, user), "snips": snips(reward, weight, user)}
    if predicted is not None and expected is not None:
        predicted, expected = np.asarray(predicted, np.float64), np.asarray(expected, np.float64)
        if predicted.shape != reward.shape or expected.shape != reward.shape:
            raise DataError(f"a reward model has one value per row, expected {len(reward)}")
        values["dr"] = doubly_robust(reward, weight, predicted, expected, user)
    square = float(weight @ weight)
    return OffPolicy(values, float(weight.sum()) ** 2 / square if square else 0.0, len(reward))


def ips(reward: Floats, weight: Floats, user: Array) -> Estimate:
    """Inverse propensity scoring: mean of weight times reward; unbiased if the log could make every choice."""
    return _mean_over_users(weight * reward, user)


def snips(reward: Floats, weight: Floats, user: Array) -> Estimate:
    """Self-normalised `ips`: divided by the mean weight, which adds a little bias and takes away variance."""
    whole = float(weight.sum())
    if not whole:
        return Estimate(math.nan, len(reward))
    value = float(weight @ reward) / whole
    part = np.bincount(user, weight * (reward - value))
    n = len(part)
    return Estimate(value, len(reward), part / whole * math.sqrt(n / (n - 1)) if n > 1 else None)


def doubly_robust(reward: Floats, weight: Floats, predicted: Floats, expected: Floats, user: Array) -> Estimate:
    """The expectation of a reward model, corrected by its weighted error on the logged choices."""
    return _mean_over_users(expected + weight * (reward - predicted), user)


def best_of(reward: Array, score: Array, user: Array, m: int) -> Estimate:
    """Value of the policy "of `m` random items, show the one that scores highest", from uniformly random exposure.

    This is the exact mean over all subsets of size `m` of each user's exposed rows: a row with `c` rows scored below it
    is the best of C(c, m - 1) of the C(n, m) subsets. Users with fewer than `m` rows are left out; equal scores are
    ordered as the rows are.

    Raises:
        DataError: m is less than 1, or shapes differ.
    """
    reward, score = np.asarray(reward, np.float64), np.asarray(score, np.float64)
    if m < 1 or not (reward.shape == score.shape == np.shape(user)):
        raise DataError(f"best of m: expected m of at least 1 and columns of one length, got m = {m}")
    order = np.lexsort((score, user))
    _, first, sizes = np.unique(np.asarray(user)[order], return_index=True, return_counts=True)
    below = np.arange(len(reward)) - np.repeat(first, sizes)
    n = np.repeat(sizes, sizes)
    # C(c, m - 1) / C(n, m) as a product, so that nothing overflows.
    chance = np.full(len(reward), float(m)) / n
    for j in range(m - 1):
        chance *= (below - j) / (n - 1 - j).clip(1)
    chance = np.where(below >= m - 1, chance, 0.0)
    per_user = np.add.reduceat(chance * reward[order], first) if len(first) else np.zeros(0)
    per_user = per_user[sizes >= m]
    return _mean_over_users(per_user, np.arange(len(per_user)))


def _mean_over_users(values: Floats, user: Array) -> Estimate:
    """Mean over rows; its error is that of a ratio of two means over users."""
    if not len(values):
        return Estimate(math.nan, 0)
    value = float(values.mean())
    part = np.bincount(user, values - value)
    n = len(part)
    return Estimate(value, len(values), part / len(values) * math.sqrt(n / (n - 1)) if n > 1 else None)


def _checked(
    reward: Array, logged: Array, target: Array, user: Array | None, clip: float | None
) -> tuple[Floats, Floats, Array]:
    reward, logged, target = (np.asarray(column, np.float64) for column in (reward, logged, target))
    if not (reward.shape == logged.shape == target.shape) or reward.ndim != 1:
        shapes = f"{reward.shape}, {logged.shape}, {target.shape}"
        raise DataError(f"off-policy: expected columns of one length, got {shapes}")
    if not len(reward):
        raise DataError("off-policy: the log has no choice to evaluate")
    if not np.isfinite(reward).all():
        raise DataError(f"off-policy: row {int(np.flatnonzero(~np.isfinite(reward))[0])} has no finite reward")
    for name, column, least in (("logged", logged, np.nextafter(0, 1)), ("target", target, 0.0)):
        bad = np.flatnonzero(~((column >= least) & (column <= 1)))
        if len(bad):
            expected = f"expected {'above 0' if least else 'at least 0'}, at most 1"
            raise DataError(f"off-policy: row {int(bad[0])}: {name} probability {column[bad[0]]:g}, {expected}")
    weight = target / logged
    own = np.arange(len(reward)) if user is None else np.unique(user, return_inverse=True)[1]
    return reward, weight if clip is None else np.minimum(weight, clip), own
