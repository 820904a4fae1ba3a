"""What teacher and student learn from and are judged on: requests, shown rows and sessions, ready to be batched."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from edgerec.models.inputs import Latest, RequestBatch
from edgerec.tasks import History, Past, RequestEncoder
from edgerec.tasks.history import Float, Int
from edgerec.training.log import Log, earlier_events, join_histories
from edgerec.training.statistics import MS_PER_DAY, ItemStatistics

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
        """The list that each value stands in."""
        return np.repeat(np.arange(len(self)), self.sizes())

    def where(self, keep: npt.NDArray[np.bool_]) -> Ragged:
        """The values for which `keep`, in the lists they stood in."""
        sizes = np.bincount(self.owner()[keep], minlength=len(self))
        return Ragged(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), self.values[keep])

    def then(self, other: Ragged) -> Ragged:
        """These lists, then those of `other`."""
        offsets = np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]])
        return Ragged(offsets, np.concatenate([self.values, other.values]))

    def row(self, r: int) -> Int:
        """One list."""
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    @classmethod
    def empty(cls, n: int) -> Ragged:
        """`n` empty lists."""
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class RawEvents:
    """The latest raw events of P pasts, as slices of a log.

    Attributes:
        item, kind, time_ms: int64 (E,), columns of the log.
        start, end: int64 (P,), rows of each past.
        until_ms: int64 (P,), time of the first request that each is the past of.
    """

    item: Int
    kind: Int
    time_ms: Int
    start: Int
    end: Int
    until_ms: Int

    def batch(self, past: Int, dropout: float, rng: np.random.Generator | None) -> Latest:
        """Of the pasts `past` (B,), padded; with `dropout`, each event is left out with that probability."""
        start, end = self.start[past], self.end[past]
        widest = max(int((end - start).max(initial=0)), 1)
        at = end[:, None] - widest + np.arange(widest)
        present = at >= start[:, None]
        if dropout and rng is not None:
            present &= rng.random(present.shape) >= dropout
        if not len(self.item):
            nothing = torch.zeros(at.shape, dtype=torch.int64)
            return Latest(nothing, nothing, nothing.float(), nothing > 0, torch.from_numpy(past))
        at = np.clip(at, 0, len(self.item) - 1)
        following = np.concatenate([self.time_ms[at[:, 1:]], self.until_ms[past][:, None]], axis=1)
        gap_h = np.maximum(following - self.time_ms[at], 0) / 3_600_000.0
        return Latest(
            item=torch.from_numpy(np.where(present, self.item[at], 0)),
            kind=torch.from_numpy(np.where(present, self.kind[at], 0)),
            gap_h=torch.from_numpy(np.where(present, gap_h, 0).astype(np.float32)),
            present=torch.from_numpy(present),
            past=torch.from_numpy(past),
        )

    def then(self, other: RawEvents) -> RawEvents:
        """These pasts, then those of `other`, which are of the same log."""
        assert self.item is other.item or np.array_equal(self.item, other.item)
        joined = {n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("start", "end", "until_ms")}
        return replace(self, **joined)


@dataclass(frozen=True)
class Requests:
    """R requests. Requests of one user at one cut share their past: `past_id` points into `history`.

    Attributes:
        user, time_ms, past_id, moment: int64 (R,); `moment` indexes the item statistics known at the request.
        categorical: int64 (R, C); numeric: float32 (R, M), complete.
        latest: by `past_id` too; None where no model reads raw events.
    """

    user: Int
    time_ms: Int
    past_id: Int
    moment: Int
    history: History
    categorical: Int
    numeric: Float
    latest: RawEvents | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Int) -> Requests:
        """The requests `rows`; their pasts stay where they are."""
        names = ("user", "time_ms", "past_id", "moment", "categorical", "numeric")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def lengths(self) -> Int:
        """Distinct past items of each request."""
        return np.diff(self.history.offsets)[self.past_id]

    def batch(self, rows: Int, dropout: float = 0.0, rng: np.random.Generator | None = None) -> RequestBatch:
        """Requests `rows`, padded; with `dropout`, each past item is left out with that probability."""
        h, ids = self.history, self.past_id[rows]
        start, size = h.offsets[ids], np.diff(h.offsets)[ids]
        place = np.arange(max(int(size.max(initial=0)), 1))
        present = place < size[:, None]
        at = np.minimum(start[:, None] + place, max(len(h.item) - 1, 0))
        if dropout and rng is not None:
            present &= rng.random(present.shape) >= dropout

        def pad(values: npt.NDArray[np.generic], empty: float) -> torch.Tensor:
            found = values[at] if len(values) else np.zeros(at.shape, values.dtype)
            return torch.from_numpy(np.where(present, found, np.array(empty, values.dtype)))

        age_h = np.maximum(self.time_ms[rows][:, None] - (h.last_ms[at] if len(h.item) else 0), 0) / 3_600_000.0
        return RequestBatch(
            item=pad(h.item, 0),
            kind=pad(h.kind, 0),
            count=pad(h.count, 1),
            age_h=torch.from_numpy(np.where(present, age_h, 0).astype(np.float32)),
            interval_h=pad(h.interval_h, 0),
            present=torch.from_numpy(present),
            categorical=torch.from_numpy(self.categorical[rows]),
            numeric=torch.from_numpy(self.numeric[rows]),
            latest=None if self.latest is None else self.latest.batch(ids, dropout, rng),
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
    user = rows.user[at]
    time_ms = rows.time_ms[at] if time_ms is None else time_ms
    pairs, past_id = np.unique(np.stack([user, cut_ms], 1), axis=0, return_inverse=True)
    history, past = earlier_events(log, encoder, pairs[:, 0], pairs[:, 1])
    past_id = past_id.reshape(-1).astype(np.int64)
    each = Past(
        past.events[past_id],
        past.visits[past_id],
        past.first_ms[past_id],
        past.last_ms[past_id],
        past.positives[past_id],
    )
    return Requests(
        user=user,
        time_ms=time_ms,
        past_id=past_id,
        moment=statistics.moment_before(np.minimum(cut_ms, time_ms)),
        history=history,
        categorical=rows.categorical[at],
        numeric=encoder.numbers(each, time_ms, rows.numeric[at]),
        latest=_raw_events(log, pairs, past_id, time_ms, sequence) if sequence else None,
    )


def _raw_events(log: Log, pairs: Int, past_id: Int, time_ms: Int, most: int) -> RawEvents:
    """The `most` latest events of each pair of user and cut."""
    start, end = log.range_before(pairs[:, 0], pairs[:, 1])
    until = np.full(len(pairs), FOREVER)
    np.minimum.at(until, past_id, time_ms)
    return RawEvents(log.item, log.kind, log.time_ms, np.maximum(start, end - most), end, until)


@dataclass(frozen=True)
class VisitExamples:
    """Requests at the start of visits, and the items that each visit turned out to hold.

    Attributes:
        items: all items of the visit.
        truth: what was consumed, by retrieval task; a request may have none for a task.
    """

    requests: Requests
    items: Ragged
    truth: dict[str, Ragged]


@dataclass(frozen=True)
class RowExamples:
    """Shown rows: request, candidate item (R,), labels (R,) by task, and the row's number in the source (R,)."""

    requests: Requests
    item: Int
    labels: dict[str, Float]
    row: Int


