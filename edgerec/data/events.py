"""The rows of a log as narrow numbers, about 50 bytes each: without repeats, in a fixed order, with final indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from edgerec.config import TaskConfig
from edgerec.data.cleaning import DUPLICATE, duplicates
from edgerec.data.ids import mix, tie_keys
from edgerec.data.splits import PARTS, k_core

__all__ = ["Numbered", "clip_labels", "drop_repeats", "in_order", "number", "read_events"]


def read_events(kept: pl.LazyFrame, labels: Sequence[str], with_sessions: bool) -> pl.DataFrame:
    """Columns row, time, user, item (session) as provisional codes, their tie keys, and the labels.

    Args:
        kept: the rows that are events, as `edgerec.data.cleaning` gives them.
    """
    roles = ["user", "item"] + (["session"] if with_sessions else [])
    frame = kept
    for role in roles:
        ids = _ids(kept, role)
        codes = pl.DataFrame({role: ids, f"{role}_key": tie_keys(ids)}).with_row_index(f"{role}_code")
        frame = frame.join(codes.lazy(), on=role, how="left")
    events = frame.select(
        "row",
        "time",
        *(pl.col(f"{role}_code").alias(role) for role in roles),
        *(f"{role}_key" for role in roles),
        *(pl.col(label).cast(pl.Float32) for label in labels),
    ).collect(engine="streaming")
    if with_sessions:
        # A basket is one event in time, even if the till took a minute. An id that two users share names two.
        events = events.with_columns(pl.col("time").min().over("user", "session"))
    return events


def drop_repeats(events: pl.DataFrame, labels: list[str], core: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events without duplicates and, if `core` is above 1, of the k-core alone; and (row, reason) of the others."""
    dropped = {DUPLICATE: duplicates(events, labels)}
    events = events.filter(~pl.col("row").is_in(dropped[DUPLICATE].implode()))
    if core > 1:
        left = k_core(events, core)
        dropped[f"outside the {core}-core"] = events.join(left.select("row"), on="row", how="anti")["row"]
        events = left
    return events, pl.concat(
        pl.DataFrame({"row": rows}, schema={"row": pl.UInt32}).with_columns(reason=pl.lit(why))
        for why, rows in dropped.items()
    )


def in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Sorted by time, ties by a fixed hash; rows of a session stay together and sessions are numbered in this order."""
    tie = mix("user_key", "item_key")
    if "session" not in events.columns:
        return events.sort("time", tie, "row").drop("user_key", "item_key")
    session = mix("user_key", "session_key")
    events = events.sort("time", session, "user", "session", tie, "row")
    new = (pl.col("session") != pl.col("session").shift()) | (pl.col("user") != pl.col("user").shift())
    return events.with_columns(session=new.fill_null(False).cum_sum().cast(pl.UInt32)).drop(
        "user_key", "item_key", "session_key"
    )


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


def number(events: pl.DataFrame, kept: pl.LazyFrame) -> Numbered:
    """Number items and users by first appearance, part by part; `events` have a column part."""
    events, item_ids, catalog = _number(events, kept, "item")
    events, user_ids, _ = _number(events, kept, "user")
    return Numbered(events, item_ids, user_ids, catalog)


def _number(events: pl.DataFrame, kept: pl.LazyFrame, role: str) -> tuple[pl.DataFrame, pl.Series, dict[str, int]]:
    first = (
        events.select(role, "part")
        .with_row_index("order")
        .group_by(role)
        .agg(pl.col("part").min(), pl.col("order").sort_by("part", "order").first())
        .sort("part", "order")
        .with_row_index("index")
    )
    known = {name: int((first["part"] <= i).sum()) for i, name in enumerate(PARTS)}
    events = events.with_columns(pl.col(role).replace_strict(first[role], first["index"], return_dtype=pl.UInt32))
    return events, _ids(kept, role).gather(first[role]), known


def _ids(kept: pl.LazyFrame, role: str) -> pl.Series:
    """Different ids in order, which provisional codes count."""
    return kept.select(role).unique().sort(role).collect(engine="streaming")[role]


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
