"""The past of users from a log, and the attributes of users from the log or from a table of users."""

from __future__ import annotations

import glob
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgerec.errors import ConfigError, DataError
from edgerec.stages.batch.columns import Attributes, column_names, column_values, settings_of

if TYPE_CHECKING:
    import polars as pl

    from edgerec.progress import Progress
    from edgerec.runtime import ArrayRecommender, Events
    from edgerec.runtime.model import RequestArguments

__all__ = ["PastLog", "attributes_of", "just_seen", "request_of_user"]


@dataclass(frozen=True)
class PastLog:
    """The events of a log by user, read and cleaned as `edgerec prepare` does.

    Attributes:
        slices: by user id, the place of the user's events in `events`, which are sorted by time within a user.
        attributes: by user id, values of the bundle's user columns as far as the log has them.
        end_ms: time of the latest event.
    """

    events: Events
    slices: Mapping[str, slice]
    attributes: Mapping[str, Attributes]
    end_ms: int

    @classmethod
    def read(cls, path: Path, rec: ArrayRecommender) -> PastLog:
        """Read a log with the column names of the bundle's own.

        Raises:
            DataError: a column is missing or has the wrong type, or no row is an event.
        """
        config = settings_of(rec)
        import polars as pl

        from edgerec.data.cleaning import clean, duplicates, label_columns
        from edgerec.data.readers import Reading, Source, reading

        data = config.data
        log = Source.open(str(path), Reading.of(data))
        known = [name for name in column_names(rec, "user") if name in log.schema]
        with reading(str(path)):
            frame = clean(log, data, config.task, known).frame.filter(pl.col("reason").is_null()).collect()
        if data.session is not None:  # as in `prepare`: a basket is one event in time
            frame = frame.with_columns(pl.col("time").min().over("user", "session"))
        frame = frame.filter(~pl.col("row").is_in(duplicates(frame, label_columns(config.task)).implode()))
        if frame.is_empty():
            raise DataError(f"{path}: no row is an event by the bundle's settings; check --history")
        bits = [pl.col(f"label.{name}").cast(pl.Int64) * (1 << bit) for bit, name in enumerate(rec.encoder.binary)]
        kind = pl.sum_horizontal(bits) if bits else pl.lit(0, pl.Int64)
        frame = frame.with_columns(kind=kind).sort("user", "time", "row")
        sizes = frame.group_by("user", maintain_order=True).len()
        stops = sizes["len"].cum_sum().to_list()
        starts = [0, *stops[:-1]]
        return cls(
            events=_events(frame, rec),
            slices={u: slice(a, b) for u, a, b in zip(sizes["user"], starts, stops, strict=True)},
            attributes=_attributes(frame, log.schema, known, rec),
            end_ms=int(frame["time"].max()),  # type: ignore[arg-type]
        )

    def of(self, user: str | None, before_ms: int | None = None) -> Events:
        """A user's events, all or those before a time; none for a user who is not in the log."""
        from edgerec.runtime import Events

        here = self.slices.get(user or "", slice(0, 0))
        item, kind, time_ms = (np.asarray(values)[here] for values in self.events)
        end = len(time_ms) if before_ms is None else int(np.searchsorted(time_ms, before_ms))
        return Events(item[:end], kind[:end], time_ms[:end])


def just_seen(items: Sequence[str]) -> Events:
    """A past that holds only these items, seen now."""
    from edgerec.runtime import Events

    now = np.full(len(items), time.time_ns() // 1_000_000, np.int64)
    return Events(items, np.zeros(len(items), np.int64), now)


def request_of_user(rec: ArrayRecommender, user: str, log: Path, progress: Progress) -> RequestArguments:
    """The request of a user of a log: past and attributes, as of the time of the last event in the log.

    Raises:
        ConfigError: the log does not hold the user.
    """
    past = PastLog.read(log, rec)
    if user not in past.slices:
        examples = ", ".join(list(past.slices)[:3])
        raise ConfigError(f"--user {user!r}: is not in {log}; its users are such as {examples}")
    attributes = attributes_of(rec, past, log, progress).get(user, {})
    return {"history": past.of(user), "user": attributes, "now": past.end_ms}


def attributes_of(
    rec: ArrayRecommender, past: PastLog | None, log: Path, progress: Progress
) -> Mapping[str, Attributes]:
    """The bundle's user columns, by user: from the table of users in the settings, or from the log if there is none.

    Args:
        log: the file that was read. The table is expected beside it, where the settings place it, or beside the bundle.
    """
    config = settings_of(rec)
    users = config.data.users
    if users.path is None or not column_names(rec, "user"):
        return past.attributes if past else {}
    from edgerec.data.readers import Reading
    from edgerec.data.tables import attributes_from_file

    table = _placed_beside(users.path, log, config.data.interactions, rec.bundle.folder.parent)
    if table is None:
        progress.say(f"{users.path} is not beside {log}: users have no attributes but those in its columns")
        return {}
    how = Reading.of(config.data, users)
    frame, _ = attributes_from_file(table, users.path, users, users.id or config.data.user, "data.users", how)
    frame = frame.rename({name: name.removeprefix("raw.") for name in frame.columns})
    return dict(zip(frame["id"], column_values(frame, rec, "user"), strict=True))


def _placed_beside(path: str, log: Path, interactions: str, run: Path) -> str | None:
    """Where `path` of the settings lies, if `log` lies beside or in place of their `interactions`."""
    depth = len(Path(interactions).parts)
    log = log.absolute()
    folders = [log.parents[min(depth, len(log.parents)) - 1], log.parent, run]
    candidates = (str(folder / path) for folder in folders)
    return next((candidate for candidate in candidates if glob.glob(candidate)), None)


def _events(frame: pl.DataFrame, rec: ArrayRecommender) -> Events:
    from edgerec.runtime import Events

    index = {item: rec.index_of(item) for item in frame["item"].unique()}
    item = np.array([-1 if (i := index[item]) is None else i for item in frame["item"]], np.int64)
    return Events(item, frame["kind"].to_numpy(), frame["time"].to_numpy())


def _attributes(
    frame: pl.DataFrame, schema: pl.Schema, names: list[str], rec: ArrayRecommender
) -> dict[str, Attributes]:
    """The first value of each user column, by user."""
    import polars as pl

    if not names:
        return {}
    values = frame.select("user", *(pl.col(f"feature.{name}").alias(name) for name in names))
    first = values.group_by("user", maintain_order=True).agg(pl.all().drop_nulls().first())
    return dict(zip(first["user"], column_values(first, rec, "user"), strict=True))
