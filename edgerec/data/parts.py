"""Writes the parts of a dataset: numbers of each event beside its encoded context, and the rows that were rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from edgerec.config import ContextConfig, TaskConfig
from edgerec.data.readers import Source, reading
from edgerec.data.splits import PARTS
from edgerec.data.vocabularies import EncodedColumns, Vocabulary, learn

__all__ = ["write_parts", "write_rejected"]

_CLOCK = {"hour": Vocabulary("hour", tuple(map(str, range(24)))), "weekday": Vocabulary("weekday", tuple("0123456"))}


def write_parts(
    events: pl.DataFrame,
    kept: pl.LazyFrame,
    context: ContextConfig,
    zone: ZoneInfo,
    tasks: Sequence[TaskConfig],
    folder: Path,
) -> EncodedColumns:
    """Write train, valid and test.parquet; returns the encoded context columns.

    Args:
        events: numbered and clipped, with a column part. kept: the rows of the log with feature.NAME.
    """
    train_rows = events.lazy().filter(pl.col("part") == 0).select("row")
    train = kept.join(train_rows, on="row", how="semi")
    columns = learn(train, context.categorical, context.numeric, "feature.")
    encoded = kept.select("row", *columns.encode(kept.collect_schema(), "feature."))
    labels = [f"label.{task.name}" for task in tasks if task.label is not None]
    session = ["session"] if "session" in events.columns else []
    clock = [_clock(name, zone) for name in context.from_time]
    for i, name in enumerate(PARTS):
        part = events.lazy().filter(pl.col("part") == i)
        rows = part.select("row", "user", "item", "time", *session, _kind(tasks), *labels)
        rows = rows.join(encoded, on="row", how="left", maintain_order="left").with_columns(clock)
        rows.sink_parquet(folder / f"{name}.parquet")
    return EncodedColumns(columns.categorical + tuple(_CLOCK[name] for name in context.from_time), columns.numeric)


def write_rejected(rejected: pl.DataFrame, log: Source, folder: Path) -> None:
    """Write rejected.parquet: row, reason and the log's own columns; its own "row" or "reason" becomes source.NAME."""
    clash = {name: f"source.{name}" for name in ("row", "reason") if name in log.schema}
    source = log.frame.rename(clash).with_row_index("row")
    reasons = rejected.lazy().sort("row")
    with reading(log.path):
        reasons.join(source, on="row", how="left", maintain_order="left").sink_parquet(folder / "rejected.parquet")


def _kind(tasks: Sequence[TaskConfig]) -> pl.Expr:
    """The kind of an event: a bit for each binary task."""
    bits = [
        pl.col(f"label.{task.name}").cast(pl.UInt8) * (1 << bit)
        for bit, task in enumerate(task for task in tasks if task.kind == "binary")
    ]
    return (pl.sum_horizontal(bits).cast(pl.UInt8) if bits else pl.lit(0, pl.UInt8)).alias("kind")


def _clock(name: str, zone: ZoneInfo) -> pl.Expr:
    local = pl.from_epoch("time", "ms").dt.replace_time_zone("UTC").dt.convert_time_zone(zone.key)
    value = local.dt.hour() + 1 if name == "hour" else local.dt.weekday()
    return value.cast(pl.UInt16).alias(f"cat.{name}")
