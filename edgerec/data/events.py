"""The rows of a log as narrow numbers, 16 bytes each and 4 for each label: without repeats, in a fixed order, with
final indices.

Windows over users and items of all rows would take hundreds of bytes a row; sorting numbers takes eight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.config import TaskConfig
from edgerec.data.cleaning import DUPLICATE, duplicates
from edgerec.data.ids import mix, tie_keys
from edgerec.data.splits import PARTS, k_core

__all__ = ["Numbered", "clip_labels", "drop_repeats", "in_order", "number", "read_events", "read_ids"]

Array = npt.NDArray[Any]

_AT_ONCE = 1_000_000
"""Rows that are sorted together."""


def read_ids(kept: pl.LazyFrame, with_sessions: bool) -> dict[str, pl.Series]:
    """The different ids of users and items (and sessions) of the log, sorted; their places are provisional codes.

    Args:
        kept: the rows that are events, as `edgerec.data.cleaning` gives them.
    """
    roles = ["user", "item"] + (["session"] if with_sessions else [])
    return {role: kept.select(role).unique().collect(engine="streaming")[role].sort() for role in roles}


def read_events(kept: pl.LazyFrame, labels: Sequence[str], ids: dict[str, pl.Series]) -> pl.DataFrame:
    """Columns row, time, user, item (session) as provisional codes, and the labels."""
    frame = kept
    for role, values in ids.items():
        codes = pl.DataFrame({role: values}).with_row_index(f"{role}_code")
        frame = frame.join(codes.lazy(), on=role, how="left", maintain_order="left")
    events = frame.select(
        "row",
        "time",
        *(pl.col(f"{role}_code").alias(role) for role in ids),
        *(pl.col(label).cast(pl.Float32) for label in labels),
    ).collect(engine="streaming")
    return _one_time_a_session(events) if "session" in ids else events


def _one_time_a_session(events: pl.DataFrame) -> pl.DataFrame:
    """A basket is one event in time, even if the till took a minute. An id that two users share names two."""
    both = events.select(pl.col("user").cast(pl.UInt64) * pl.lit(2**32, pl.UInt64) + pl.col("session"))
    key = both.to_series().to_numpy()
    order = np.argsort(key)
    starts = np.flatnonzero(_changes(key[order]))
    time = events["time"].to_numpy()
    first = np.empty_like(time)
    first[order] = np.repeat(np.minimum.reduceat(time[order], starts), np.diff(np.append(starts, len(time))))
    return events.with_columns(time=first)


def _changes(values: Array) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before it; true at the first."""
    return np.concatenate(([True], values[1:] != values[:-1]))[: len(values)]


