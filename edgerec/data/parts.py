"""Writes the parts of a dataset: numbers of each event beside its encoded context, and the rows that were rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from edgerec.config import ContextConfig, TaskConfig
from edgerec.data.readers import Source, reading
from edgerec.data.splits import PARTS
from edgerec.data.vocabularies import EncodedColumns, Vocabulary, learn

__all__ = ["write_parts", "write_rejected"]

_CLOCK = {"hour": Vocabulary("hour", tuple(map(str, range(24)))), "weekday": Vocabulary("weekday", tuple("0123456"))}


def write_parts(
    events: pl.DataFrame,
    log_rows: pl.LazyFrame,
    context: ContextConfig,
    zone: ZoneInfo,
    tasks: Sequence[TaskConfig],
    folder: Path,
) -> EncodedColumns:
    """Write train, valid and test.parquet; returns the encoded context columns.

    Args:
        events: numbered and clipped, with a column part.
        log_rows: all rows of the log, in its order, with feature.NAME.
    """
    columns, encoded = _encoded(events, log_rows, context)
    labels = [f"label.{task.name}" for task in tasks if task.label is not None]
    session = ["session"] if "session" in events.columns else []
    clock = [_clock(name, zone) for name in context.from_time]
    for i, name in enumerate(PARTS):
        part = events.with_columns(encoded).lazy().filter(pl.col("part") == i)
        rows = part.select("row", "user", "item", "time", *session, _kind(tasks), *labels, *(c.name for c in encoded))
        rows.with_columns(clock).sink_parquet(folder / f"{name}.parquet")
    return EncodedColumns(columns.categorical + tuple(_CLOCK[name] for name in context.from_time), columns.numeric)


def _encoded(
    events: pl.DataFrame, log_rows: pl.LazyFrame, context: ContextConfig
) -> tuple[EncodedColumns, list[pl.Series]]:
    """Columns of the context, learned from the train part, and their values by event, 2 or 4 bytes each."""
    if not context.categorical and not context.numeric:
        return EncodedColumns((), ()), []
    in_train = np.zeros(log_rows.select(pl.len()).collect().item(), bool)
    in_train[events.filter(pl.col("part") == 0)["row"].to_numpy()] = True
    train = pl.concat([log_rows, pl.LazyFrame({"in train": in_train})], how="horizontal").filter("in train")
    columns = learn(train, context.categorical, context.numeric, "feature.")
    expressions = columns.encode(log_rows.collect_schema(), "feature.")
    by_row = (log_rows.select(e).collect(engine="streaming").to_series() for e in expressions)
    return columns, [values.gather(events["row"]) for values in by_row]


def write_rejected(rejected: pl.DataFrame, log: Source, folder: Path) -> None:
    """Write rejected.parquet: row, reason and the log's own columns; its own "row" or "reason" becomes source.NAME."""
    clash = {name: f"source.{name}" for name in ("row", "reason") if name in log.schema}
    source = log.frame.rename(clash).with_row_index("row")
    if rejected.is_empty():
        source = source.head(0)  # saves reading the log again
    found = source.join(rejected.lazy(), on="row", maintain_order="left")
    with reading(log.path):
        found.select("row", "reason", pl.exclude("row", "reason")).sink_parquet(folder / "rejected.parquet")


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
