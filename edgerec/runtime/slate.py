"""From a pool of scored candidates to a list: boosts, then one item after another, each compared with those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

SMOOTHED = 0.01
"""Share of the user's own mix that is added to a list's, so that no share is zero. Source: Steck, RecSys 2018."""


def multiplied(utility: Float, factor: Double) -> Float:
    """Utilities with factors above 0: a factor above 1 is always for an item, also where its utility is negative."""
    return np.where(utility >= 0, utility * factor, utility / factor).astype(np.float32)


@dataclass(frozen=True)
class GroupLimit:
    """At most `most` items of a list with one value; `group` int64 (P,), -1 where an item has no value."""

    group: Int
    most: int


@dataclass(frozen=True)
class Mix:
    """The user's own mix of values: `share` float64 (G,), adding up to 1; `group` int64 (P,), -1 without a value."""

    group: Int
    share: Double
    strength: float


def arrange(
    utility: Float,
    k: int,
    vectors: Float | None = None,
    diversity: float = 0.0,
    quotas: Sequence[GroupLimit] = (),
    mix: Mix | None = None,
) -> Int:
    """Positions in the pool of at most k items, first to last.

    Each step takes the item with the largest
    ``(1 - diversity - strength) * relevance - diversity * likeness - strength * divergence``: its utility, scaled to
    [0, 1] over the pool; its largest cosine to an item that was taken; and how far the list's mix with it would be
    from the user's (Kullback-Leibler).
    Args:
        utility: float32 (P,), finite. vectors: float32 (P, dim), needed where diversity > 0.
    Source: Carbonell and Goldstein, SIGIR 1998; Steck, RecSys 2018.
    """
    n, strength = len(utility), mix.strength if mix is not None else 0.0
    span = float(utility.max() - utility.min()) if n else 0.0
    relevance = (utility - utility.min()) / (span or 1.0) if n else utility
    base = ((1 - diversity - strength) * relevance).astype(np.float64)
    penalties: list[_Likeness | _Divergence] = []
    if diversity and vectors is not None:
        penalties.append(_Likeness(vectors, diversity))
    if mix is not None:
        penalties.append(_Divergence(mix))
    counts = [_QuotaCount(quota) for quota in quotas]
    closed = np.zeros(n, bool)  # taken, or of a value whose quota is full
    chosen: list[int] = []
    while len(chosen) < min(k, n):
        gain = np.where(closed, -np.inf, base)
        for penalty in penalties:
            gain -= penalty.of_candidates()
        best = int(gain.argmax())
        if gain[best] == -np.inf:
            break
        chosen.append(best)
        closed[best] = True
        for penalty in penalties:
            penalty.take(best)
        for count in counts:
            count.take(best, closed)
    return np.array(chosen, np.int64)


def unit_rows(vectors: Float) -> Float:
    """Rows of length 1, or 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


class _Likeness:
    """The largest cosine of each candidate to an item of the list, times the diversity."""

    def __init__(self, vectors: Float, diversity: float) -> None:
        self._unit, self._diversity = unit_rows(vectors), diversity
        self._largest: Double | None = None

    def of_candidates(self) -> Double | float:
        return 0.0 if self._largest is None else self._diversity * self._largest

    def take(self, position: int) -> None:
        before = np.full(len(self._unit), -1.0) if self._largest is None else self._largest
        self._largest = np.maximum(before, self._unit @ self._unit[position])


class _Divergence:
    """How far the list's mix with each candidate would be from the user's, times the mix's strength."""

    def __init__(self, mix: Mix) -> None:
        self._mix, self._taken = mix, np.zeros(len(mix.share))

    def of_candidates(self) -> Double:
        group, before, after = self._mix.group, self._parts(self._taken), self._parts(self._taken + 1)
        by_group = before.sum() + (after - before)
        without = before.sum()  # an item without a value adds to no share
        divergence: Double = np.where(group >= 0, by_group[group] if len(by_group) else without, without)
        return self._mix.strength * divergence

    def take(self, position: int) -> None:
        group = self._mix.group[position]
        if group >= 0:
            self._taken[group] += 1

    def _parts(self, count: Double) -> Double:
        """What each value adds to the divergence, if the list had so many items of it and one item more in all."""
        share, some = self._mix.share, self._mix.share > 0
        own = (1 - SMOOTHED) * count / (self._taken.sum() + 1) + SMOOTHED * share
        return np.where(some, share * np.log(np.where(some, share / np.where(some, own, 1), 1)), 0.0)


class _QuotaCount:
    """How many items of each value a list has, against one quota."""

    def __init__(self, quota: GroupLimit) -> None:
        self._quota, self._counts = quota, np.zeros(int(quota.group.max(initial=-1)) + 1, np.int64)

    def take(self, position: int, closed: npt.NDArray[np.bool_]) -> None:
        """Count an item, and close its value once the quota is full."""
        group = self._quota.group[position]
        if group >= 0:
            self._counts[group] += 1
            if self._counts[group] >= self._quota.most:
                closed |= self._quota.group == group
