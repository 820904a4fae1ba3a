"""The first rows of a table, and what the names and values of its columns suggest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from edgerec.data.names import names_id
from edgerec.data.readers import Reading, Source, reading
from edgerec.data.several import cut
from edgerec.data.times import LAST_MS, time_ms
from edgerec.errors import DataError

__all__ = ["AttributeKind", "Sample", "kind_of", "sql_name"]

ROWS = 200_000
"""Rows of a sample."""
FEW_NUMBERS = 1000
"""Whole numbers with at most so many different values are categories."""
FEW_STRINGS = 10_000
"""Strings with more different values are neither categories nor, if they are single words, texts."""

YES_AND_NO = (
    *(("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("ja", "nee"), ("oui", "non")),
    *(("like", "dislike"), ("liked", "disliked"), ("up", "down"), ("thumbs up", "thumbs down"), ("👍", "👎")),
    *(("thumbs_up", "thumbs_down"), ("upvote", "downvote"), ("positive", "negative")),
    *(("sí", "no"), ("si", "no"), ("sim", "não"), ("да", "нет"), ("是", "否"), ("tak", "nie"), ("ano", "ne")),
)
"""Pairs of words for 1 and 0."""
_NO = frozenset(no for _, no in YES_AND_NO) | {"0", "none", "-"}
_SPARSE = 0.8
"""A time that at most so many rows have, such as clicked_at, tells whether something happened."""
A_FEW = 20
"""So few different values in many rows are groups, not users or items; a quarter of it if the name says id."""
SINCE_1990 = 631_152_000_000
"""1 January 1990 in ms: numbers that would be times before it are counters and measures."""

AttributeKind = Literal["text", "categorical", "numeric", "multi"]


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
        if _decimal_comma(source, rows):
            source = Source.open(str(path), Reading(decimal=","))
        rows = replace(source, frame=rows.lazy()).with_numbers(rows.columns)[0].frame.collect()
        return cls(display_path, source, rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.rows.columns

    def n_unique(self, name: str) -> int:
        """Number of different values of a column, a missing value among them."""
        return self.rows[name].n_unique()

    def values(self, name: str) -> str:
        """How many different values of a column there are, as one says it; of ids such as 85123A among numbers too."""
        where = f" in the first {ROWS:,} rows" if len(self.rows) == ROWS else ""
        count = self.source.frame.select(name).head(ROWS).collect()[name].drop_nulls().n_unique()
        return f"{count:,} different values{where}"

    def is_flag(self, name: str) -> bool:
        """Does the column hold 0 and 1, or true and false, and nothing else?"""
        column = self.rows[name].drop_nulls()
        if column.dtype == pl.Boolean:
            return column.n_unique() == 2
        return bool(
            column.dtype.is_numeric() and column.n_unique() == 2 and column.cast(pl.Float64).is_in([0.0, 1.0]).all()
        )

    def yes(self, name: str) -> str | None:
        """Of a column of two words such as yes and no, the one that means yes; None for any other column."""
        column = self.rows[name].drop_nulls()
        if column.dtype not in (pl.String, pl.Categorical, pl.Enum) or column.n_unique() != 2:
            return None
        values = column.cast(pl.String).unique().to_list()
        by_word = {str(value).strip().casefold(): str(value) for value in values}
        return next((by_word[yes] for yes, no in YES_AND_NO if by_word.keys() == {yes, no}), None)

    def mark(self, name: str) -> str | None:
        """Of a column with one value or nothing, such as Y and blank, or with a time or mostly nothing, the SQL
        condition of the rows that have something; None for any other column."""
        column = _without_blanks(self.rows[name])
        values = column.drop_nulls()
        if not 0 < len(values) < len(column) or values.dtype.is_nested():
            return None
        if values.n_unique() > 1:
            if len(values) > _SPARSE * len(column) or self.read_as_time(name) is None:
                return None
            blanks = column.null_count() > self.rows[name].null_count()
            return f"COALESCE({sql_name(name)}, '') <> ''" if blanks else f"{sql_name(name)} IS NOT NULL"
        value = values.first()
        if values.dtype.is_temporal():
            return f"{sql_name(name)} IS NOT NULL"
        if str(value).strip().casefold() in _NO or value == 0 or value is False:
            return None
        text = "'" + str(value).replace("'", "''") + "'" if values.dtype == pl.String else f"{value!r}"
        return f"COALESCE({sql_name(name)} = {text}, FALSE)"

    def share_given(self, name: str) -> float:
        """Share of the rows that have a value."""
        return 1 - _without_blanks(self.rows[name]).null_count() / len(self.rows)

    def grades(self, name: str) -> dict[str, float] | None:
        """The number in each value of a column of a few texts such as "4 stars", "4/5" and "★★★★"; None for others."""
        column = self.rows[name].drop_nulls()
        if column.dtype != pl.String or not 3 <= column.n_unique() <= 21:
            return None
        number = (
            pl.col("text").str.extract(r"^\s*(\d{1,2}(?:[.,]\d+)?)\s*[\p{L}/★⭐*]").str.replace(",", ".", literal=True)
        )
        stars = pl.when(pl.col("text").str.contains("^[★⭐☆*]+$")).then(pl.col("text").str.count_matches("[★⭐*]"))
        texts = column.unique().sort().to_frame("text")
        read = texts.select("text", number=pl.coalesce(number.cast(pl.Float64, strict=False), stars.cast(pl.Float64)))
        return None if read["number"].null_count() else dict(read.iter_rows())

    def holds_several(self, name: str) -> bool:
        """Does a cell of ids hold several of them: a list, or texts such as "a|b" whose parts change places?"""
        column = self.rows[name].drop_nulls()
        if column.dtype.is_nested():
            return not isinstance(column.dtype, pl.Struct)
        if column.dtype != pl.String or column.is_empty():
            return False
        cells = column.unique()
        if _are_lists(cells):
            return True
        for mark in _marks_in(cells):
            parts = cells.str.split(mark).list.eval(pl.element().str.strip_chars())
            later = parts.list.slice(1).explode().drop_nulls()
            if _number(later.is_in(parts.list.first().implode()).mean()) > 0.2:
                return True
        return False

    def is_number(self, name: str) -> bool:
        """Does the column hold more than two different numbers?"""
        return self.rows[name].dtype.is_numeric() and self.n_unique(name) > 2

    def may_be_id(self, name: str, words: bool = False) -> bool:
        """Can the column hold ids: strings or whole numbers, neither flags nor a handful of groups?

        Args:
            words: whether texts of several words may be ids, too.
        """
        column = self.rows[name].drop_nulls()
        distinct = column.n_unique()
        few = A_FEW if not names_id(name) else A_FEW // 4
        if distinct < 2 or self.is_flag(name) or (distinct <= few and len(column) > 40 * distinct):
            return False
        if column.dtype in (pl.String, pl.Categorical, pl.Enum):
            return words or _words_in(column) < 1
        # An integer column with a gap is read as one of floats.
        if column.dtype.is_float() or column.dtype.is_decimal():
            return bool(((column % 1) == 0).all())
        return column.dtype.is_integer()

    def differs_in_every_row(self, name: str) -> bool:
        """Is the column a number or a key of the row?"""
        column = self.rows[name]
        return column.len() > A_FEW and column.n_unique() == column.len() and not column.dtype.is_float()

    def read_as_time(self, name: str) -> str | None:
        """How the column can be read as times since 1990, None if it cannot or if some values are none."""
        values = self.rows[name].drop_nulls().head(1000)
        if values.is_empty() or values.dtype == pl.Boolean:
            return None
        try:
            ms, form = time_ms(pl.col(name), values, "UTC", name)[:2]
            read = values.to_frame().select(ms.alias("ms"))["ms"].drop_nulls()
        except (DataError, pl.exceptions.PolarsError):
            return None
        if len(read) < 0.9 * len(values):
            return None
        plausible = values.dtype.is_temporal() or SINCE_1990 <= _number(read.median()) < LAST_MS
        return form if plausible else None

    def separator(self, name: str) -> str | None:
        """What separates the several values of a cell, as in "Action|Drama"; "[]" for lists, also those written as
        text; None if there is one value, or too many different ones to be attributes."""
        column = self.rows[name].drop_nulls()
        if column.n_unique() < 2:
            return None
        if isinstance(column.dtype, pl.List | pl.Array) and not column.dtype.inner.is_nested():
            parts = column.explode().drop_nulls()
            return "[]" if parts.n_unique() <= FEW_NUMBERS else None
        if column.dtype != pl.String:
            return None
        cells = column.unique()
        if _are_lists(cells):
            return "[]" if cut(cells, ",").explode().drop_nulls().n_unique() <= FEW_NUMBERS else None
        for mark in _marks_in(cells):
            parts = cells.str.split(mark).explode().str.strip_chars()
            if parts.n_unique() <= min(0.7 * len(cells), FEW_NUMBERS) and _words_in(parts) < 2:
                return mark
        return None

    def is_attribute_of(self, name: str, key: str) -> bool:
        """Do two rows with one value of `key` have different values of `name` far less often than any two rows?"""
        known = self.rows.select(pl.col(key).alias("key"), pl.col(name).alias("value")).drop_nulls()
        if isinstance(known["value"].dtype, pl.List) and self.separator(name) is not None:
            known = known.with_columns(pl.col("value").cast(pl.List(pl.String)).list.join("|"))
        if known.is_empty() or known["value"].dtype.is_nested():
            return False
        pairs = pl.col("len") * (pl.col("len") - 1)
        same = known.group_by("key", "value").len().group_by("key").agg(same=pairs.sum(), n=pl.col("len").sum())
        several = same.filter(pl.col("n") > 1)
        values = known["value"].value_counts()["count"].cast(pl.Float64)
        within = _number(several.select((1 - pl.col("same") / (pl.col("n") * (pl.col("n") - 1))).mean()).item())
        overall = 1 - float((values * (values - 1)).sum()) / max(len(known) * (len(known) - 1), 1)
        return several.height > 1 and within <= 0.25 * overall

    def lies_within(self, name: str, low: float, high: float) -> bool:
        """Do all numbers of a column lie between two bounds, these included?"""
        return bool(self.rows[name].drop_nulls().cast(pl.Float64).is_between(low, high).all())

    def counts_for(self, name: str, user: str) -> bool:
        """Do the values of a column count 1, 2, 3, ... (or from 0) within each user, with few gaps?"""
        column = self.rows[name]
        if not column.dtype.is_integer() or column.null_count() or (column.min() or 0) < 0:  # type: ignore[operator]
            return False
        users = self.rows.group_by(user).agg(
            distinct=pl.col(name).n_unique(), span=pl.col(name).max() - pl.col(name).min() + 1, first=pl.col(name).min()
        )
        several = users.filter(pl.col("distinct") > 1)
        dense = several.filter((pl.col("span") <= 1.2 * pl.col("distinct") + 1) & (pl.col("first") <= 10))
        return several.height > 0 and dense.height > 0.8 * several.height

    def grouping(self, name: str, user: str | None) -> tuple[float, float]:
        """How many rows share a value of a column (with one user), and the share of its values that have one user."""
        keys = [name] if user is None else [name, user]
        groups = self.rows.drop_nulls(name).select(keys).unique().height
        values = max(self.rows[name].drop_nulls().n_unique(), 1)
        if user is None:
            return self.rows.height / values, 1.0
        shared = self.rows.drop_nulls(name).group_by(name).agg(pl.col(user).n_unique()).filter(pl.col(user) <= 1)
        return self.rows.height / max(groups, 1), shared.height / values

    def share_of(self, name: str, value: str) -> float:
        """Share of the rows that have a value, of those that have any."""
        return _number((self.rows[name].drop_nulls().cast(pl.String) == value).mean())

    def mean(self, name: str) -> float:
        """Mean of a column of numbers or flags."""
        return _number(self.rows[name].cast(pl.Float64).mean())

    def smallest(self, name: str) -> float:
        """Smallest value of a column of numbers."""
        return _number(self.rows[name].min())

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
    return "text" if _words_in(values) >= 1 and distinct > 100 else "categorical" if distinct <= FEW_STRINGS else None


def sql_name(column: str) -> str:
    """A column's name within an SQL expression: in quotes, unless SQL reads the bare word as this column."""
    try:
        bare = pl.sql_expr(column).meta.root_names() == [column] and column.isidentifier()
    except pl.exceptions.PolarsError:
        bare = False
    return column if bare else '"' + column.replace('"', '""') + '"'


