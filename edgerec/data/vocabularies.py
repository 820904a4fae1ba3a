"""Encodes categories by a vocabulary and describes numbers by mean and deviation, both learned from train only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from edgerec.data.ids import category_of

__all__ = ["EncodedColumns", "Standardization", "Vocabulary", "learn"]


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

    def encode(self, schema: pl.Schema, prefix: str = "") -> list[pl.Expr]:
        """cat.NAME and num.NAME (float32, raw, NaN where missing) from columns named `prefix` + NAME."""
        named = [
            vocabulary.encode(category_of(pl.col(prefix + vocabulary.name), schema[prefix + vocabulary.name])).alias(
                f"cat.{vocabulary.name}"
            )
            for vocabulary in self.categorical
        ]
        return named + [
            _number(prefix + scale.name).fill_null(math.nan).alias(f"num.{scale.name}") for scale in self.numeric
        ]

    def to_json(self) -> dict[str, Any]:
        """For dataset.json."""
        return {
            "categorical": [{"name": v.name, "values": list(v.values)} for v in self.categorical],
            "numeric": [{"name": s.name, "mean": s.mean, "std": s.std} for s in self.numeric],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EncodedColumns:
        """The inverse of `to_json`."""
        return cls(
            tuple(Vocabulary(v["name"], tuple(v["values"])) for v in value["categorical"]),
            tuple(Standardization(s["name"], s["mean"], s["std"]) for s in value["numeric"]),
        )


def learn(train: pl.LazyFrame, categorical: Sequence[str], numeric: Sequence[str], prefix: str = "") -> EncodedColumns:
    """Vocabularies (most frequent value first, then by name) and scales of the rows `train`."""
    schema = train.collect_schema()
    return EncodedColumns(
        tuple(_vocabulary(train, name, prefix, schema[prefix + name]) for name in categorical),
        tuple(_scale(train, name, prefix) for name in numeric),
    )


def _vocabulary(train: pl.LazyFrame, name: str, prefix: str, dtype: pl.DataType) -> Vocabulary:
    counted = (
        train.select(value=category_of(pl.col(prefix + name), dtype, name))
        .drop_nulls()
        .group_by("value")
        .len()
        .sort("len", "value", descending=[True, False])
        .collect(engine="streaming")
    )
    return Vocabulary(name, tuple(counted["value"]))


def _scale(train: pl.LazyFrame, name: str, prefix: str) -> Standardization:
    value = _number(prefix + name).cast(pl.Float64)
    value = pl.when(value.is_finite()).then(value)
    mean, std = train.select(mean=value.mean(), std=value.std(ddof=0)).collect(engine="streaming").row(0)
    return Standardization(name, mean or 0.0, std or 1.0)


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float32, strict=False)
