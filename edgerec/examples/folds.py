"""Groups of users: what is learned from all but one group labels that one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Int


def fold_of(user: Int, folds: int) -> npt.NDArray[np.int64]:
    """The fold of each user: a fixed hash, so that neighbouring numbers fall apart."""
    mixed = (user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(folds)).astype(np.int64)


def by_fold(user: Int, folds: int) -> Iterator[tuple[int, Int]]:
    """Each fold with the places of its users' examples: the model of a fold labels these, which it did not see."""
    fold = fold_of(user, folds)
    for number in range(folds):
        yield number, np.flatnonzero(fold == number)