def _are_lists(cells: pl.Series) -> bool:
    """Are texts lists, as in "[1, 2]"?"""
    return _number(cells.str.contains(r"^\s*\[.*\]\s*$").mean()) > 0.8


def _marks_in(cells: pl.Series) -> list[str]:
    """What may separate several values in a text."""
    return [mark for mark in ("|", ";", ",") if _number(cells.str.contains(mark, literal=True).mean()) >= 0.2]


def _without_blanks(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        return column
    text = pl.col(column.name)
    return column.to_frame().select(pl.when(text.str.strip_chars() != "").then(text)).to_series()


def _decimal_comma(source: Source, rows: pl.DataFrame) -> bool:
    """Do numbers of a file with another separator have a comma before their fraction, as in 4,5, and none a point?"""
    if not source.as_text or not any(note.startswith("columns are separated by") for note in source.notes):
        return False

    def mostly(form: str) -> bool:
        shares = (rows[name].drop_nulls().head(1000).str.contains(form).mean() for name in rows.columns)
        return any(_number(share) > 0.95 for share in shares)

    return mostly(r"^\s*-?\d+,\d{1,2}\s*$") and not mostly(r"^\s*-?\d+\.\d+\s*$")


def _words_in(column: pl.Series) -> float:
    """Mean number of words of a column of strings, less one."""
    return _number(column.cast(pl.String).head(10_000).str.count_matches(r"\s\S").mean())


def _number(value: object) -> float:
    """A result of Polars that is a number; 0 for that of an empty column."""
    return float(value) if isinstance(value, int | float) else 0.0
