"""What teacher and student are trained and evaluated on: requests, impressions and sessions, ready for batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from edgerec.examples.log import Log
from edgerec.examples.pasts import LogPasts, Pasts
from edgerec.examples.scratch import Columns
from edgerec.examples.statistics import ItemStatistics
from edgerec.models.inputs import RequestBatch
from edgerec.tasks import History, RequestEncoder
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

FOREVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True)
class Ragged:
    """R lists of integers, flat; list r is ``values[offsets[r]:offsets[r + 1]]``."""

    offsets: Int
    values: Int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def sizes(self) -> Int:
        """Length of each list."""
        return np.diff(self.offsets)

    def take(self, rows: Int) -> Ragged:
        """The lists `rows`, in that order."""
        sizes = self.sizes()[rows]
        ends = np.cumsum(sizes)
        flat = np.arange(sizes.sum()) + np.repeat(self.offsets[rows] - (ends - sizes), sizes)
        return Ragged(np.concatenate(([0], ends)).astype(np.int64), self.values[flat])

    def owner(self) -> Int:
        """The list that each value belongs to."""
        return np.repeat(np.arange(len(self)), self.sizes())

    def where(self, keep: npt.NDArray[np.bool_]) -> Ragged:
        """The values for which `keep` is true, in their lists."""
        sizes = np.bincount(self.owner()[keep], minlength=len(self))
        return Ragged(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), self.values[keep])

    def then(self, other: Ragged) -> Ragged:
        """These lists, then those of `other`."""
        offsets = np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]])
        return Ragged(offsets, np.concatenate([self.values, other.values]))

    def distinct(self) -> list[Int]:
        """The distinct values of each list, sorted."""
        base = int(self.values.max(initial=0)) + 1
        owner, values = np.divmod(np.unique(self.owner() * base + self.values), base)
        return np.split(values, np.cumsum(np.bincount(owner, minlength=len(self))))[: len(self)]

    def row(self, r: int) -> Int:
        """One list."""
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    @classmethod
    def of(cls, lists: Sequence[Int]) -> Ragged:
        """These lists."""
        none = np.zeros(0, np.int64)
        ends = np.cumsum([len(values) for values in lists], dtype=np.int64)
        return cls(np.concatenate(([0], ends)).astype(np.int64), np.concatenate([none, *lists]).astype(np.int64))

    @classmethod
    def empty(cls, n: int) -> Ragged:
        """`n` empty lists."""
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Requests:
    """R requests.

    Attributes:
        user, time_ms, as_of: int64 (R,); `as_of` indexes the item statistics known at the request.
        categorical: int64 (R, C).
        pasts: what their users did before.
    """

    user: Int
    time_ms: Int
    as_of: Int
    categorical: Int
    pasts: Pasts

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Int) -> Requests:
        """The requests `rows`."""
        names = ("user", "time_ms", "as_of", "categorical")
        return replace(self, **{name: getattr(self, name)[rows] for name in names}, pasts=self.pasts.take(rows))

    def lengths(self, rows: Int | None = None) -> Int:
        """See `Pasts.lengths`, of all requests or of `rows`."""
        return self.pasts.lengths(np.arange(len(self)) if rows is None else rows)

    def histories(self, rows: Int) -> tuple[History, Int]:
        """Past items by distinct past, and which of these each of `rows` has."""
        return self.pasts.histories(rows)

    def numeric(self, rows: Int) -> Float:
        """The numeric input of `rows`, float32 (len(rows), M)."""
        return self.pasts.numeric(rows, self.time_ms[rows])

    def batch(self, rows: Int, dropout: float = 0.0, rng: np.random.Generator | None = None) -> RequestBatch:
        """Requests `rows`, padded; with `dropout`, each past item is left out with that probability."""
        h, ids = self.pasts.histories(rows)
        time_ms = np.asarray(self.time_ms[rows])
        start, size = h.offsets[ids], np.diff(h.offsets)[ids]
        place = np.arange(max(int(size.max(initial=0)), 1))
        present = place < size[:, None]
        at = np.minimum(start[:, None] + place, max(len(h.item) - 1, 0))
        if dropout and rng is not None:
            present &= rng.random(present.shape) >= dropout

        def pad(values: npt.NDArray[np.generic], empty: float) -> torch.Tensor:
            padded = values[at] if len(values) else np.zeros(at.shape, values.dtype)
            return torch.from_numpy(np.where(present, padded, np.array(empty, values.dtype)))

        age_h = np.maximum(time_ms[:, None] - (h.last_ms[at] if len(h.item) else 0), 0) / MS_PER_HOUR
        return RequestBatch(
            item=pad(h.item, 0),
            kind=pad(h.kind, 0),
            count=pad(h.count, 1),
            age_h=torch.from_numpy(np.where(present, age_h, 0).astype(np.float32)),
            interval_h=pad(h.interval_h, 0),
            present=torch.from_numpy(present),
            categorical=torch.from_numpy(np.asarray(self.categorical[rows])),
            numeric=torch.from_numpy(self.pasts.numeric(rows, time_ms)),
            latest=self.pasts.latest(rows, dropout, rng),
        )


def make_requests(
    log: Log,
    encoder: RequestEncoder,
    statistics: ItemStatistics,
    rows: Log,
    at: Int,
    cut_ms: Int,
    time_ms: Int | None = None,
    sequence: int = 0,
) -> Requests:
    """Requests with user, time and context of the rows `at` of `rows`, and the past of `log` before `cut_ms`.

    `time_ms` (R,) makes them requests of another time. `sequence` latest raw events come along, if a model reads them.
    """
    columns = request_columns(log, statistics, rows, at, cut_ms, time_ms)
    return requests_of(log, encoder, columns, sequence)


def request_columns(
    log: Log, statistics: ItemStatistics, rows: Log, at: Int, cut_ms: Int, time_ms: Int | None = None
) -> Columns:
    """The columns that `requests_of` makes requests of; arguments as in `make_requests`."""
    user = rows.user[at]
    time_ms = rows.time_ms[at] if time_ms is None else time_ms
    start, end = log.range_before(user, cut_ms)
    return {
        "user": user,
        "time_ms": time_ms,
        "as_of": statistics.as_of_before(np.minimum(cut_ms, time_ms)),
        "categorical": rows.categorical[at],
        "given": rows.numeric[at],
        "start": start,
        "end": end,
        "until_ms": _first_of_run(start, end, time_ms),
    }


def requests_of(log: Log, encoder: RequestEncoder, columns: Columns, sequence: int = 0) -> Requests:
    """The requests of `request_columns`."""
    pasts = LogPasts.of(
        log, encoder, sequence, *(columns[name] for name in ("start", "end", "until_ms", "given", "user"))
    )
    own = {name: columns[name] for name in ("user", "time_ms", "as_of", "categorical")}
    return Requests(**own, pasts=pasts)


def _first_of_run(start: Int, end: Int, time_ms: Int) -> Int:
    """The earliest time of each run of requests with the same past."""
    if not len(start):
        return time_ms
    new = np.append(True, (start[1:] != start[:-1]) | (end[1:] != end[:-1]))
    first = np.flatnonzero(new)
    earliest: Int = np.minimum.reduceat(time_ms, first)[np.cumsum(new) - 1]
    return earliest


@dataclass(frozen=True)
class SessionExamples:
    """Requests at the start of sessions, and the items that each session turned out to have.

    Attributes:
        items: all items of the session.
        truth: what was consumed, by retrieval task; a request may have none for a task.
    """

    requests: Requests
    items: Ragged
    truth: dict[str, Ragged]

    def take(self, rows: Int) -> SessionExamples:
        """The sessions `rows`."""
        truth = {name: lists.take(rows) for name, lists in self.truth.items()}
        return SessionExamples(self.requests.take(rows), self.items.take(rows), truth)


@dataclass(frozen=True)
class ImpressionExamples:
    """Impressions: request, candidate item (R,), labels (R,) by task, and the row's number in the source (R,)."""

    requests: Requests
    item: Int
    labels: dict[str, Float]
    row: Int

    def take(self, rows: Int) -> ImpressionExamples:
        """The impressions `rows`."""
        labels = {name: values[rows] for name, values in self.labels.items()}
        return ImpressionExamples(self.requests.take(rows), self.item[rows], labels, self.row[rows])


