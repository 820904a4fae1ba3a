"""A catalogue's columns, for conditions and for rules about attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from edgerec.tasks.buffers import Doubles, Ints

Numbers: TypeAlias = Doubles
"""Finite, or NaN where missing."""


class Texts(NamedTuple):
    """A column of strings: its distinct values, and int32 the index of each item's value, -1 where missing."""

    values: Sequence[str]
    codes: Ints


class Lists(NamedTuple):
    """A column with several strings in a cell: its distinct cells, and int32 the index of each item's cell, -1 where
    there is none."""

    values: Sequence[tuple[str, ...]]
    codes: Ints


Value: TypeAlias = "Numbers | Texts | Lists"
Parameter: TypeAlias = float | int | str | bool | None
"""What ``:name`` may stand for."""
