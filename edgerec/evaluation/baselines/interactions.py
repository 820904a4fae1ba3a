"""Who consumed what and when: rows of a log, and the matrices that closed-form rankers are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.closed_form import Matrix, counts
from edgerec.examples.log import Log
from edgerec.metrics import decayed_counts

__all__ = ["Floats", "Int", "Interactions", "Matrix", "Ranker"]

Int: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]
Ranker: TypeAlias = Callable[[Int], Floats]
"""From users (B,) to scores of the catalogue (B, n_items), higher is better; the past is that of the interactions."""


@dataclass(frozen=True)
class Interactions:
    """E consumed rows, sorted by user, then time.

    Attributes:
        user, item, time_ms, session: int64 (E,); a row is its own session where the log has none.
        n_items: the length of the catalogue.
    """

    user: Int
    item: Int
    time_ms: Int
    session: Int
    n_users: int
    n_items: int

    @classmethod
    def of(cls, log: Log, n_items: int, label: str | None = None) -> Interactions:
        """The rows of items below `n_items`; with the name of a task's `label`, those that the task counts."""
        kept = log.item < n_items
        if label is not None:
            kept &= log.labels[label] > 0
        rows = (log.user[kept], log.item[kept], log.time_ms[kept], log.session[kept])
        return cls(*rows, n_users=len(log.offsets) - 1, n_items=n_items)

    def then(self, later: Interactions) -> Interactions:
        """These rows and those of a later log of the same users, whose sessions are others."""
        session = later.session + self.session.max(initial=-1) + 1
        pairs = (
            (self.user, later.user),
            (self.item, later.item),
            (self.time_ms, later.time_ms),
            (self.session, session),
        )
        user, item, time_ms, session = (np.concatenate(pair) for pair in pairs)
        order = np.lexsort((time_ms, user))
        return Interactions(
            user[order], item[order], time_ms[order], session[order], n_users=self.n_users, n_items=self.n_items
        )

    @cached_property
    def counts(self) -> Matrix:
        """Users by items: how often."""
        return counts(self.user, self.item, self.n_users, self.n_items)

    @cached_property
    def binary(self) -> Matrix:
        """Users by items: 1 where the user had the item."""
        binary = self.counts.copy()
        binary.data[:] = 1
        return binary

    def decayed(self, half_life_days: float) -> Floats:
        """Rows of each item, (n_items,), where one that is `half_life_days` older than the last counts half."""
        return decayed_counts(self.item, self.time_ms, self.n_items, 24 * half_life_days).astype(np.float32)

    @cached_property
    def sessions(self) -> tuple[Int, Matrix]:
        """The user of each session (S,) and sessions by items, sorted by user, then time."""
        new = np.ones(len(self.user), bool)
        new[1:] = (self.session[1:] != self.session[:-1]) | (self.user[1:] != self.user[:-1])
        number = np.cumsum(new) - 1
        items = counts(number, self.item, int(number[-1]) + 1 if len(number) else 0, self.n_items)
        items.data[:] = 1
        return self.user[new], items

    def sequences(self, longest: int) -> tuple[Int, Int]:
        """Items by user, padded on the left: (n_users, longest) and the lengths (n_users,), the latest rows."""
        ends = np.cumsum(np.bincount(self.user, minlength=self.n_users))
        place = longest - (ends[self.user] - np.arange(len(self.user)))
        keep = place >= 0
        items = np.full((self.n_users, longest), -1, np.int64)
        items[self.user[keep], place[keep]] = self.item[keep]
        return items, (items >= 0).sum(axis=1)
