"""The public files, and the parts that the published protocols hold out of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from edgerec.errors import DataError
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

Part: TypeAlias = Literal["valid", "test"]
PARTS = ("train", "valid", "test")
END_MS = 1_704_067_200_000
"""The time of every user's test event; the files have an order, but no clock, so that times count back from it."""
EVEN = 96
"""Latest steps of a user that lie evenly apart; those before come ever closer together."""
SEED = 0
"""Draws the order of a set that has none."""


@dataclass(frozen=True)
class Protocol:
    """How one public set is split and scored.

    Attributes:
        step: column that orders a user's rows; rows of one step are a basket. None: the file has parts, and no order.
        k: the published list lengths.
        repeats: may an item of the user's past be listed?
        step_ms: time between two steps.
        whole_ideal: the ideal list of NDCG holds all true items, even if there are more than `k`.
        settings: name of the settings file.
    """

    step: str | None
    k: tuple[int, ...]
    repeats: bool
    step_ms: int
    whole_ideal: bool = False
    settings: str | None = None


SETS = {
    "beauty": Protocol("position", (10,), False, MS_PER_HOUR),
    "sports": Protocol("position", (10,), False, MS_PER_HOUR, settings="beauty"),
    "toys": Protocol("position", (10,), False, MS_PER_HOUR, settings="beauty"),
    "ml1m": Protocol("position", (10,), False, MS_PER_HOUR),
    "gowalla": Protocol(None, (20,), False, MS_PER_DAY),
    "tafeng": Protocol("basket", (10,), True, MS_PER_DAY, whole_ideal=True),
}


@dataclass(frozen=True)
class PublicSet:
    """One public set.

    Attributes:
        rows: user, item, step and part (index into `PARTS`), int64, by user and step.
        items: item and what the file of items says of it; None: there is no such file.
    """

    name: str
    protocol: Protocol
    rows: pl.DataFrame
    items: pl.DataFrame | None

    @classmethod
    def read(cls, name: str, folder: Path) -> PublicSet:
        """Read the public files of a set.

        Raises:
            DataError: a file or a column is missing.
        """
        protocol = SETS[name]
        if protocol.step is None:
            parts = [_table(folder, f"{name}.{part}", ("user", "item")) for part in PARTS]
            rows = pl.concat(part.with_columns(part=pl.lit(i, pl.Int64)) for i, part in enumerate(parts))
            rows = rows.with_columns(step=pl.lit(0, pl.Int64)).select("user", "item", "step", "part")
        else:
            rows = _table(folder, name, ("user", "item", protocol.step)).rename({protocol.step: "step"})
            rows = rows.with_columns(part=_part_of(rows))
        path = folder / f"{name}.items.parquet"
        items = _read(path) if path.exists() else None
        return cls(name, protocol, rows.sort("user", "step", maintain_order=True), items)

    def of_part(self, part: Part) -> pl.DataFrame:
        """The rows of a part."""
        return self.rows.filter(pl.col("part") == PARTS.index(part))

    def before(self, part: Part) -> pl.DataFrame:
        """The rows of the parts before it."""
        return self.rows.filter(pl.col("part") < PARTS.index(part))

    def planted(self, seed: int) -> PublicSet:
        """The same with items drawn at random in place of those of test."""
        drawn = np.random.default_rng(seed).choice(self.rows["item"].unique().sort().to_numpy(), self.rows.height)
        test = pl.col("part") == PARTS.index("test")
        rows = self.rows.with_columns(item=pl.when(test).then(pl.Series(drawn)).otherwise("item"))
        return PublicSet(self.name, self.protocol, rows, self.items)

    def log(self) -> pl.DataFrame:
        """What edgerec is given: user, item, session and time, without the test rows.

        In their place each user has one row with the most frequent item that the protocol lets it be, so that
        edgerec's own split, which keeps users' last session for test, finds the parts of the protocol.
        """
        asked = self.of_part("test")["user"].unique()
        known = self.before("test").filter(pl.col("user").is_in(asked.implode()))
        known = _in_sessions(known) if self.protocol.step is None else _as_steps(known)
        rows = pl.concat([known, _stand_ins(known, self.protocol.repeats)])
        last = pl.col("session").max().over("user")
        time = END_MS - (_apart(last - pl.col("session")) * self.protocol.step_ms).cast(pl.Int64)
        return rows.select(
            pl.col("user").cast(pl.String),
            pl.col("item").cast(pl.String),
            pl.format("{}-{}", "user", "session").alias("session"),
            time.alias("time"),
        )

    def catalogue(self) -> pl.DataFrame:
        """All items that are known without the test rows: of the file of items, or else of the log."""
        if self.items is not None:
            return self.items.with_columns(pl.col("item").cast(pl.String))
        return self.before("test").select(pl.col("item").unique().sort().cast(pl.String))


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """A public file as int64 columns: NAME.parquet with these columns, or NAME.txt with a user and items in a line."""
    parquet, text = folder / f"{name}.parquet", folder / f"{name}.txt"
    if parquet.exists():
        table = _read(parquet)
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise DataError(f"{parquet}: has no column {missing[0]!r}; expected {', '.join(columns)}")
        for column in columns:
            if not len(table) or table[column].null_count() or not table[column].dtype.is_integer():
                raise DataError(f"{parquet}: column {column!r}: expected a whole number in each row, and rows")
        return table.select(pl.col(columns).cast(pl.Int64))
    if text.exists() and "basket" not in columns:
        return _from_lines(text).select(columns)
    raise DataError(f"{parquet}: no such file; expected one with {', '.join(columns)}, see the page Public tables")


