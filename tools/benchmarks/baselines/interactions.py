"""Who consumed what and when: the rows of a log that a ranking task learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from edgerec.tasks import Task
from edgerec.training.load import LearningData

Int: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]
Matrix: TypeAlias = sparse.csr_matrix
Ranker: TypeAlias = Callable[[Int], Floats]
"""From users (B,) to scores of the catalogue (B, n_items), higher is better. The past is that of the rows seen."""

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Seen:
    """E consumed rows, sorted by user, then time.

    Attributes:
        user, item, time_ms, visit: int64 (E,); a visit is a session, or a row where there are none.
        n_items: the catalogue, of which the first `n_known` have rows.
    """

    user: Int
    item: Int
    time_ms: Int
    visit: Int
    n_users: int
    n_items: int

    @classmethod
    def of(cls, data: LearningData, task: Task) -> Seen:
        """The rows that `task` counts as consumption among those that may be learned from."""
        log = data.fit_log
        keep = log.labels[task.name] > 0 if task.label is not None else np.ones(len(log), bool)
        rows = (log.user[keep], log.item[keep], log.time_ms[keep], log.visit[keep])
        return cls(*rows, n_users=len(log.offsets) - 1, n_items=data.n_items)

    @cached_property
    def counts(self) -> Matrix:
        """Users by items: how often."""
        ones = np.ones(len(self.user), np.float32)
        return sparse.csr_matrix((ones, (self.user, self.item)), shape=(self.n_users, self.n_items))

    @cached_property
    def held(self) -> Matrix:
        """Users by items: 1 where the user had the item."""
        held = self.counts.copy()
        held.data[:] = 1
        return held

    def decayed(self, half_life_days: float) -> Floats:
        """Rows of each item, (n_items,), where one that is `half_life_days` older than the last counts half."""
        age_days = (self.time_ms.max(initial=0) - self.time_ms) / DAY_MS
        return np.bincount(self.item, 0.5 ** (age_days / half_life_days), self.n_items).astype(np.float32)

    @cached_property
    def visits(self) -> tuple[Int, Matrix]:
        """The user of each visit (V,) and visits by items, sorted by user, then time."""
        new = np.ones(len(self.user), bool)
        new[1:] = (self.visit[1:] != self.visit[:-1]) | (self.user[1:] != self.user[:-1])
        number = np.cumsum(new) - 1
        shape = (int(number[-1]) + 1 if len(number) else 0, self.n_items)
        found = sparse.csr_matrix((np.ones(len(number), np.float32), (number, self.item)), shape=shape)
        found.data[:] = 1
        return self.user[new], found

    def sequences(self, longest: int) -> tuple[Int, Int]:
        """Items by user, padded on the left: (n_users, longest) and the lengths (n_users,), the latest rows."""
        ends = np.cumsum(np.bincount(self.user, minlength=self.n_users))
        place = longest - (ends[self.user] - np.arange(len(self.user)))
        keep = place >= 0
        items = np.full((self.n_users, longest), -1, np.int64)
        items[self.user[keep], place[keep]] = self.item[keep]
        return items, (items >= 0).sum(axis=1)


def pieces(seen: Seen, longest: int) -> Int:
    """The rows of each user in pieces of `longest` that share their ends, padded on the left with -1.

    >>> three = np.zeros(3, np.int64)
    >>> pieces(Seen(three, three, three, three, n_users=1, n_items=1), 2).tolist()
    [[1, 2], [0, 1]]
    """
    found = []
    for rows in np.split(np.arange(len(seen.user)), np.cumsum(np.bincount(seen.user, minlength=seen.n_users))[:-1]):
        for end in range(len(rows), 1, 1 - longest):
            piece = rows[max(end - longest, 0) : end]
            found.append(np.pad(piece, (longest - len(piece), 0), constant_values=-1))
    return np.array(found, np.int64).reshape(-1, longest)
