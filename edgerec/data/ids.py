"""Ids as strings, and a fixed order of events with the same time."""

from __future__ import annotations

import hashlib

import polars as pl

from edgerec.errors import DataError

__all__ = ["mix", "text_of", "tie_keys"]

_MULTIPLIER = 0x9E3779B97F4A7C15
_SHIFT = 2**29


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
    return pl.when(text.str.strip_chars() != "").then(text)


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
