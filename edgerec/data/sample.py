"""The first rows of a table, and what the names and values of its columns suggest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from edgerec.data.readers import Source, reading
from edgerec.data.times import time_ms
from edgerec.errors import DataError

__all__ = ["AttributeKind", "Sample", "best_named", "kind_of", "words_of"]

ROWS = 200_000
"""Rows of a sample."""
FEW_NUMBERS = 1000
"""Whole numbers with at most so many different values are categories."""
FEW_STRINGS = 10_000
"""Strings with more different values are neither categories nor, if they are single words, texts."""

AttributeKind = Literal["text", "categorical", "numeric"]


@dataclass(frozen=True)
class Sample:
    """A table and its first rows.

    Attributes:
        path: as messages name the table.
        source: the whole table.
        rows: its first rows, at least one.
    """

    path: str
    source: Source
    rows: pl.DataFrame

    @classmethod
    def open(cls, path: Path, display_path: str) -> Sample:
        """Read the first rows; `display_path` is how messages and settings name the path.

        Raises:
            DataError: the table cannot be read or is empty.
        """
        source = Source.open(str(path))
        with reading(str(path)):
            rows = source.frame.head(ROWS).collect()
        if rows.is_empty():
            raise DataError(f"{path}: has no rows; expected at least one")
        rows = replace(source, frame=rows.lazy()).with_numbers(rows.columns)[0].frame.collect()
        return cls(display_path, source, rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.rows.columns

    def n_unique(self, name: str) -> int:
        """Number of different values of a column, a missing value among them."""
        return self.rows[name].n_unique()

    def is_flag(self, name: str) -> bool:
        """Does the column hold 0 and 1, or true and false, and nothing else?"""
        column = self.rows[name].drop_nulls()
        if column.dtype == pl.Boolean:
            return column.n_unique() == 2
        return bool(
            column.dtype.is_numeric() and column.n_unique() == 2 and column.cast(pl.Float64).is_in([0.0, 1.0]).all()
        )

    def is_number(self, name: str) -> bool:
        """Does the column hold more than two different numbers?"""
        return self.rows[name].dtype.is_numeric() and self.n_unique(name) > 2

    def may_be_id(self, name: str) -> bool:
        """Can the column hold ids that several rows share?"""
        column = self.rows[name]
        whole = column.dtype.is_integer() or column.dtype == pl.String
        return whole and 2 <= column.n_unique() <= 0.9 * len(column) and not self.is_flag(name)

    def time_format(self, name: str) -> str | None:
        """How the column can be read as times, None if it cannot."""
        values = self.rows[name].drop_nulls().head(1000)
        if values.is_empty() or values.dtype == pl.Boolean:
            return None
        try:
            return time_ms(pl.col(name), values, "UTC", name)[1]
        except DataError:
            return None

    def is_attribute_of(self, name: str, key: str) -> bool:
        """Has `name` one value in the rows of nearly every value of `key`?"""
        groups = (
            self.rows.group_by(key).agg(pl.col(name).drop_nulls().n_unique(), rows=pl.len()).filter(pl.col("rows") > 1)
        )
        return groups.height > 1 and groups.filter(pl.col(name) <= 1).height > 0.75 * groups.height

    def mean(self, name: str) -> float:
        """Mean of a column of numbers or flags."""
        return _number(self.rows[name].cast(pl.Float64).mean())

    def largest(self, name: str) -> float:
        """Largest value of a column of numbers."""
        return _number(self.rows[name].max())


def kind_of(column: pl.Series, is_id: bool) -> AttributeKind | None:
    """The kind of attribute that a column holds; None for a constant column and for one that is none of these."""
    values = column.drop_nulls()
    distinct = values.n_unique()
    if distinct < 2:
        return None
    if values.dtype.is_float():
        return "numeric" if distinct > 20 else "categorical"
    if values.dtype.is_integer() or values.dtype == pl.Boolean:
        return "categorical" if is_id or distinct <= FEW_NUMBERS else "numeric"
    if values.dtype != pl.String:
        return None
    many_words = _number(values.head(10_000).str.count_matches(r"\s\S").mean()) >= 1
    return "text" if many_words and distinct > 100 else "categorical" if distinct <= FEW_STRINGS else None


def words_of(name: str) -> set[str]:
    """Lower-case words of a column's name: "StockCode" and "stock_code" are stock and code."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[a-z]+", spaced.lower())
    return {*words, *(word.removesuffix("id") for word in words if len(word) > 4 and word.endswith("id"))}


def best_named(words: Sequence[str], columns: Iterable[str], never: Sequence[str] = ()) -> str | None:
    """The column whose name holds the first of `words` and none of `never`; id or code in it takes precedence."""
    best: tuple[tuple[int, int], str] | None = None
    for name in columns:
        parts = words_of(name)
        hits = [i for i, word in enumerate(words) if word in parts]
        if hits and not parts.intersection(never):
            rank = (0 if parts & {"id", "code", "no", "number"} else 1, hits[0])
            best = min(best, (rank, name)) if best else (rank, name)
    return best[1] if best else None


def _number(value: object) -> float:
    """A result of Polars that is a number; 0 for that of an empty column."""
    return float(value) if isinstance(value, int | float) else 0.0
