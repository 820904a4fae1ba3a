"""From a pool of scored candidates to a list: boosts, then one item after another, each compared with those before."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from operator import mul

from edgerec.tasks.buffers import Floats, Matrix

SMOOTHED = 0.01
"""Share of the user's own mix that is added to a list's, so that no share is zero. Source: Steck, RecSys 2018."""


def multiplied(utility: float, factor: float) -> float:
    """A utility with a factor above 0: one above 1 is always for the item, also where its utility is negative."""
    return utility * factor if utility >= 0 else utility / factor


@dataclass(frozen=True)
class GroupLimit:
    """At most `most` items of a list with one value; `group` (P,), -1 where an item has no value."""

    group: Sequence[int]
    most: int


@dataclass(frozen=True)
class Mix:
    """The user's own mix of values: `share` (G,), adding up to 1; `group` (P,), -1 without a value."""

    group: Sequence[int]
    share: Sequence[float]
    strength: float


def arrange(
    utility: Floats,
    k: int,
    vectors: Matrix | None = None,
    diversity: float = 0.0,
    quotas: Sequence[GroupLimit] = (),
    mix: Mix | None = None,
) -> list[int]:
    """Positions in the pool of at most k items, first to last.

    Each step takes the item with the largest
    ``(1 - diversity - strength) * relevance - diversity * likeness - strength * divergence``: its utility, scaled to
    [0, 1] over the pool; its largest cosine to an item that was taken; and how far the list's mix with it would be
    from the user's (Kullback-Leibler).
    Args:
        utility: (P,), finite. vectors: (P, dim), needed where diversity > 0.
    Source: Carbonell and Goldstein, SIGIR 1998; Steck, RecSys 2018.
    """
    n, strength = len(utility), mix.strength if mix is not None else 0.0
    least = min(utility, default=0.0)
    span = max(utility, default=0.0) - least or 1.0
    # In float32, as other runtimes do it, so that items that are close keep one order everywhere.
    relevance = array("f", [x / span for x in array("f", [u - least for u in utility])])
    share = array("f", [1 - diversity - strength])[0]
    base = array("f", [share * x for x in relevance])
    likeness = _Likeness(vectors, diversity) if diversity and vectors is not None else None
    divergence = None if mix is None else _Divergence(mix)
    counts = [_QuotaCount(quota) for quota in quotas]
    left = set(range(n))  # less what was taken, or is of a value whose quota is full
    chosen: list[int] = []
    while left and len(chosen) < k:
        gain: Sequence[float] = base
        for penalty in (likeness, divergence):
            if penalty is not None:
                gain = [g - p for g, p in zip(gain, penalty.of_candidates(), strict=True)]
        best = max(left, key=lambda at: (gain[at], -at))
        if gain[best] == -inf:
            break
        chosen.append(best)
        left.discard(best)
        for taken in (likeness, divergence):
            if taken is not None:
                taken.take(best)
        for count in counts:
            left -= count.closed_by(best)
    return chosen


def unit_rows(vectors: Matrix) -> list[list[float]]:
    """Rows of length 1, or 0."""
    rows = []
    for row in vectors:
        length = sqrt(_dot(row, row)) or 1.0
        rows.append([x / length for x in row])
    return rows


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    total: float = sum(map(mul, a, b))
    return total


class _Likeness:
    """The largest cosine of each candidate to an item of the list, times the diversity."""

    def __init__(self, vectors: Matrix, diversity: float) -> None:
        self._unit, self._diversity = unit_rows(vectors), diversity
        self._largest: list[float] | None = None

    def of_candidates(self) -> Sequence[float]:
        if self._largest is None:
            return [0.0] * len(self._unit)
        return [self._diversity * cosine for cosine in self._largest]

    def take(self, position: int) -> None:
        own = self._unit[position]
        cosines = [_dot(row, own) for row in self._unit]
        self._largest = cosines if self._largest is None else list(map(max, self._largest, cosines))


class _Divergence:
    """How far the list's mix with each candidate would be from the user's, times the mix's strength."""

    def __init__(self, mix: Mix) -> None:
        self._mix, self._taken = mix, [0] * len(mix.share)

    def of_candidates(self) -> Sequence[float]:
        size = sum(self._taken) + 1
        before = [self._part(n, share, size) for n, share in zip(self._taken, self._mix.share, strict=True)]
        after = [self._part(n + 1, share, size) for n, share in zip(self._taken, self._mix.share, strict=True)]
        whole = sum(before)
        # An item without a value adds to no share; its group is -1, the last.
        by_group = [*(whole + (a - b) for a, b in zip(after, before, strict=True)), whole]
        return [self._mix.strength * by_group[group] for group in self._mix.group]

    def take(self, position: int) -> None:
        group = self._mix.group[position]
        if group >= 0:
            self._taken[group] += 1

    def _part(self, count: int, share: float, size: int) -> float:
        """What a value adds to the divergence of a list of `size` items of which `count` have it."""
        return share * log(share / ((1 - SMOOTHED) * count / size + SMOOTHED * share)) if share > 0 else 0.0


class _QuotaCount:
    """How many items of each value a list has, against one quota."""

    def __init__(self, quota: GroupLimit) -> None:
        self._quota, self._counts = quota, dict.fromkeys(quota.group, 0)

    def closed_by(self, position: int) -> set[int]:
        """Count an item; the candidates of its value, once its quota is full."""
        group = self._quota.group[position]
        self._counts[group] += 1
        if group < 0 or self._counts[group] < self._quota.most:
            return set()
        return {at for at, other in enumerate(self._quota.group) if other == group}