def in_history(requests: Requests, items: Ragged) -> npt.NDArray[np.bool_]:
    """For each value of `items` (one list a request), whether the request's history holds it."""
    history, n = requests.history, 1 << 32
    owned = np.repeat(np.arange(len(history.offsets) - 1), np.diff(history.offsets)) * n + history.item
    wanted = requests.past_id[items.owner()] * n + items.values
    return np.isin(wanted, owned)


def day_before(time_ms: Int, end_ms: int) -> Int:
    """The last moment, whole days before `end_ms`, that is not after each time: labels of the same day stay unseen."""
    return end_ms - -(-(end_ms - time_ms) // MS_PER_DAY) * MS_PER_DAY


def visit_rows(log: Log, first: Int) -> Ragged:
    """The rows of the visits that start at the rows `first` (ascending, of `Log.starts_of_visits`)."""
    starts = log.starts_of_visits()
    ends = np.append(starts[1:], len(log))[np.searchsorted(starts, first)]
    sizes = ends - first
    flat = np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
    return Ragged(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), flat.astype(np.int64))


def join_visits(first: VisitExamples, second: VisitExamples) -> VisitExamples:
    """All visits of `first`, then all of `second`."""
    a, b = first.requests, second.requests
    requests = Requests(
        user=np.concatenate([a.user, b.user]),
        time_ms=np.concatenate([a.time_ms, b.time_ms]),
        past_id=np.concatenate([a.past_id, b.past_id + len(a.history.offsets) - 1]),
        moment=np.concatenate([a.moment, b.moment]),
        history=join_histories([a.history, b.history]),
        categorical=np.concatenate([a.categorical, b.categorical]),
        numeric=np.concatenate([a.numeric, b.numeric]),
        latest=None if a.latest is None or b.latest is None else a.latest.then(b.latest),
    )
    truth = {name: first.truth[name].then(second.truth[name]) for name in first.truth}
    return VisitExamples(requests, first.items.then(second.items), truth)
