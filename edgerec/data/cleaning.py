"""Turns rows of the log into events; a row that is rejected has the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from edgerec.config import DataConfig, TaskConfig
from edgerec.data.ids import text_of
from edgerec.data.readers import Source, reading
from edgerec.data.times import FIRST_MS, LAST_MS, time_ms
from edgerec.errors import DataError

__all__ = ["DUPLICATE", "Cleaned", "clean", "duplicates", "label_columns"]

DUPLICATE = "duplicate"

_SAMPLE = 10_000


@dataclass(frozen=True)
class Cleaned:
    """The log's rows as events.

    Attributes:
        frame: row u32, reason str (null: not rejected), user str, item str, session str (if configured), time i64 ms,
            label.NAME f64, and the log's own columns that are features as feature.NAME.
        note: how times were read.
    """

    frame: pl.LazyFrame
    note: str


def label_columns(tasks: tuple[TaskConfig, ...]) -> list[str]:
    """Label columns by how well they tell duplicates apart: regression targets before flags."""
    order = {"regression": 0, "binary": 1, "retrieval": 2}
    labelled = [task for task in tasks if task.label is not None]
    return [f"label.{task.name}" for task in sorted(labelled, key=lambda task: order[task.kind])]


def clean(log: Source, data: DataConfig, tasks: Sequence[TaskConfig], features: list[str]) -> Cleaned:
    """Turn rows into events, each with the first reason to reject it, if there is one.

    Args:
        features: columns of the log that later steps need.

    Raises:
        DataError: a column is missing, or its type does not fit the settings.
    """
    columns: dict[str, pl.Expr] = {}
    checks: list[tuple[str, pl.Expr]] = []  # (reason, condition under which it applies)
    if data.where is not None:
        where, dtype = log.expression(data.where, "[data] where")
        if dtype != pl.Boolean:
            raise DataError(f"{log.path}: [data] where = {data.where!r}: expected a condition, got {dtype}")
        columns["_where"] = where
        checks.append(("not where", ~pl.col("_where").fill_null(False)))
    for role, text in {"user": data.user, "item": data.item, "session": data.session}.items():
        if text is not None:
            column, dtype = log.expression(text, f"[data] {role}")
            columns[role] = text_of(column, dtype, f"{log.path}: [data] {role} = {text!r}")
            checks.append((f"missing {role}", pl.col(role).is_null()))
    columns["_given"], columns["time"], note = _time(log, data.time, data.timezone)
    checks += [
        ("missing time", ~pl.col("_given")),
        ("unreadable time", pl.col("time").is_null()),
        ("impossible time", ~pl.col("time").is_between(FIRST_MS, LAST_MS, closed="left")),
    ]
    for task in tasks:
        if task.label is not None:
            name = f"label.{task.name}"
            columns[name] = _label(log, task, task.label)
            checks.append((f"missing label {task.name}", pl.col(name).is_null()))
            if task.kind == "regression":
                checks.append((f"infinite label {task.name}", ~pl.col(name).is_finite()))
            else:
                checks.append((f"label {task.name} not 0 or 1", ~pl.col(name).is_in([0.0, 1.0])))
    for feature in features:
        columns[f"feature.{feature}"] = log.expression(feature, "a feature column")[0]
    reason = pl.coalesce(*(pl.when(wrong).then(pl.lit(why)) for why, wrong in checks))
    frame = log.frame.with_row_index("_row").select(pl.col("_row").alias("row"), **columns)
    return Cleaned(frame.with_columns(reason=reason).drop("_where", "_given", strict=False), note)


def _time(log: Source, text: str, timezone: str) -> tuple[pl.Expr, pl.Expr, str]:
    """Whether a time is given, the time in ms, and how it was read."""
    what = f"{log.path}: [data] time = {text!r}"
    time, dtype = log.expression(text, "[data] time")
    given = (
        time.is_not_null() if dtype.is_integer() or dtype.is_temporal() else text_of(time, dtype, what).is_not_null()
    )
    with reading(log.path):
        sample = log.frame.select(time.alias("time")).filter(pl.col("time").is_not_null()).head(_SAMPLE).collect()
    if sample.is_empty():
        rows = log.frame.select(pl.len()).collect().item()
        raise DataError(
            f"{log.path}: has no rows; expected at least one" if not rows else f"{what}: is empty in all rows"
        )
    ms, note = time_ms(time, sample["time"], timezone, what)
    return given, ms, note


def _label(log: Source, task: TaskConfig, text: str) -> pl.Expr:
    """A label as float64; NaN counts as missing."""
    label, dtype = log.expression(text, f"[[task]] {task.name} label")
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        expected = "a number" if task.kind == "regression" else "0 or 1"
        raise DataError(
            f"{log.path}: [[task]] {task.name} label = {text!r}: expected {expected}, got {dtype}; "
            f"write a condition such as \"{text} = 'yes'\" or a CAST"
        )
    return label.cast(pl.Float64).fill_nan(None)


def duplicates(events: pl.DataFrame, labels: list[str]) -> pl.Series:
    """Rows that repeat another: same user, item and session, or same user, item and time without sessions.

    Of repeated rows the one with the largest labels stays (the longest of several watch times), then the last.

    Args:
        events: columns row, user, item, time, session (if there are sessions), and `labels`.
    """
    key = ["user", "item", "session" if "session" in events.columns else "time"]
    repeated = events.filter(pl.len().over(key) > 1).sort(*labels, "row")
    return repeated.filter(~pl.struct(key).is_last_distinct())["row"]