def drop_repeats(events: pl.DataFrame, labels: list[str], core: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events without duplicates and, if `core` is above 1, of the k-core alone; and (row, reason) of the others."""
    dropped = {DUPLICATE: _duplicates(events, labels)}
    if len(dropped[DUPLICATE]):
        events = events.filter(~pl.col("row").is_in(dropped[DUPLICATE].implode()))
    if core > 1:
        inside = k_core(events["user"].to_numpy(), events["item"].to_numpy(), core)
        dropped[f"outside the {core}-core"] = events["row"].filter(pl.Series(~inside))
        events = events.filter(pl.Series(inside))
    return events, pl.concat(
        pl.DataFrame({"row": rows}, schema={"row": pl.UInt32}).with_columns(reason=pl.lit(why))
        for why, rows in dropped.items()
    )


def _duplicates(events: pl.DataFrame, labels: list[str]) -> pl.Series:
    """Rows that repeat another, looked for only among those that share a hash with another row, and by parts of it."""
    hashed = events.select(mix("user", "item", "session" if "session" in events.columns else "time")).to_series()
    in_order = np.sort(hashed.to_numpy())
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    del in_order
    suspect = hashed.is_in(pl.Series(repeated).implode())
    n = 1 + int(suspect.sum()) // _AT_ONCE
    return pl.concat(duplicates(events.filter(suspect & (hashed % n == i)), labels) for i in range(n))


def in_order(events: pl.DataFrame, ids: dict[str, pl.Series]) -> pl.DataFrame:
    """Sorted by time, ties by a fixed hash; rows of a session stay together and sessions are numbered in this order.

    Args:
        ids: by provisional code.
    """
    time = events["time"].to_numpy()
    order = np.argsort(time, kind="stable").astype(np.uint32)
    starts = np.append(_changes(time[order]), True)
    keys = {role: tie_keys(values) for role, values in ids.items()}
    begin = 0
    while begin < len(order):
        end = min(begin + _AT_ONCE, len(order))
        end += int(starts[end:].argmax())  # to the end of the rows with one time
        tied = begin + np.flatnonzero(~(starts[begin:end] & starts[begin + 1 : end + 1]))
        rows = order[tied]
        order[tied] = rows[_by_hash(events[rows], keys)]
        begin = end
    del time, starts
    # Column by column, so that not all of them are held twice.
    events = pl.DataFrame({name: events[name].gather(order) for name in events.columns})
    if "session" not in events.columns:
        return events
    new = (pl.col("session") != pl.col("session").shift()) | (pl.col("user") != pl.col("user").shift())
    return events.with_columns(session=new.fill_null(False).cum_sum().cast(pl.UInt32))


def _by_hash(tied: pl.DataFrame, keys: dict[str, pl.Series]) -> Array:
    """The order of rows by time, then by a hash of the keys of their ids."""
    hashed = tied.select(*(values.gather(tied[role]).alias(role) for role, values in keys.items()))
    by = [tied["row"], hashed.select(mix("user", "item")).to_series()]
    if "session" in keys:
        by += [tied["session"], tied["user"], hashed.select(mix("user", "session")).to_series()]
    return np.lexsort([column.to_numpy() for column in [*by, tied["time"]]])


@dataclass(frozen=True)
class Numbered:
    """Events with final indices of users and items.

    Attributes:
        item_ids, user_ids: the ids by index.
        catalog: how many items are known by the end of each part; these are the first ones.
    """

    events: pl.DataFrame
    item_ids: pl.Series
    user_ids: pl.Series
    catalog: dict[str, int]


def number(events: pl.DataFrame, ids: dict[str, pl.Series]) -> Numbered:
    """Number items and users by first appearance, part by part; `events` have a column part."""
    events, item_ids, catalog = _number(events, ids["item"], "item")
    events, user_ids, _ = _number(events, ids["user"], "user")
    return Numbered(events, item_ids, user_ids, catalog)


def _number(events: pl.DataFrame, ids: pl.Series, role: str) -> tuple[pl.DataFrame, pl.Series, dict[str, int]]:
    place = pl.col("part").cast(pl.UInt64) * pl.lit(2**32, pl.UInt64) + pl.int_range(pl.len(), dtype=pl.UInt32)
    first = events.lazy().select(role, place=place).group_by(role).agg(pl.col("place").min())
    first_frame = first.collect(engine="streaming").sort("place")
    part = first_frame["place"].to_numpy() >> np.uint64(32)
    known = {name: int((part <= i).sum()) for i, name in enumerate(PARTS)}
    index = np.zeros(len(ids), np.uint32)
    index[first_frame[role].to_numpy()] = np.arange(len(first_frame), dtype=np.uint32)
    events = events.with_columns(pl.Series(role, index[events[role].to_numpy()]))
    return events, ids.gather(first_frame[role]), known


def clip_labels(events: pl.DataFrame, tasks: Sequence[TaskConfig]) -> tuple[pl.DataFrame, dict[str, float]]:
    """Regression labels cut at their quantile of the train part, and the values at which they are cut, by task."""
    clips = {}
    for task in tasks:
        if task.kind == "regression" and task.clip is not None:
            label = events.filter(pl.col("part") == 0)[f"label.{task.name}"]
            value = label.cast(pl.Float64).quantile(task.clip, interpolation="linear")
            assert value is not None, "the train part has rows"
            clips[task.name] = value
    cut = [pl.col(f"label.{name}").clip(upper_bound=value) for name, value in clips.items()]
    return events.with_columns(cut), clips
