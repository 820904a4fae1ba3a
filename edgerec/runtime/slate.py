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
    n = len(utility)
    span = float(utility.max() - utility.min()) if n else 0.0
    relevance = (utility - utility.min()) / (span or 1.0) if n else utility
    strength = mix.strength if mix is not None else 0.0
    base = ((1 - diversity - strength) * relevance).astype(np.float64)
    open_ = np.zeros(n)  # -inf once an item was taken or its quota is full
    unit = unit_rows(vectors) if diversity and vectors is not None else None
    likeness = np.full(n, -1.0 if unit is not None else 0.0)
    taken = np.zeros(0 if mix is None else len(mix.share))
    counts = [np.zeros(int(q.group.max(initial=-1)) + 1, np.int64) for q in quotas]
    chosen: list[int] = []
    while len(chosen) < min(k, n):
        gain = base + open_
        if unit is not None and chosen:
            gain -= diversity * likeness
        if mix is not None:
            gain -= mix.strength * _divergence(mix, taken)
        best = int(gain.argmax())
        if gain[best] == -np.inf:
            break
        chosen.append(best)
        open_[best] = -np.inf
        if unit is not None:
            np.maximum(likeness, unit @ unit[best], out=likeness)
        if mix is not None and mix.group[best] >= 0:
            taken[mix.group[best]] += 1
        for quota, count in zip(quotas, counts, strict=True):
            group = quota.group[best]
            if group >= 0:
                count[group] += 1
                if count[group] >= quota.most:
                    open_[quota.group == group] = -np.inf
    return np.array(chosen, np.int64)


def unit_rows(vectors: Float) -> Float:
    """Rows of length 1, or 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def _divergence(mix: Mix, taken: Double) -> Double:
    """For each candidate, the divergence of the list's mix with it from the user's."""
    size = taken.sum() + 1
    share, some = mix.share, mix.share > 0

    def part(count: Double) -> Double:
        own = (1 - SMOOTHED) * count / size + SMOOTHED * share
        return np.where(some, share * np.log(np.where(some, share / np.where(some, own, 1), 1)), 0.0)

    before, after = part(taken), part(taken + 1)
    by_group = before.sum() + (after - before)
    without = before.sum()  # an item without a value adds to no share
    divergence: Double = np.where(mix.group >= 0, by_group[mix.group] if len(by_group) else without, without)
    return divergence
