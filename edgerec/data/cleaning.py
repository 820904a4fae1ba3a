"""Turns rows of the log into events; a row that is rejected has the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from edgerec.config import DataConfig, TaskConfig
from edgerec.data.ids import refuse_rounded, text_of
from edgerec.data.readers import Source, reading
from edgerec.data.times import FIRST_MS, LAST_MS, Times, read_times
from edgerec.errors import DataError

__all__ = [
    "DUPLICATE",
    "DUPLICATE_KEY",
    "NOT_WHERE",
    "UNREADABLE_TIME",
    "Cleaned",
    "clean",
    "duplicates",
    "ids_of",
    "label_columns",
]

DUPLICATE, NOT_WHERE = "duplicate", "not where"
DUPLICATE_KEY = {
    False: "the same user, item and time, and no label that the kept row lacks",
    True: "the same user, item and session",
}
"""What rows have in common of which one is kept, without and with sessions."""
UNREADABLE_TIME = "unreadable time"


@dataclass(frozen=True)
class Cleaned:
    """The log's rows as events.

    Attributes:
        frame: row u32, reason str (null: not rejected), user str, item str, session str (if configured), time i64 ms,
            label.NAME f64, and the log's own columns that are features as feature.NAME.
        notes: how times were read, and what is missing because it could not be read.
        time_format: how times were read, as ``time_format`` of ``[data]`` takes it.
    """

    frame: pl.LazyFrame
    notes: tuple[str, ...]
    time_format: str


def label_columns(tasks: tuple[TaskConfig, ...]) -> list[str]:
    """Label columns by how well they tell duplicates apart: regression targets before flags."""
    order = {"regression": 0, "binary": 1, "retrieval": 2}
    labelled = [task for task in tasks if task.label is not None]
    return [f"label.{task.name}" for task in sorted(labelled, key=lambda task: order[task.kind])]


def ids_of(log: Source, role: str, text: str) -> pl.Expr:
    """The ids of a role of ``[data]``, a column or an SQL expression of the log, as strings.

    Raises:
        DataError: there is no such column, it holds no ids, or a program has rounded them.
    """
    column, dtype = log.expression(text, f"[data] {role}")
    what = f"{log.path}: [data] {role} = {text!r}"
    ids = text_of(column, dtype, what)
    with reading(log.path):
        refuse_rounded(log.frame, column, dtype, what)
    return ids


def clean(
    log: Source, data: DataConfig, tasks: Sequence[TaskConfig], texts: Sequence[str] = (), numbers: Sequence[str] = ()
) -> Cleaned:
    """Turn rows into events, each with the first reason to reject it, if there is one.

    Args:
        texts, numbers: columns of the log that later steps need, as they are and as numbers.

    Raises:
        DataError: a column is missing, or its type does not fit the settings.
    """
    labels = [task.label for task in tasks if task.label is not None]
    conditions = [text for text in [data.where, *labels] if text is not None]
    clock = [] if data.time in log.schema else [data.time]
    typed, notes = log.with_numbers([*conditions, *clock])
    # Ids, categories and texts are taken from the file as it is, before anything is made a number.
    own: dict[str, pl.Expr] = {}
    checks: list[tuple[str, pl.Expr]] = []  # (reason, condition under which it applies)
    for role, text in {"user": data.user, "item": data.item, "session": data.session}.items():
        if text is not None:
            own[role] = ids_of(log, role, text)
            checks.append((f"missing {role}", pl.col(role).is_null()))
    for feature in texts:
        own[f"feature.{feature}"] = log.expression(feature, "a feature column")[0]
    for feature in dict.fromkeys(numbers):
        if feature not in texts:
            own[f"feature.{feature}"] = log.number(feature, "a feature column")
    times = _time(typed, data)
    columns = {"_given": times.given, "time": times.ms}
    checks += [
        ("missing time", ~pl.col("_given")),
        (UNREADABLE_TIME, pl.col("time").is_null()),
        ("impossible time", ~pl.col("time").is_between(FIRST_MS, LAST_MS, closed="left")),
    ]
    if data.where is not None:
        columns["_where"] = _where(typed, data.where)
        checks.insert(0, (NOT_WHERE, ~pl.col("_where").fill_null(False)))
    for task in tasks:
        if task.label is not None:
            columns[f"label.{task.name}"] = _label(typed, task, task.label)
            checks += _label_checks(task)
    reason = pl.coalesce(*(pl.when(wrong).then(pl.lit(why)) for why, wrong in checks))
    kept = {name: f"_own {name}" for name in own}
    frame = log.frame.with_row_index("_row").with_columns(expr.alias(kept[name]) for name, expr in own.items())
    frame = frame.with_columns(**typed.numbers).select(
        pl.col("_row").alias("row"), **{name: pl.col(column) for name, column in kept.items()}, **columns
    )
    frame = frame.with_columns(reason=reason).drop("_where", "_given", strict=False)
    return Cleaned(frame, (f"times were read as {times.note}", *notes), times.format)


def _where(log: Source, text: str) -> pl.Expr:
    where, dtype = log.expression(text, "[data] where")
    if dtype != pl.Boolean:
        raise DataError(f"{log.path}: [data] where = {text!r}: expected a condition, got {dtype}")
    return where


def _time(log: Source, data: DataConfig) -> Times:
    """The time in ms, and how it was read."""
    what = f"{log.path}: [data] time = {data.time!r}"
    time, _ = log.expression(data.time, "[data] time")
    with reading(log.path):
        if not log.frame.select(pl.len()).head(1).collect(engine="streaming").item():
            raise DataError(f"{log.path}: has no rows; expected at least one")
        return read_times(log.frame, time, data.timezone, what, data.time_format)


def _label_checks(task: TaskConfig) -> list[tuple[str, pl.Expr]]:
    label = pl.col(f"label.{task.name}")
    missing = (f"missing label {task.name}", label.is_null())
    if task.kind == "regression":
        return [missing, (f"infinite label {task.name}", ~label.is_finite())]
    return [missing, (f"label {task.name} not 0 or 1", ~label.is_in([0.0, 1.0]))]


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

    Of repeated rows the one with the largest labels stays (the longest of several watch times), then the last. Without
    sessions another row stays, too, if one of its labels is positive and is 0 in the rows that stay: a like and a share
    in one second are two events.

    Args:
        events: columns row, user, item, time, session (if there are sessions), and `labels`.
    """
    key = ["user", "item", "session" if "session" in events.columns else "time"]
    last = pl.struct(key).is_last_distinct()
    repeated = events.filter(pl.len().over(key) > 1).sort(*labels, "row").with_columns(_stays=last)
    for label in labels if key[-1] == "time" else []:
        lacking = pl.when("_stays").then(label).max().over(key) <= 0
        chosen = repeated.filter(lacking & (pl.col(label) > 0)).filter(last)["row"]
        repeated = repeated.with_columns(_stays=pl.col("_stays") | pl.col("row").is_in(chosen.implode()))
    return repeated.filter(~pl.col("_stays"))["row"]
