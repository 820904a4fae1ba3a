"""Rows of a dataset as arrays, and the earlier events of any request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.data.dataset import Dataset
from edgerec.examples.scratch import Columns, Limits, Scratch, pieces
from edgerec.tasks import Categorical, History, Multi, Numeric, RequestEncoder, binary_tasks, encode_history
from edgerec.tasks.history import Float, Int
from edgerec.tasks.past import PastSums
from edgerec.tasks.units import MS_PER_DAY

EVENTS_AT_ONCE = 4_000_000
"""Past events that are expanded together: bounds memory, not results."""


@dataclass(frozen=True)
class Log:
    """E rows, sorted by user, then time.

    Attributes:
        offsets: int64 (n_users + 1,), the rows of each user.
        row, user, item, time_ms, kind, session: int64 (E,); `row` is the row's number in the source. Without sessions,
            each row has a session of its own.
        labels: float32 (E,) by task name.
        categorical: int64 (E, C) and numeric: float64 (E, n), all inputs of a request (context and user), in the
            encoder's order.
        held: bool (n_users, P), values that users have of columns with several in a cell, see `RequestEncoder.holds`.
        limits: how much of it is worked on at once.
    """

    offsets: Int
    row: Int
    user: Int
    item: Int
    time_ms: Int
    kind: Int
    session: Int
    labels: dict[str, Float]
    categorical: Int
    numeric: npt.NDArray[np.float64]
    held: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    limits: Limits = field(default_factory=Limits)

    def __len__(self) -> int:
        return len(self.item)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First row and end of each piece that fits into memory."""
        return pieces(len(self), self.limits.rows)

    def groups(self) -> Iterator[slice]:
        """Rows of whole users, as many together as fit into memory."""
        for first, end in user_groups(self.offsets, self.limits.rows):
            yield slice(int(self.offsets[first]), int(self.offsets[end]))

    def starts_session(self, rows: slice) -> npt.NDArray[np.bool_]:
        """Whether each of `rows`, which are of whole users, is the first of its session."""
        user, session = self.user[rows], self.session[rows]
        new = np.ones(len(user), bool)
        new[1:] = (session[1:] != session[:-1]) | (user[1:] != user[:-1])
        return new

    def session_starts(self) -> Int:
        """The first row of each session, ascending."""
        return np.concatenate([rows.start + np.flatnonzero(self.starts_session(rows)) for rows in self.groups()])

    def session_ends(self, first: Int) -> Int:
        """The row after the last one of the session that each row of `first` belongs to."""
        end = first + 1
        open_ = np.arange(len(first))
        while len(open_):
            inside = open_[end[open_] < len(self)]
            at, since = end[inside], first[inside]
            open_ = inside[(self.session[at] == self.session[since]) & (self.user[at] == self.user[since])]
            end[open_] += 1
        return end

    def range_before(self, user: Int, cut_ms: Int) -> tuple[Int, Int]:
        """Start and end of each user's rows with a time strictly before `cut_ms`."""
        low, high = self.offsets[user], self.offsets[user + 1]
        # All users are halved at once: a key of user and time to search in would be as long as the log.
        while (searching := low < high).any():
            middle = (low + high) // 2
            before = searching.copy()
            before[searching] = self.time_ms[middle[searching]] < cut_ms[searching]
            low, high = np.where(before, middle + 1, low), np.where(searching & ~before, middle, high)
        return self.offsets[user], low

    def sums(self, start: Int, end: Int, n_binary: int) -> PastSums:
        """What `summarize_past` sums up, of H ranges of rows, each of one user: `start`, `end` (H,)."""
        some = np.flatnonzero(end > start)
        first, last = start[some], end[some] - 1

        def spread(values: npt.NDArray[Any], kind: type = np.float64) -> npt.NDArray[Any]:
            whole: npt.NDArray[Any] = np.zeros(len(start), kind)
            whole[some] = values
            return whole

        changes, *kinds = self._running
        absent = [np.zeros(len(start))] * (n_binary - len(kinds))
        positives = [spread(k[last] - k[first] + (self.kind[first] >> b & 1)) for b, k in enumerate(kinds[:n_binary])]
        return PastSums(
            events=(end - start).astype(np.float64),
            sessions=spread(changes[last] - changes[first] + 1),
            first_ms=spread(self.time_ms[first], np.int64),
            last_ms=spread(self.time_ms[last], np.int64),
            positives=np.array([*positives, *absent], np.float64).reshape(n_binary, len(start)).T,
        )

    @cached_property
    def _running(self) -> npt.NDArray[np.int32]:
        """Up to and with each row: changes of the time, then rows with each bit of `kind`; (1 + bits, E)."""
        bits = max((int(self.kind[start:end].max(initial=0)).bit_length() for start, end in self.pieces()), default=0)
        counts = np.zeros((1 + bits, len(self)), np.int32)
        for start, end in self.pieces():
            before = max(start - 1, 0)
            counts[0, before + 1 : end] = np.diff(self.time_ms[before:end]) != 0
            for b in range(bits):
                counts[1 + b, start:end] = self.kind[start:end] >> b & 1
        return np.cumsum(counts, axis=1, out=counts)


