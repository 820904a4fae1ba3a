"""Ids of a log that a table beside it lacks, and whether the table has them in another spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

__all__ = ["missing_ids", "near_twins"]

_ID: Final = pl.col("id").str.strip_chars()
_SPELLINGS: Final[Mapping[str, tuple[pl.Expr, str]]] = {
    "blanks around them": (_ID, "TRIM({})"),
    "upper and lower case": (_ID.str.to_lowercase(), "LOWER(TRIM({}))"),
    "leading zeros": (_ID.str.strip_chars_start("0"), "LTRIM(TRIM({}), '0')"),
    "a trailing .0": (_ID.str.replace(r"\.0+$", ""), "REPLACE({}, '.0', '')"),
    "marks between letters and digits": (_ID.str.to_lowercase().str.replace_all(r"[\W_]", ""), "REPLACE({}, '-', '')"),
}
"""By what two spellings differ in: how they become one, and the same as SQL."""


def missing_ids(ids: pl.Series, known: pl.Series, path: str, what: str) -> list[str]:
    """Sentences on the ids of a log that a table lacks; none if it has all.

    Args:
        ids, known: different ids of the log and of the table, strings.
        path: of the table. what: "items" or "users".
    """
    missing = ids.filter(~ids.is_in(known.implode()))
    if missing.is_empty():
        return []
    share = len(missing) / len(ids)
    few = ", ".join(repr(value) for value in missing.head(3))
    lines = [
        f"{path}: {len(missing):,} of {len(ids):,} {what} of the log are not in it and have no attributes "
        f"({share:.0%}), such as {few}"
    ]
    pairs = {difference: _pairs(missing, known, spelling) for difference, (spelling, _) in _SPELLINGS.items()}
    most = max(pairs, key=lambda difference: pairs[difference].height)  # of equal ones the first
    if pairs[most].height:
        own, other = pairs[most].row(0)
        sql = _SPELLINGS[most][1].format("COLUMN")
        lines.append(
            f"{path}: {pairs[most].height:,} of these differ only in {most} ({own!r} in the log, {other!r} in the "
            f"table); write both ids alike, such as {sql} in place of the column"
        )
    return lines


def _pairs(missing: pl.Series, known: pl.Series, spelling: pl.Expr) -> pl.DataFrame:
    """Ids of the log, and one of the table that has the same spelling: id, other."""
    others = pl.DataFrame({"id": known}).select(spelling.alias("key"), pl.col("id").alias("other"))
    others = others.filter(pl.col("key") != "").unique("key", keep="first", maintain_order=True)
    own = pl.DataFrame({"id": missing}).select("id", spelling.alias("key"))
    return own.join(others, on="key", maintain_order="left").select("id", "other")


def near_twins(ids: pl.Series) -> tuple[int, str, str, str] | None:
    """Ids of one log that differ only in their spelling: how many, in what, and two of them; None if there are none."""
    for difference, (spelling, _) in _SPELLINGS.items():
        keyed = pl.DataFrame({"id": ids}).select("id", spelling.alias("key")).filter(pl.col("key") != "")
        twins = keyed.group_by("key", maintain_order=True).agg("id").filter(pl.col("id").list.len() > 1)
        if twins.height:
            first, second = twins["id"][0].sort().head(2).to_list()
            return int(twins["id"].list.len().sum()), difference, first, second
    return None
