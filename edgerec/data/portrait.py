"""A log in ten lines, and the split that leaves enough of it to judge a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from edgerec.config import SplitConfig, duration_ms
from edgerec.data.cleaning import ids_of
from edgerec.data.readers import Source, reading
from edgerec.data.request_counts import count_requests
from edgerec.data.splits import split
from edgerec.data.times import FIRST_MS, LAST_MS, read_times
from edgerec.errors import DataError
from edgerec.tasks.units import MS_PER_DAY

__all__ = [
    "ENOUGH_REQUESTS",
    "LEAST_REQUESTS",
    "LogColumns",
    "Portrait",
    "Proposal",
    "ReadLog",
    "portray",
    "propose_split",
    "read_log",
    "requests_of",
]

ENOUGH_REQUESTS: Final = 200
"""A split with fewer evaluation requests is not proposed where another has more."""
LEAST_REQUESTS: Final = 50
"""A task with fewer requests is not proposed: nothing could be said of it."""
MOST_ROWS: Final = 5_000_000
"""Of more rows whole users are drawn, by a hash of their id."""
_WINDOWS: Final = ("28d", "14d", "7d", "3d", "2d", "1d", "12h", "6h", "3h", "1h")
_OF_SPAN: Final = 6
"""A window is at most this part of the span: valid and test together a third."""


@dataclass(frozen=True)
class LogColumns:
    """Columns or SQL expressions of a log, as the settings would have them.

    `labels`: by retrieval task, the rows that take their item; a task without a label counts all.
    `time_format`: how the time is read, None where its values tell. `timed`: whether the time is a clock.
    """

    user: str
    item: str
    time: str
    session: str | None = None
    where: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    time_format: str | None = None
    timed: bool = True


@dataclass(frozen=True)
class Portrait:
    """A log in numbers.

    Attributes:
        rows, users, items: of the whole log, after `where`. left_out: rows that `where` or a missing key leaves out.
        first_ms, last_ms: of the times; None for a log without a clock.
        events: of a user: median and 90 % quantile.
        repeats: share of rows whose user had the item before.
        head: share of the rows of the top 1 % and of the top 10 % of the items.
        sessions: number of sessions, None if there are none.
        requests: evaluation requests of valid and test with the proposed split, and how it is called.
        scale: each user that was counted stands for so many.
    """

    rows: int
    users: int
    items: int
    left_out: int
    first_ms: int | None
    last_ms: int | None
    events: tuple[float, float]
    repeats: float
    head: tuple[float, float]
    sessions: int | None
    requests: tuple[int, int]
    split: str
    scale: int = 1

    def lines(self, training: str | None = None) -> list[tuple[str, str]]:
        """What and how much, ten lines at most.

        Args:
            training: what training will cost on this machine, where it is known.
        """
        rows = f"{self.rows:,}" + (f"; {self.left_out:,} others are left out" if self.left_out else "")
        days = 0.0 if self.first_ms is None or self.last_ms is None else (self.last_ms - self.first_ms) / MS_PER_DAY
        span = "no clock, only an order" if self.first_ms is None else f"{_day(self.first_ms)} to {_day(self.last_ms)}"
        about = "about " if self.scale > 1 else ""
        found = [
            ("rows", rows),
            ("users", f"{about}{self.users:,}"),
            ("items", f"{about}{self.items:,}"),
            ("span", span + (f", {days:,.1f} days" if self.first_ms is not None else "")),
            ("events a user", f"median {self.events[0]:,.0f}; 90 % have at most {self.events[1]:,.0f}"),
            ("repeats", f"{self.repeats:.1%} of the rows are of an item that their user had before"),
            ("head", f"the top 1 % of the items have {self.head[0]:.0%} of the rows, the top 10 % {self.head[1]:.0%}"),
        ]
        if self.sessions is not None:
            found.append(("sessions", f"{about}{self.sessions:,}, {self.rows / max(self.sessions, 1):.1f} rows each"))
        valid, test = self.requests
        few = "" if min(valid, test) >= ENOUGH_REQUESTS else f"; under {ENOUGH_REQUESTS}, figures will be imprecise"
        found.append(("to be judged", f"{about}{valid:,} users of valid, {test:,} of test ({self.split}){few}"))
        return found + ([("training", training)] if training else [])


@dataclass(frozen=True)
class Proposal:
    """A split, the same as TOML, how it is called and why; users of valid and of test who can be judged."""

    config: SplitConfig
    toml: str
    name: str
    why: str
    requests: tuple[int, int]


@dataclass(frozen=True)
class ReadLog:
    """Rows of a log as numbers.

    Attributes:
        events: sorted by time; columns user, item, time (ms), label.TASK (does the row take its item?), and session.
        rows, left_out: of the whole log. scale: each user of `events` stands for so many.
    """

    events: pl.DataFrame
    rows: int
    left_out: int
    columns: LogColumns
    scale: int


def read_log(log: Source, columns: LogColumns) -> ReadLog:
    """Read user, item, time and session of every row that has them; of a very long log, of some users.

    Raises:
        DataError: a column cannot be read, or no row has all of them.
    """
    texts = {"user": columns.user, "item": columns.item, "session": columns.session}
    ids = {role: ids_of(log, role, text) for role, text in texts.items() if text is not None}
    used = [text for text in [columns.where, *columns.labels.values()] if text is not None]
    log, _ = log.with_numbers(used if columns.time in log.schema else [*used, columns.time])
    time, _ = log.expression(columns.time, "[data] time")
    with reading(log.path):
        what = f"{log.path}: [data] time = {columns.time!r}"
        ms = read_times(log.frame, time, "UTC", what, columns.time_format, ask=False).ms
        rows = int(log.frame.select(pl.len()).collect(engine="streaming").item())
    labels = {
        f"label.{name}": log.expression(text, "label")[0].cast(pl.Boolean) for name, text in columns.labels.items()
    }
    frame = log.frame.filter(log.expression(columns.where, "[data] where")[0]) if columns.where else log.frame
    frame = frame.select(**{role: text.hash() for role, text in ids.items()}, time=ms, **labels, **_known(ids))
    frame = frame.filter(pl.all_horizontal("^known_.*$"), pl.col("time").is_between(FIRST_MS, LAST_MS, closed="left"))
    scale = -(-rows // MOST_ROWS)
    with reading(log.path):
        kept = int(frame.select(pl.len()).collect(engine="streaming").item())
        events = frame.drop("^known_.*$").filter(pl.col("user") % scale == 0).collect(engine="streaming")
    if events.is_empty():
        raise DataError(f"{log.path}: none of {rows:,} rows has a user, an item and a time")
    return ReadLog(_in_order(events), kept, rows - kept, columns, scale)


def _known(ids: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    return {f"known_{role}": text.is_not_null() for role, text in ids.items()}


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Codes in place of hashes; sorted by time, a session having that of its first row, as in a dataset."""
    codes = [pl.col(role).rank("dense").cast(pl.UInt32) - 1 for role in ("user", "item")]
    if "session" not in events.columns:
        return events.with_columns(codes).sort("time")
    events = events.with_columns(*codes, pl.col("time").min().over("user", "session")).sort("time", "user", "session")
    new = (pl.col("session") != pl.col("session").shift()) | (pl.col("user") != pl.col("user").shift())
    return events.with_columns(session=new.fill_null(False).cum_sum().cast(pl.UInt32))