def in_history(requests: Requests, items: Ragged) -> npt.NDArray[np.bool_]:
    """Whether each value of `items` (one list for each request) is in its request's history."""
    n = 1 << 32
    history, which = requests.histories(np.arange(len(requests)))
    owned = np.repeat(np.arange(len(history.offsets) - 1), np.diff(history.offsets)) * n + history.item
    wanted = which[items.owner()] * n + items.values
    return np.isin(wanted, owned)


def day_before(time_ms: Int, end_ms: int) -> Int:
    """The start of each time's day, where days are counted back from `end_ms`: labels of the same day stay unseen."""
    return end_ms - -(-(end_ms - time_ms) // MS_PER_DAY) * MS_PER_DAY


def session_rows(log: Log, first: Int) -> Ragged:
    """The rows of the sessions that start at the rows `first` (of `Log.session_starts`)."""
    sizes = log.session_ends(first) - first
    flat = np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
    return Ragged(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), flat.astype(np.int64))


def draw_sessions(
    log: Log, most: int, rng: np.random.Generator, counts: Callable[[slice], npt.NDArray[np.bool_]] | None = None
) -> Int:
    """First rows of at most `most` sessions, ascending; of more sessions, a random sample.

    Args:
        counts: of rows, which of them count; sessions without such a row are left out.
    """

    def first(rows: slice) -> Int:
        new = log.starts_session(rows)
        starts = rows.start + np.flatnonzero(new)
        if counts is not None:
            starts = starts[np.bincount(np.cumsum(new) - 1, counts(rows), len(starts)) > 0]
        return np.asarray(starts, np.int64)

    ends = np.cumsum([len(first(rows)) for rows in log.groups()])
    chosen = np.arange(min(ends[-1], most))
    if ends[-1] > most:
        chosen = np.sort(rng.choice(ends[-1], most, replace=False))
    parts = zip(log.groups(), np.split(chosen, np.searchsorted(chosen, ends[:-1])), [0, *ends[:-1]], strict=True)
    return np.concatenate([first(rows)[part - before] for rows, part, before in parts]).astype(np.int64)


def join_sessions(first: SessionExamples, second: SessionExamples) -> SessionExamples:
    """All sessions of `first`, then all of `second`."""
    a, b = first.requests, second.requests
    assert isinstance(a.pasts, LogPasts) and isinstance(b.pasts, LogPasts)
    own = {n: np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("user", "time_ms", "as_of", "categorical")}
    requests = Requests(**own, pasts=a.pasts.then(b.pasts))
    truth = {name: first.truth[name].then(second.truth[name]) for name in first.truth}
    return SessionExamples(requests, first.items.then(second.items), truth)
