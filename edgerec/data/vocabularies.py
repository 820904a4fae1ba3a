"""Encodes categories by a vocabulary and describes numbers by mean and deviation, both learned from train only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from edgerec.data.ids import category_of

__all__ = ["EncodedColumns", "Parts", "Standardization", "Vocabulary", "learn", "learn_parts"]


@dataclass(frozen=True)
class Vocabulary:
    """Values of a categorical column: ``values[i]`` has index i + 1; 0 is missing or unknown."""

    name: str
    values: tuple[str, ...]

    def encode(self, text: pl.Expr) -> pl.Expr:
        """Indices of a column of strings, u16 if they fit."""
        dtype = pl.UInt16 if len(self.values) < 2**16 else pl.UInt32
        if not self.values:
            return pl.lit(0, dtype)
        indices = list(range(1, len(self.values) + 1))
        return text.replace_strict(list(self.values), indices, default=0, return_dtype=dtype)


@dataclass(frozen=True)
class Parts:
    """Values of a column with several in a cell: ``values[i]`` has index i + 1; others have none."""

    name: str
    values: tuple[str, ...]
    separator: str

    def encode(self, cells: pl.Expr) -> pl.Expr:
        """Lists of indices, u16, of lists of strings; an empty list where no value is known."""
        none = pl.lit([], pl.List(pl.UInt16))
        if not self.values:
            return pl.when(True).then(none)
        indices = list(range(1, len(self.values) + 1))
        known = pl.element().replace_strict(list(self.values), indices, default=None, return_dtype=pl.UInt16)
        return cells.list.eval(known).list.drop_nulls().fill_null(none)


@dataclass(frozen=True)
class Standardization:
    """Mean and standard deviation of a numeric column; a constant column has deviation 1."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class EncodedColumns:
    """The encoded columns of the log's context, of the items or of the users."""

    categorical: tuple[Vocabulary, ...]
    numeric: tuple[Standardization, ...]
    multi: tuple[Parts, ...] = ()

    def encode(self, schema: pl.Schema, prefix: str = "") -> list[pl.Expr]:
        """cat.NAME, multi.NAME and num.NAME (float32, raw, NaN where missing) from columns named `prefix` + NAME."""
        named = [
            vocabulary.encode(category_of(pl.col(prefix + vocabulary.name), schema[prefix + vocabulary.name])).alias(
                f"cat.{vocabulary.name}"
            )
            for vocabulary in self.categorical
        ]
        named += [parts.encode(pl.col(prefix + parts.name)).alias(f"multi.{parts.name}") for parts in self.multi]
        return named + [
            _number(prefix + scale.name).fill_null(math.nan).alias(f"num.{scale.name}") for scale in self.numeric
        ]

    def to_json(self) -> dict[str, Any]:
        """For dataset.json."""
        return {
            "categorical": [{"name": v.name, "values": list(v.values)} for v in self.categorical],
            "numeric": [{"name": s.name, "mean": s.mean, "std": s.std} for s in self.numeric],
            "multi": [{"name": p.name, "values": list(p.values), "separator": p.separator} for p in self.multi],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EncodedColumns:
        """The inverse of `to_json`."""
        return cls(
            tuple(Vocabulary(v["name"], tuple(v["values"])) for v in value["categorical"]),
            tuple(Standardization(s["name"], s["mean"], s["std"]) for s in value["numeric"]),
            tuple(Parts(p["name"], tuple(p["values"]), p["separator"]) for p in value.get("multi", ())),
        )


def learn(train: pl.LazyFrame, categorical: Sequence[str], numeric: Sequence[str], prefix: str = "") -> EncodedColumns:
    """Vocabularies (most frequent value first, then by name) and scales of the rows `train`."""
    schema = train.collect_schema()
    return EncodedColumns(
        tuple(_vocabulary(train, name, prefix, schema[prefix + name]) for name in categorical),
        tuple(_scale(train, name, prefix) for name in numeric),
    )


def learn_parts(cells: pl.Series, name: str, separator: str, most: int) -> Parts:
    """The `most` frequent values of a column of lists of strings, then by name."""
    return Parts(
        name, tuple(_by_frequency(cells.explode().alias("value").to_frame().lazy())["value"].head(most)), separator
    )


def _vocabulary(train: pl.LazyFrame, name: str, prefix: str, dtype: pl.DataType) -> Vocabulary:
    values = train.select(value=category_of(pl.col(prefix + name), dtype, name))
    return Vocabulary(name, tuple(_by_frequency(values)["value"]))


def _by_frequency(values: pl.LazyFrame) -> pl.DataFrame:
    counted = values.drop_nulls().group_by("value").len().sort("len", "value", descending=[True, False])
    return counted.collect(engine="streaming")


def _scale(train: pl.LazyFrame, name: str, prefix: str) -> Standardization:
    value = _number(prefix + name).cast(pl.Float64)
    value = pl.when(value.is_finite()).then(value)
    mean, std = train.select(mean=value.mean(), std=value.std(ddof=0)).collect(engine="streaming").row(0)
    return Standardization(name, mean or 0.0, std or 1.0)


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float32, strict=False)
