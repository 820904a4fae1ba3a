"""What another policy would have earned, from a log whose choices have known probabilities; and from random exposure.

Each row is one choice: its reward, the probability with which the logging policy made it (`logged`), and with which the
judged one would have (`target`). Rows of one user are one independent draw: errors are over users.

Sources: IPS, Horvitz and Thompson 1952; SNIPS, Swaminathan and Joachims, NIPS 2015; doubly robust, Dudik et al., ICML
2011; effective sample size, Kish 1965; replay, Li et al., WSDM 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgerec.errors import DataError
from edgerec.metrics.accuracy import Estimate

__all__ = ["LEAST_SUPPORT", "OffPolicy", "best_of", "doubly_robust", "estimate", "ips", "snips"]

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

LEAST_SUPPORT: Final = 100
"""Effective rows below which an estimate is told to be thin."""


@dataclass(frozen=True)
class OffPolicy:
    """Value of a policy: mean reward a choice.

    Attributes:
        values: by estimator ("ips", "snips", and "dr" where a reward model was given).
        effective: rows that the weights are worth (Kish); small where the policies hardly overlap.
    """

    values: dict[str, Estimate]
    effective: float
    rows: int

    def warnings(self) -> list[str]:
        """What makes the figures weak."""
        found = []
        if self.effective < LEAST_SUPPORT:
            found.append(
                f"support is thin: {self.rows:,} choices are worth {self.effective:,.0f} for this policy, which wants "
                f"{LEAST_SUPPORT}; log longer, or with a larger explore.epsilon"
            )
        return found


def estimate(
    reward: Array,
    logged: Array,
    target: Array,
    user: Array | None = None,
    predicted: Array | None = None,
    expected: Array | None = None,
    clip: float | None = None,
) -> OffPolicy:
    """All estimators that the columns allow.

    Args:
        reward, logged, target: (n,); `logged` in (0, 1], `target` in [0, 1].
        user: whose row it is, (n,); None: every row another's.
        predicted: what a reward model says of the logged choice, (n,). expected: what it says of the judged policy's
            choice, by its probabilities, (n,). Both or none.
        clip: the largest weight; less variance, more bias.
    Raises:
        DataError: no row; a probability is out of range; shapes differ.
    """
    reward, weight, user = _checked(reward, logged, target, user, clip)
    values = {"ips": ips(reward, weight, user), "snips": snips(reward, weight, user)}
    if predicted is not None and expected is not None:
        model = [np.asarray(of, np.float64) for of in (predicted, expected)]
        if any(of.shape != reward.shape for of in model):
            raise DataError(f"a reward model has one value a row, expected {len(reward)}")
        values["dr"] = doubly_robust(reward, weight, model[0], model[1], user)
    square = float(weight @ weight)
    return OffPolicy(values, float(weight.sum()) ** 2 / square if square else 0.0, len(reward))


def ips(reward: Floats, weight: Floats, user: Array) -> Estimate:
    """Mean of weight times reward: without bias where the log could make every choice."""
    return _mean_over_users(weight * reward, user)


def snips(reward: Floats, weight: Floats, user: Array) -> Estimate:
    """The same divided by the mean weight: a little bias, less variance, between the smallest and largest reward."""
    whole = float(weight.sum())
    if not whole:
        return Estimate(math.nan, len(reward))
    value = float(weight @ reward) / whole
    part = np.bincount(user, weight * (reward - value))
    n = len(part)
    return Estimate(value, len(reward), part / whole * math.sqrt(n / (n - 1)) if n > 1 else None)


def doubly_robust(reward: Floats, weight: Floats, predicted: Floats, expected: Floats, user: Array) -> Estimate:
    """What a reward model expects, corrected by the weighted error of what it said of the logged choices."""
    return _mean_over_users(expected + weight * (reward - predicted), user)


def best_of(reward: Array, score: Array, user: Array, m: int) -> Estimate:
    """Value of the policy "of `m` random items, show the one that scores highest", from uniformly random exposure.

    The mean over all subsets of size `m` of each user's exposed rows, which is exact: a row that `c` others score below
    is the best of a subset in C(c, m - 1) of C(n, m) cases. Users with fewer than `m` rows are left out; ties count in
    the order of the rows.

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
    kept = per_user[sizes >= m]
    return _mean_over_users(kept, np.arange(len(kept)))


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
    reward, logged, target = (np.asarray(of, np.float64) for of in (reward, logged, target))
    if not (reward.shape == logged.shape == target.shape) or reward.ndim != 1:
        raise DataError(f"off-policy: columns of one length, got {reward.shape}, {logged.shape}, {target.shape}")
    if not len(reward):
        raise DataError("off-policy: the log has no choice to learn from")
    if not np.isfinite(reward).all():
        raise DataError(f"off-policy: row {int(np.flatnonzero(~np.isfinite(reward))[0])} has no finite reward")
    for name, of, least in (("logged", logged, np.nextafter(0, 1)), ("target", target, 0.0)):
        bad = np.flatnonzero(~((of >= least) & (of <= 1)))
        if len(bad):
            said = f"{name} probability {of[bad[0]]:g}, expected {'above 0' if least else 'at least 0'}, at most 1"
            raise DataError(f"off-policy: row {int(bad[0])}: {said}")
    weight = target / logged
    own = np.arange(len(reward)) if user is None else np.unique(user, return_inverse=True)[1]
    return reward, weight if clip is None else np.minimum(weight, clip), own
