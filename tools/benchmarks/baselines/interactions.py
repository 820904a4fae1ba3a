"""Who consumed what and when: the rows of a log that a ranking task learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from edgerec.examples.load import LearningData
from edgerec.metrics.baselines import RecentPopularity
from edgerec.tasks import Task

Int: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]
Matrix: TypeAlias = sparse.csr_matrix
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
    def of(cls, data: LearningData, task: Task) -> Interactions:
        """The rows that `task` counts as consumption among those that may be learned from."""
        log = data.train_log
        consumed = log.labels[task.name] > 0 if task.label is not None else np.ones(len(log), bool)
        rows = (log.user[consumed], log.item[consumed], log.time_ms[consumed], log.session[consumed])
        return cls(*rows, n_users=len(log.offsets) - 1, n_items=data.n_items)

    @cached_property
    def counts(self) -> Matrix:
        """Users by items: how often."""
        ones = np.ones(len(self.user), np.float32)
        return sparse.csr_matrix((ones, (self.user, self.item)), shape=(self.n_users, self.n_items))

    @cached_property
    def binary(self) -> Matrix:
        """Users by items: 1 where the user had the item."""
        binary = self.counts.copy()
        binary.data[:] = 1
        return binary

    def decayed(self, half_life_days: float) -> Floats:
        """Rows of each item, (n_items,), where one that is `half_life_days` older than the last counts half."""
        popularity: Floats = RecentPopularity(self.item, self.time_ms, self.n_items, half_life_days).popularity
        return popularity.astype(np.float32)

    @cached_property
    def sessions(self) -> tuple[Int, Matrix]:
        """The user of each session (S,) and sessions by items, sorted by user, then time."""
        new = np.ones(len(self.user), bool)
        new[1:] = (self.session[1:] != self.session[:-1]) | (self.user[1:] != self.user[:-1])
        number = np.cumsum(new) - 1
        shape = (int(number[-1]) + 1 if len(number) else 0, self.n_items)
        items = sparse.csr_matrix((np.ones(len(number), np.float32), (number, self.item)), shape=shape)
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


def pieces(interactions: Interactions, longest: int) -> Int:
    """The rows of each user in pieces of `longest` that share their ends, padded on the left with -1.

    >>> three = np.zeros(3, np.int64)
    >>> pieces(Interactions(three, three, three, three, n_users=1, n_items=1), 2).tolist()
    [[1, 2], [0, 1]]
    """
    padded = []
    ends = np.cumsum(np.bincount(interactions.user, minlength=interactions.n_users))
    for rows in np.split(np.arange(len(interactions.user)), ends[:-1]):
        for end in range(len(rows), 1, 1 - longest):
            piece = rows[max(end - longest, 0) : end]
            padded.append(np.pad(piece, (longest - len(piece), 0), constant_values=-1))
    return np.array(padded, np.int64).reshape(-1, longest)
