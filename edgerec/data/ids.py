"""Ids as strings, and a fixed order of events with the same time."""

from __future__ import annotations

import hashlib

import polars as pl

from edgerec.errors import DataError

__all__ = ["category_of", "mix", "reads_as_missing", "refuse_rounded", "text_of", "tie_keys"]

_MULTIPLIER = 0x9E3779B97F4A7C15
_SHIFT = 2**29
_MISSING_WORDS = (
    *("na", "n/a", "#n/a", "<na>", "\\n", "null", "(null)", "none", "nan", "nil", "nat", "undefined"),
    *("-", "--", "?"),
)


def text_of(column: pl.Expr, dtype: pl.DataType, what: str = "") -> pl.Expr:
    """A column of strings or numbers as strings; blank strings and NaN become null, and 17850.0 becomes "17850".

    Raises:
        DataError: the column holds lists or other structures.
    """
    if dtype.is_float():
        return pl.when(column.is_nan()).then(None).otherwise(_float_text(column))
    if dtype.is_nested():
        raise DataError(f"{what}: expected strings or whole numbers, got {dtype}; name another column")
    text = column.cast(pl.String)
    if dtype.is_decimal():
        text = text.str.replace(r"\.0+$", "")
    return pl.when(text.str.strip_chars() != "").then(text)


def refuse_rounded(frame: pl.LazyFrame, column: pl.Expr, dtype: pl.DataType, what: str) -> None:
    """Refuse ids that a program has rounded, so that several users or items have one.

    Raises:
        DataError: floats of 2**53 and more, or texts such as 4.90000E+12.
    """
    if dtype.is_float():
        odd, why = column.abs() >= 2**53, "floats hold whole numbers only up to 9007199254740992"
    elif dtype == pl.String:
        odd, why = column.str.contains(r"^\s*\d\.\d+[eE]\+\d\d\s*$"), "a spreadsheet has left out the last digits"
    else:
        return
    value = frame.select(column.filter(odd).first().alias("id")).collect(engine="streaming").item()
    if value is not None:
        raise DataError(
            f"{what}: ids such as {value!r} are rounded, and several may have become one: {why}; write the log again "
            "with the ids as texts or whole numbers"
        )


def category_of(column: pl.Expr, dtype: pl.DataType, what: str = "") -> pl.Expr:
    """A column as categories are spelled, in a log and in an app alike: as `text_of`, and of strings True is "true" and
    4.0 is "4"; all others, such as "01", are what they are.

    Raises:
        DataError: the column holds lists or other structures.
    """
    text = text_of(column, dtype, what)
    if dtype != pl.String:
        return text
    lower = text.str.strip_chars().str.to_lowercase()
    spelled = text.str.replace(r"^(-?(?:0|[1-9]\d*))\.0+$", "$1")
    return pl.when(lower.is_in(["true", "false"])).then(lower).otherwise(spelled)


def reads_as_missing(ids: pl.Expr) -> pl.Expr:
    r"""Which of some strings are what programs write for nothing, such as NA, \N, null and -."""
    return ids.str.strip_chars().str.to_lowercase().is_in(_MISSING_WORDS)


def _float_text(column: pl.Expr) -> pl.Expr:
    whole = column.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(pl.Float64) == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))


def tie_keys(ids: pl.Series) -> pl.Series:
    """A number for each id, uint64: the id itself if all ids are whole numbers, otherwise a hash of the id."""
    if ids.str.contains(r"^(0|[1-9]\d{0,17})$").all():
        return ids.cast(pl.UInt64)
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids)
    return pl.Series(ids.name, [int.from_bytes(digest, "little") for digest in digests], dtype=pl.UInt64)


def mix(*keys: str) -> pl.Expr:
    """A fixed pseudo-random order for ties, independent of the order of the file: a multiplicative hash of uint64
    columns."""
    mixed = pl.lit(0, pl.UInt64)
    for key in keys:
        mixed = mixed.xor(pl.col(key).cast(pl.UInt64)) * pl.lit(_MULTIPLIER, pl.UInt64)
        mixed = mixed.xor(mixed // pl.lit(_SHIFT, pl.UInt64))
    return mixed