def request_encoder(dataset: Dataset, part: Literal["valid", "test"], max_history: int) -> RequestEncoder:
    """The encoder of a dataset's requests; its rates come from the training rows of `part`."""
    meta = dataset.meta
    rows = dataset.training_frame(part)
    binary = [t.name for t in binary_tasks(meta.tasks)]
    rates: tuple[float, ...] = ()
    if binary:
        means = rows.select(pl.col(f"label.{name}").mean() for name in binary).collect()
        rates = tuple(float(np.clip(means[f"label.{name}"][0], 1e-4, 1 - 1e-4)) for name in binary)
    timed = {"hour", "weekday"}
    categorical = [
        Categorical(c.name, "time" if c.name in timed else "context", tuple(c.values)) for c in meta.context.categorical
    ] + [Categorical(c.name, "user", tuple(c.values)) for c in meta.users.categorical]
    numeric = [Numeric(n.name, "context", n.mean, n.std) for n in meta.context.numeric]
    numeric += [Numeric(n.name, "user", n.mean, n.std) for n in meta.users.numeric]
    return RequestEncoder(
        binary=tuple(binary),
        rates=rates,
        max_history=max_history,
        timezone=meta.timezone,
        categorical=tuple(categorical),
        numeric=tuple(numeric),
        multi=tuple(Multi(m.name, "user", m.values, m.separator) for m in meta.users.multi),
    )


def load_log(dataset: Dataset, rows: pl.LazyFrame, encoder: RequestEncoder, scratch: Scratch) -> Log:
    """Read rows of a dataset (`Dataset.part` or `training_frame`) into arrays, with the user attributes joined on.

    A long log is read and sorted by groups of users, and its columns lie in `scratch`.
    """
    users = dataset.users()
    sizes = np.zeros(len(users), np.int64)
    counts = rows.group_by("user").len().collect()
    sizes[counts["user"].to_numpy()] = counts["len"].to_numpy()
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    groups = user_groups(offsets, scratch.limits.rows)
    parts = (_columns(users, rows, encoder, first, end, offsets) for first, end in groups)
    columns = scratch.joined(int(offsets[-1]), parts)
    labels = {name.removeprefix("label."): v for name, v in columns.items() if name.startswith("label.")}
    return Log(
        offsets=offsets,
        labels=labels,
        held=_held(users, encoder),
        limits=scratch.limits,
        **{name: v for name, v in columns.items() if not name.startswith("label.")},
    )


def _held(users: pl.DataFrame, encoder: RequestEncoder) -> npt.NDArray[np.bool_]:
    """See `Log.held`."""
    tables = [np.zeros((len(users), 0), bool)]
    for column in encoder.multi:
        lists = users[f"multi.{column.name}"]
        table = np.zeros((len(users), len(column.values)), bool)
        user = np.repeat(np.arange(len(users)), lists.list.len().to_numpy())
        table[user, lists.explode().drop_nulls().to_numpy().astype(np.int64) - 1] = True
        tables.append(table)
    return np.concatenate(tables, axis=1)


