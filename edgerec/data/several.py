"""Columns with several values in a cell, such as genres."""

from __future__ import annotations

import polars as pl

from edgerec.config import ItemsConfig, UsersConfig
from edgerec.errors import DataError
from edgerec.tasks import parts_of

__all__ = ["cut", "cut_cells", "describe"]

OTHER_MARKS = ("|", ";", ",", "/", " ")


def cut_cells(raw: pl.DataFrame, settings: ItemsConfig | UsersConfig, path: str, section: str) -> pl.DataFrame:
    """`raw` with lists of strings in raw.NAME for each column of `multi`; null where a cell has no value.

    Raises:
        DataError: cells are cut by another separator than the settings say.
    """
    for name in settings.multi:
        cells = raw[f"raw.{name}"]
        lists = cut(cells, settings.multi_separator)
        if cells.dtype == pl.String and lists.list.len().max() == 1:
            _refuse_other_mark(cells, settings.multi_separator, f"{path}: [{section}] multi {name!r}")
        raw = raw.with_columns(lists)
    return raw


def cut(cells: pl.Series, separator: str) -> pl.Series:
    """Lists of strings of a column of texts or lists, by `edgerec.tasks.parts_of`."""
    if isinstance(cells.dtype, pl.Struct) or isinstance(getattr(cells.dtype, "inner", None), pl.Struct | pl.List):
        raise DataError(
            f"multi {cells.name.removeprefix('raw.')!r}: expected texts or lists of texts, got {cells.dtype}"
        )
    lists = [list(parts_of(cell, separator)) or None for cell in cells.to_list()]
    return pl.Series(cells.name, lists, dtype=pl.List(pl.String))


def describe(lists: pl.Series, known: int, section: str) -> str:
    """One line for the screen: how many values a column of lists has, and how many of them are learned."""
    sizes = lists.list.len()
    distinct = lists.explode().drop_nulls().n_unique()
    return (
        f"[{section}] multi {lists.name.removeprefix('raw.')!r}: {distinct:,} different values, {known:,} of them "
        f"learned; {float(sizes.mean() or 0):.1f} in a cell, none in {lists.null_count():,} of {len(lists):,}"  # type: ignore[arg-type]
    )


def _refuse_other_mark(cells: pl.Series, separator: str, what: str) -> None:
    """Where no cell is cut but another mark would cut most into few values, the separator is wrong."""
    texts = cells.drop_nulls()
    for mark in OTHER_MARKS:
        share = texts.str.contains(mark, literal=True).mean()
        few = texts.str.split(mark).explode().n_unique() < 0.7 * texts.n_unique()
        if mark != separator and float(share or 0) > 0.2 and few:  # type: ignore[arg-type]
            raise DataError(
                f'{what}: no cell holds {separator!r}, such as {texts[0]!r}; set multi_separator = "{mark}"'
            )
