"""Pairs of texts whose items are consumed together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.examples.log import Log
from edgerec.examples.requests import Ragged
from edgerec.tasks.history import Float
from edgerec.tasks.units import MS_PER_DAY

WINDOW_MS = MS_PER_DAY
"""Without sessions, an item goes with the next one that its user consumes within this time."""


@dataclass(frozen=True)
class Pairs:
    """Groups of texts that belong together; a pair is any two different texts of a group.

    Attributes:
        texts: the different texts.
        groups: indices of `texts`; each group has two or more different ones.
    """

    texts: tuple[str, ...]
    groups: Ragged

    def hash(self) -> str:
        """A hash of all that is learned from."""
        digest = hashlib.sha256("\0".join(self.texts).encode())
        for part in (self.groups.offsets, self.groups.values):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def where(self, keep: npt.NDArray[np.bool_]) -> Pairs:
        """Only the texts for which `keep` is true; their indices stay the same."""
        groups = self.groups.where(keep[self.groups.values])
        return Pairs(self.texts, groups.take(np.flatnonzero(groups.sizes() > 1)))

    def probs(self) -> Float:
        """The probability of each text to be drawn, (len(texts),)."""
        sizes = self.groups.sizes()
        weight = np.repeat(1 / np.maximum(sizes, 1), sizes)
        drawn = np.bincount(self.groups.values, weight, len(self.texts))
        probs: Float = (drawn / max(drawn.sum(), 1e-9)).astype(np.float32)
        return probs

    def draw(self, most: int, members: int, rng: np.random.Generator) -> Ragged:
        """At most `most` groups in random order, and of each at most `members` random texts."""
        chosen = self.groups.take(rng.permutation(len(self.groups))[:most])
        order = np.lexsort((rng.random(len(chosen.values)), chosen.owner()))
        rank = np.arange(len(order)) - np.repeat(chosen.offsets[:-1], chosen.sizes())
        return Ragged(chosen.offsets, chosen.values[order]).where(rank < members)


def co_consumed(log: Log, consumed: npt.NDArray[np.bool_], texts: Sequence[str], has_sessions: bool) -> Pairs:
    """The texts of each session; without sessions, of each item and the one its user consumed next.

    Args:
        consumed: (E,), rows of `log` that count.
        texts: by item; items without text, and those beyond them, make no pairs.
    """
    different = sorted({text for text in texts if text.strip()})
    place = {text: i for i, text in enumerate(different)}
    of_item = np.array([place.get(text, -1) for text in texts], np.int64)
    rows = np.flatnonzero(consumed & (log.item < len(texts)))
    rows = rows[of_item[log.item[rows]] >= 0]
    text = of_item[log.item[rows]]
    if has_sessions:
        owner, value = log.session[rows], text
    else:
        near = (log.user[rows][1:] == log.user[rows][:-1]) & (np.diff(log.time_ms[rows]) <= WINDOW_MS)
        first = np.flatnonzero(near)
        owner, value = np.repeat(np.arange(len(first)), 2), np.stack([text[first], text[first + 1]], 1).ravel()
    members = np.unique(np.stack([owner, value], 1), axis=0)
    starts = np.flatnonzero(np.diff(members[:, 0], prepend=-1))
    groups = Ragged(np.append(starts, len(members)).astype(np.int64), members[:, 1])
    return Pairs(tuple(different), groups).where(np.ones(len(different), bool))