def latest_since(log: Log, most: int, end_ms: int | None = None) -> int:
    """The start of the last whole days before `end_ms` that together have at most `most` rows.

    Without `end_ms`, of the last days of the log. For a log that is no longer, the time of its first row.
    """
    if not len(log):
        return 0
    first_ms = int(log.time_ms.min())
    if len(log) <= most:
        return first_ms
    last_ms = int(log.time_ms.max()) + 1 if end_ms is None else end_ms
    days = (last_ms - first_ms) // MS_PER_DAY + 1
    counts = np.zeros(days, np.int64)
    for start, end in log.pieces():
        time_ms = log.time_ms[start:end]
        counts += np.bincount((last_ms - 1 - time_ms[time_ms < last_ms]) // MS_PER_DAY, minlength=days)[:days]
    whole_days = int(np.searchsorted(np.cumsum(counts), most, side="right"))
    return last_ms - max(whole_days, 1) * MS_PER_DAY


def user_groups(offsets: Int, rows: int = Limits.rows) -> Iterator[tuple[int, int]]:
    """First user and end of groups of at most `rows` rows, or of a single user with more; one group of no users."""
    first, n_users = 0, len(offsets) - 1
    while first < n_users or first == 0:
        end = int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1
        end = min(max(end, first + 1), n_users)
        yield first, end
        first = max(end, 1)


def _columns(
    users: pl.DataFrame, rows: pl.LazyFrame, encoder: RequestEncoder, first: int, end: int, offsets: Int
) -> Columns:
    """The columns of a `Log` of the users from `first` to `end`; labels as "label.NAME"."""
    if end - first < len(users):
        rows = rows.filter(pl.col("user").is_between(first, end, closed="left"))
    frame = rows.collect().sort("user", "time", maintain_order=True)
    user = frame["user"].to_numpy().astype(np.int64)

    def column(kind: str, name: str, source: str) -> npt.NDArray[Any]:
        key = f"{kind}.{name}"
        return users[key].to_numpy()[user] if source == "user" else frame[key].to_numpy()

    categorical = [column("cat", c.name, c.source) for c in encoder.categorical]
    numeric = [column("num", n.name, n.source) for n in encoder.numeric]
    n = len(frame)
    session = frame["session"].to_numpy() if "session" in frame.columns else offsets[first] + np.arange(n)
    return {
        "row": frame["row"].to_numpy().astype(np.int64),
        "user": user,
        "item": frame["item"].to_numpy().astype(np.int64),
        "time_ms": frame["time"].to_numpy().astype(np.int64),
        "kind": frame["kind"].to_numpy().astype(np.int64),
        "session": session.astype(np.int64),
        "categorical": np.stack(categorical, 1).astype(np.int64) if categorical else np.zeros((n, 0), np.int64),
        "numeric": np.stack(numeric, 1).astype(np.float64) if numeric else np.zeros((n, 0)),
        **{c: frame[c].to_numpy() for c in frame.columns if c.startswith("label.")},
    }


def earlier_events(
    log: Log, encoder: RequestEncoder, user: Int, cut_ms: Int, at_once: int = EVENTS_AT_ONCE
) -> tuple[History, PastSums]:
    """History and sums of what each of H users did before `cut_ms` (H,), by the function the device uses."""
    start, end = log.range_before(user, cut_ms)
    return histories_between(log, encoder, start, end, at_once), log.sums(start, end, len(encoder.binary))


def histories_between(
    log: Log, encoder: RequestEncoder, start: Int, end: Int, at_once: int = EVENTS_AT_ONCE
) -> History:
    """Histories of H pasts, each a range of rows of one user: `start`, `end` (H,)."""
    histories = []
    for first, last in _chunks(start, end, at_once):
        sizes = last - first
        request = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.arange(len(request)) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
        item, kind, time_ms = log.item[rows], log.kind[rows], log.time_ms[rows]
        histories.append(encode_history(request, item, kind, time_ms, len(sizes), encoder.max_history))
    return join_histories(histories)


def _chunks(start: Int, end: Int, size: int) -> Iterator[tuple[Int, Int]]:
    """The ranges in groups of about `size` rows."""
    chunk = np.cumsum(end - start) // size
    for part in np.split(np.arange(len(start)), np.flatnonzero(np.diff(chunk)) + 1):
        yield start[part], end[part]


def join_histories(parts: list[History]) -> History:
    """The histories of several groups of requests, one after the other."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.diff(p.offsets) for p in parts])
    names = ("item", "kind", "count", "last_ms", "interval_h")
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    return History(offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), **joined)
