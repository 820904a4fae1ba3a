"""A catalogue's columns as arrays, for conditions and for rules about attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
"""NaN where missing."""


class Texts(NamedTuple):
    """A column of strings: its distinct values, and the index of each item's value, -1 where missing."""

    values: Sequence[str]
    codes: npt.NDArray[np.int32]


class Lists(NamedTuple):
    """A column with several strings in a cell: its distinct cells, and the index of each item's cell, -1 where there is
    none."""

    values: Sequence[tuple[str, ...]]
    codes: npt.NDArray[np.int32]


Value: TypeAlias = Numbers | Texts | Lists
Parameter: TypeAlias = float | int | str | bool | None
"""What ``:name`` may stand for."""
