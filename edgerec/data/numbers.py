"""Text as numbers: one rule for labels, conditions, attributes and features, and a count of what is no number."""

from __future__ import annotations

from typing import Literal

import polars as pl

__all__ = ["Decimal", "number_of", "plain_number_of", "truth_of"]

Decimal = Literal[".", ","]
"""The mark before the fraction of a number."""


def number_of(text: pl.Expr, decimal: Decimal = ".") -> pl.Expr:
    """A column of strings as float64; null where it is no number.

    Groups of three digits may be marked by the other mark: "1,100.50", or with a decimal comma "1.100,50". A minus may
    stand behind, "1-", and brackets are one, "(1)", as accounts have it.
    """
    text = text.str.strip_chars().str.replace(r"^(?:\(([\d.,]+)\)|(\d[\d.,]*)-)$", "-${1}${2}")
    if decimal == ",":
        grouped = text.str.contains(r"^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$")
        text = pl.when(grouped).then(text.str.replace_all(".", "", literal=True)).otherwise(text)
        text = pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", ".", literal=True))
    else:
        grouped = text.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$")
        text = pl.when(grouped).then(text.str.replace_all(",", "", literal=True)).otherwise(text)
    return text.cast(pl.Float64, strict=False).fill_nan(None)


def plain_number_of(text: pl.Expr, decimal: Decimal = ".") -> pl.Expr:
    """The same for digits without groups and blanks, with a decimal comma without a fraction; many times as fast."""
    return text.cast(pl.Float64, strict=False) if decimal == "." else text.cast(pl.Int64, strict=False).cast(pl.Float64)


def truth_of(text: pl.Expr) -> pl.Expr:
    """A column of strings as booleans; null where it is neither true nor false, in any case of letters."""
    lower = text.str.strip_chars().str.to_lowercase()
    return pl.when(lower == "true").then(True).when(lower == "false").then(False)
