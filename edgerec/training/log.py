"""The kept rows of a dataset as arrays, and the earlier events of any request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.data.dataset import Dataset
from edgerec.tasks import Categorical, History, Numeric, Past, RequestEncoder, binary_tasks, encode_history
from edgerec.tasks.history import Float, Int
from edgerec.tasks.past import summarize_past

EVENTS_AT_ONCE = 4_000_000
"""Past events that are expanded together: bounds memory, not results."""


@dataclass(frozen=True)
class Log:
    """E rows, sorted by user, then time.

    Attributes:
        offsets: int64 (n_users + 1,), the rows of each user.
        row, user, item, time_ms, kind, visit: int64 (E,); `row` is the number in the source, `visit` the session or,
            without sessions, a number of its own for each row.
        labels: float32 (E,) by task name.
        categorical: int64 (E, C) and numeric: float64 (E, n), all inputs of a request (context and user), in the
            encoder's order.
    """

    offsets: Int
    row: Int
    user: Int
    item: Int
    time_ms: Int
    kind: Int
    visit: Int
    labels: dict[str, Float]
    categorical: Int
    numeric: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.item)

    def starts_of_visits(self) -> Int:
        """The first row of each visit, ascending."""
        new = np.ones(len(self), bool)
        new[1:] = (self.visit[1:] != self.visit[:-1]) | (self.user[1:] != self.user[:-1])
        return np.flatnonzero(new)

    def range_before(self, user: Int, cut_ms: Int) -> tuple[Int, Int]:
        """Start and end of each user's rows with a time strictly before `cut_ms`."""
        if not len(self):
            return np.zeros_like(user), np.zeros_like(user)
        origin, bits = int(self.time_ms.min()), 40  # 2 ** 40 ms are 34 years
        limit = (1 << bits) - 1
        key = (self.user << bits) + np.minimum(self.time_ms - origin, limit)
        cut = (user << bits) + np.clip(cut_ms - origin, 0, limit)
        return self.offsets[user], np.searchsorted(key, cut, side="left").astype(np.int64)


def request_encoder(dataset: Dataset, part: Literal["valid", "test"], max_history: int) -> RequestEncoder:
    """The encoder of a dataset's requests; rates come from the rows that `part` may learn from."""
    meta = dataset.meta
    rows = dataset.fit_frame(part)
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
    )


def load_log(dataset: Dataset, rows: pl.LazyFrame, encoder: RequestEncoder) -> Log:
    """Read rows of a dataset (`Dataset.part` or `fit_frame`) into arrays, with the user attributes joined on."""
    frame = rows.collect().sort("user", "time", maintain_order=True)
    users = dataset.users()
    user = frame["user"].to_numpy().astype(np.int64)

    def column(kind: str, name: str, source: str) -> npt.NDArray[Any]:
        key = f"{kind}.{name}"
        return users[key].to_numpy()[user] if source == "user" else frame[key].to_numpy()

    categorical = [column("cat", c.name, c.source) for c in encoder.categorical]
    numeric = [column("num", n.name, n.source) for n in encoder.numeric]
    n = len(frame)
    visit = frame["session"].to_numpy() if "session" in frame.columns else np.arange(n)
    return Log(
        offsets=np.concatenate(([0], np.cumsum(np.bincount(user, minlength=len(users))))).astype(np.int64),
        row=frame["row"].to_numpy().astype(np.int64),
        user=user,
        item=frame["item"].to_numpy().astype(np.int64),
        time_ms=frame["time"].to_numpy().astype(np.int64),
        kind=frame["kind"].to_numpy().astype(np.int64),
        visit=visit.astype(np.int64),
        labels={c.removeprefix("label."): frame[c].to_numpy() for c in frame.columns if c.startswith("label.")},
        categorical=np.stack(categorical, 1).astype(np.int64) if categorical else np.zeros((n, 0), np.int64),
        numeric=np.stack(numeric, 1).astype(np.float64) if numeric else np.zeros((n, 0)),
    )


def earlier_events(log: Log, encoder: RequestEncoder, user: Int, cut_ms: Int) -> tuple[History, Past]:
    """History and sums of what each of H users did before `cut_ms` (H,), by the function the device uses."""
    histories, pasts = [], []
    for start, end, users in _chunks(log, user, cut_ms):
        sizes = end - start
        request = np.repeat(np.arange(len(users)), sizes)
        rows = np.arange(len(request)) + np.repeat(start - (np.cumsum(sizes) - sizes), sizes)
        item, kind, time_ms = log.item[rows], log.kind[rows], log.time_ms[rows]
        histories.append(encode_history(request, item, kind, time_ms, len(users), encoder.max_history))
        pasts.append(summarize_past(request, kind, time_ms, len(users), len(encoder.binary)))
    return join_histories(histories), _join_pasts(pasts)


def _chunks(log: Log, user: Int, cut_ms: Int) -> Iterator[tuple[Int, Int, Int]]:
    """First row, end and user of each request, in groups of about `EVENTS_AT_ONCE` rows."""
    start, end = log.range_before(user, cut_ms)
    chunk = np.cumsum(end - start) // EVENTS_AT_ONCE
    for part in np.split(np.arange(len(user)), np.flatnonzero(np.diff(chunk)) + 1):
        yield start[part], end[part], user[part]


def join_histories(parts: list[History]) -> History:
    """The histories of several groups of requests, one after the other."""
    sizes = np.concatenate([np.diff(p.offsets) for p in parts])
    names = ("item", "kind", "count", "last_ms", "interval_h")
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    return History(offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), **joined)


def _join_pasts(parts: list[Past]) -> Past:
    return Past(
        events=np.concatenate([p.events for p in parts]),
        visits=np.concatenate([p.visits for p in parts]),
        first_ms=np.concatenate([p.first_ms for p in parts]),
        last_ms=np.concatenate([p.last_ms for p in parts]),
        positives=np.concatenate([p.positives for p in parts]),
    )