def portray(log: ReadLog, proposal: Proposal) -> Portrait:
    """The log in numbers."""
    events, scale = log.events, log.scale
    users = events["user"].value_counts()["count"].cast(pl.Float64)
    items = events["item"].value_counts(sort=True)["count"]
    top = [float(items.head(max(round(len(items) * share), 1)).sum() / len(events)) for share in (0.01, 0.1)]
    first, last = (int(t) if log.columns.timed else None for t in (events["time"][0], events["time"][-1]))
    return Portrait(
        rows=log.rows,
        users=len(users) * scale,
        items=len(items),
        left_out=log.left_out,
        first_ms=first,
        last_ms=last,
        events=_typical(users),
        repeats=1 - events.select("user", "item").n_unique() / len(events),
        head=(top[0], top[1]),
        sessions=events["session"].n_unique() * scale if "session" in events.columns else None,
        requests=proposal.requests,
        split=proposal.name,
        scale=scale,
    )


def _typical(counts: pl.Series) -> tuple[float, float]:
    """Median and 90 % quantile."""
    values = counts.to_numpy()
    return float(np.quantile(values, 0.5)), float(np.quantile(values, 0.9, method="nearest"))


# ---------------------------------------------------------------------------- split


def propose_split(log: ReadLog) -> Proposal:
    """The first of these splits that leaves enough users with a past to judge, or else the one that leaves the most.

    At two points of the calendar, from the longest window to the shortest; at a tenth and two tenths of the rows; or
    the last event of each user. Time comes first, since a model is used after all that it learned from.
    """
    last_out = _leave_last_out(log)
    if not log.columns.timed:
        return replace(last_out, why=f"there is no clock; {last_out.why}")
    found: list[Proposal] = []
    for proposal in chain(_by_time(log), _by_rows(log)):
        found.append(proposal)
        if min(proposal.requests) >= ENOUGH_REQUESTS:
            return proposal
    best = max([*found, last_out], key=lambda proposal: min(proposal.requests))  # of equal ones the first
    if not min(best.requests):
        return next(_by_rows(log))  # hopeless, but no part is empty
    if best is not last_out or not found:
        return best
    other = max(found, key=lambda proposal: min(proposal.requests))
    return replace(last_out, why=f"{last_out.why}; {other.name} would leave {min(other.requests):,}")