def _read(path: Path) -> pl.DataFrame:
    """A Parquet file.

    Raises:
        DataError: it is none.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}); get it again") from None


def _from_lines(path: Path) -> pl.DataFrame:
    """Lines of a user and the user's items in order; a user may have several lines."""
    users, items = [], []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            user, *of_user = map(int, line.split())
        except ValueError:
            raise DataError(f"{path}: line {number}: expected whole numbers, a user and items of this user") from None
        users += [user] * len(of_user)
        items += of_user
    table = pl.DataFrame({"user": users, "item": items}, schema={"user": pl.Int64, "item": pl.Int64})
    return table.with_columns(position=pl.int_range(pl.len()).over("user"))


def _part_of(rows: pl.DataFrame) -> pl.Series:
    """2 for a user's last step, 1 for the one before it, else 0; users of a single step have nothing to be asked by."""
    rank = rows.select(pl.col("step").rank("dense", descending=True).over("user").cast(pl.Int64))["step"]
    steps = rows.select(pl.col("step").n_unique().over("user"))["step"]
    return pl.Series("part", np.where(steps == 1, 0, np.maximum(3 - rank.to_numpy(), 0)), pl.Int64)


def _as_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """user, item and session: steps counted from 0 without gaps."""
    return rows.select("user", "item", session=pl.col("step").rank("dense").over("user").cast(pl.Int64) - 1)


SHUFFLED = 10
"""Sessions that the training rows of a user without an order are dealt to."""


def _in_sessions(rows: pl.DataFrame) -> pl.DataFrame:
    """user, item and session of rows without an order: training rows in random sessions, and then valid as one."""
    order = pl.Series(np.random.default_rng(SEED).permutation(rows.height))
    rows = rows.sort("user", "part", "item").with_columns(order=order)
    rank = (pl.col("order").rank("ordinal").over("user", "part") - 1).cast(pl.Int64)
    size = pl.len().over("user", "part").cast(pl.Int64)
    dealt = pl.when(pl.col("part") == 0).then(rank * SHUFFLED // size.clip(SHUFFLED)).otherwise(SHUFFLED)
    return rows.select("user", "item", session=dealt).sort("user", "session", maintain_order=True)


def _stand_ins(known: pl.DataFrame, repeats: bool) -> pl.DataFrame:
    """One row for each user in place of test: the most frequent item, or the one that the user does not have yet."""
    by_count = known.group_by("item").len().sort("len", "item", descending=[True, False])["item"].to_list()
    of_user = known.group_by("user").agg("item", pl.col("session").max() + 1).sort("user")
    had = [() if repeats else set(items) for items in of_user["item"].to_list()]
    items = [next((i for i in by_count if i not in own), by_count[0]) for own in had]
    return of_user.select("user", pl.Series("item", items, pl.Int64), "session")


def _apart(steps: pl.Expr) -> pl.Expr:
    """Distance in time of a step that is so many steps before the last one, in steps."""
    steps = steps.cast(pl.Float64)
    return pl.when(steps <= EVEN).then(steps).otherwise(EVEN + EVEN / 4 * (steps.clip(EVEN) / EVEN).log())
