"""The user of the test part to whom the demo recommends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgerec.errors import DataError

if TYPE_CHECKING:
    from edgerec.runtime import Events

ITEMS = (8, 30)
"""Least and most different items in the history of a shopper: enough to see why, few enough to read."""


class Shopper(NamedTuple):
    """Id, the events before the test part, the titles of their items, and the time of the first test row.

    Events name their items by id: a bundle may hold fewer items than the dataset.
    """

    user: str
    past: Events
    titles: list[str]
    now_ms: int


def find_shopper(dataset: Path) -> Shopper:
    """The first user of the test part whose history is readable, see `ITEMS`.

    Raises:
        DataError: there is none.
    """
    import polars as pl

    from edgerec.runtime import Events

    before = pl.concat([pl.scan_parquet(dataset / f"{part}.parquet") for part in ("train", "valid")], how="diagonal")
    test = pl.scan_parquet(dataset / "test.parquet")
    least, most = ITEMS
    user = (
        before.group_by("user")
        .agg(pl.col("item").n_unique().alias("items"))
        .filter(pl.col("items").is_between(least, most))
        .join(test.group_by("user").agg(pl.col("time").min().alias("now")), on="user")
        .sort("now", "user")
        .collect()
    )
    if user.is_empty():
        raise DataError(f"{dataset}: no user of the test part has {least} to {most} items in the past")
    index, _, now_ms = user.row(0)
    items = pl.scan_parquet(dataset / "items.parquet").select(pl.col("index").alias("item"), "id", "title")
    own = before.filter(pl.col("user") == index).join(items, on="item", how="left", maintain_order="left")
    past = own.sort("time", maintain_order=True).collect()  # rows of one order have one time
    name = pl.scan_parquet(dataset / "users.parquet").filter(pl.col("index") == index).select("id").collect().item()
    kind, time_ms = (past[column].cast(pl.Int64).to_numpy() for column in ("kind", "time"))
    titles = past.select(pl.coalesce("title", "id")).to_series().to_list()
    return Shopper(str(name), Events(past["id"].to_list(), kind, time_ms), titles, int(now_ms))