def _by_time(log: ReadLog) -> Iterator[Proposal]:
    span = int(log.events["time"][-1] - log.events["time"][0])
    for window in _WINDOWS:
        if duration_ms(window) * _OF_SPAN <= span:
            config = SplitConfig(by="time", valid=window, test=window)
            requests = _requests(log, config)
            toml = f'{{ by = "time", valid = "{window}", test = "{window}" }}'
            why = f"the log spans {span / MS_PER_DAY:,.1f} days; {_users(requests)}"
            yield Proposal(config, toml, f"by time, {window} each", why, requests)


def _by_rows(log: ReadLog) -> Iterator[Proposal]:
    for part in (0.1, 0.2):
        config = SplitConfig(by="rows", valid=part, test=part)
        requests = _requests(log, config)
        toml = f'{{ by = "rows", valid = {part}, test = {part} }}'
        yield Proposal(config, toml, f"by rows, {part} each", f"parts of the rows; {_users(requests)}", requests)


def _leave_last_out(log: ReadLog) -> Proposal:
    config = SplitConfig(by="leave-last-out")
    requests = _requests(log, config)
    what = "event" if log.columns.session is None else "session"
    why = f"the last {what} of each user is test, the one before it valid; {_users(requests)}"
    return Proposal(config, '{ by = "leave-last-out" }', "leave-last-out", why, requests)


def _requests(log: ReadLog, config: SplitConfig) -> tuple[int, int]:
    """Requests of valid and of test that can be judged."""
    part, _ = split(log.events, config, ZoneInfo("UTC"))
    events = log.events.with_columns(part=part)
    valid, test = (count_requests(events, part, _counts(log, "next")).requests * log.scale for part in (1, 2))
    return valid, test


def _counts(log: ReadLog, task: str) -> pl.Expr | None:
    """The rows that take their item for a task; None: all."""
    return pl.col(f"label.{task}") if task in log.columns.labels else None


def requests_of(log: ReadLog, proposal: Proposal, task: str, new_only: bool) -> int:
    """Requests of a retrieval task that can be judged with a split, in the part that has fewer of them."""
    part, _ = split(log.events, proposal.config, ZoneInfo("UTC"))
    events = log.events.with_columns(part=part)
    return min(count_requests(events, part, _counts(log, task), new_only).requests * log.scale for part in (1, 2))


def _users(requests: Sequence[int]) -> str:
    return f"{requests[0]:,} users of valid and {requests[1]:,} of test can be judged"


def _day(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
