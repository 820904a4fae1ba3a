"""What the users of requests did before: read from the log for each batch, since all pasts together are many logs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from edgerec.examples.log import Log, histories_between
from edgerec.models.inputs import LatestEvents
from edgerec.tasks import History, RequestEncoder, context_numbers
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_HOUR


class Pasts(Protocol):
    """The pasts of R requests; `rows` are indices of requests."""

    def take(self, rows: Int) -> Pasts:
        """The pasts of the requests `rows`."""

    def lengths(self, rows: Int) -> Int:
        """How long each past is: its distinct items or, where these would have to be read first, its events."""

    def histories(self, rows: Int) -> tuple[History, Int]:
        """Distinct histories, and which of them each of `rows` has."""

    def numeric(self, rows: Int, time_ms: Int) -> Float:
        """The numeric input of requests at `time_ms` (len(rows),), float32 (len(rows), M)."""

    def latest(self, rows: Int, dropout: float, rng: np.random.Generator | None) -> LatestEvents | None:
        """The latest raw events, if a model reads them; with `dropout`, each is left out with that probability."""


@dataclass(frozen=True)
class _ReadPasts:
    """Distinct histories, read from the log, and which of them each request has."""

    history: History
    which: Int


@dataclass(frozen=True)
class LogPasts:
    """Pasts as ranges of a log's rows, each range of one user.

    Attributes:
        sequence: latest raw events that a model reads.
        start, end: int64 (R,), rows of each past.
        until_ms: int64 (R,), until when its latest event lasts.
        given: float64 (R, n), numeric features of the context and the user, raw.
        user: int64 (R,).
        read: histories that were made in advance, where they are few.
    """

    log: Log
    encoder: RequestEncoder
    sequence: int
    start: Int
    end: Int
    until_ms: Int
    given: npt.NDArray[np.float64]
    user: Int
    read: _ReadPasts | None

    @classmethod
    def of(
        cls,
        log: Log,
        encoder: RequestEncoder,
        sequence: int,
        start: Int,
        end: Int,
        until_ms: Int,
        given: npt.NDArray[np.float64],
        user: Int,
    ) -> LogPasts:
        """Pasts of a log; those of few events are read at once."""
        unread = cls(log, encoder, sequence, start, end, until_ms, given, user, None)
        if len(start) > log.limits.events:
            return unread
        first, last, which = _distinct(start, end)
        if int((last - first).sum()) > log.limits.events:
            return unread
        return replace(unread, read=_ReadPasts(histories_between(log, encoder, first, last), which))

    def take(self, rows: Int) -> LogPasts:
        read = None if self.read is None else replace(self.read, which=self.read.which[rows])
        columns = {name: getattr(self, name)[rows] for name in ("start", "end", "until_ms", "given", "user")}
        return replace(self, **columns, read=read)

    def then(self, other: LogPasts) -> LogPasts:
        """These pasts, then those of `other`, which are of the same log."""
        assert self.log is other.log
        names = ("start", "end", "until_ms", "given", "user")
        joined = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in names)
        return LogPasts.of(self.log, self.encoder, self.sequence, *joined)

    def lengths(self, rows: Int) -> Int:
        if self.read is not None:
            return np.diff(self.read.history.offsets)[self.read.which[rows]]
        return np.asarray(self.end[rows] - self.start[rows])

    def histories(self, rows: Int) -> tuple[History, Int]:
        if self.read is not None:
            return self.read.history, self.read.which[rows]
        first, last, which = _distinct(np.asarray(self.start[rows]), np.asarray(self.end[rows]))
        return histories_between(self.log, self.encoder, first, last), which

    def numeric(self, rows: Int, time_ms: Int) -> Float:
        sums = self.log.sums(np.asarray(self.start[rows]), np.asarray(self.end[rows]), len(self.encoder.binary))
        held = self.log.held[self.user[rows]] if self.encoder.multi else None
        return context_numbers(self.encoder, sums, time_ms, np.asarray(self.given[rows]), held)

    def latest(self, rows: Int, dropout: float, rng: np.random.Generator | None) -> LatestEvents | None:
        if not self.sequence:
            return None
        end = np.asarray(self.end[rows])
        start, until_ms = np.maximum(self.start[rows], end - self.sequence), np.asarray(self.until_ms[rows])
        log = self.log
        return latest_events(log.item, log.kind, log.time_ms, start, end, until_ms, dropout, rng)


@dataclass(frozen=True)
class GivenPasts:
    """One past that `n` requests share, encoded as on a device. Its events are its distinct items.

    Attributes:
        history: of one request. given: float32 (M,), the numeric input. time_ms: of the requests.
    """

    n: int
    history: History
    given: Float
    time_ms: int
    sequence: int

    def take(self, rows: Int) -> GivenPasts:
        return replace(self, n=len(rows))

    def lengths(self, rows: Int) -> Int:
        return np.full(len(rows), len(self.history.item))

    def histories(self, rows: Int) -> tuple[History, Int]:
        return self.history, np.zeros(len(rows), np.int64)

    def numeric(self, rows: Int, time_ms: Int) -> Float:
        return np.repeat(self.given[None], len(rows), axis=0)

    def latest(self, rows: Int, dropout: float, rng: np.random.Generator | None) -> LatestEvents | None:
        if not self.sequence:
            return None
        h, n = self.history, np.full(len(rows), len(self.history.item))
        start, until_ms = np.maximum(n - self.sequence, 0), np.full(len(rows), self.time_ms)
        return latest_events(h.item, h.kind, h.last_ms, start, n, until_ms, dropout, rng)


def _distinct(start: Int, end: Int) -> tuple[Int, Int, Int]:
    """Starts and ends of the distinct ranges, and which of them each is; all empty pasts are the same."""
    start, end = np.where(end > start, [start, end], 0)
    width = int(end.max(initial=0)) + 1
    pairs, which = np.unique(start * width + end, return_inverse=True)
    return pairs // width, pairs % width, which.astype(np.int64)


def latest_events(
    item: Int,
    kind: Int,
    time_ms: Int,
    start: Int,
    end: Int,
    until_ms: Int,
    dropout: float,
    rng: np.random.Generator | None,
) -> LatestEvents:
    """The events of the rows from `start` to `end` (B,), padded; gaps last until the next event or `until_ms` (B,)."""
    key = np.stack([start, end, until_ms], axis=1)
    past = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    widest = max(int((end - start).max(initial=0)), 1)
    at = end[:, None] - widest + np.arange(widest)
    present = at >= start[:, None]
    if dropout and rng is not None:
        present &= rng.random(present.shape) >= dropout
    if not len(item):
        nothing = torch.zeros(at.shape, dtype=torch.int64)
        return LatestEvents(nothing, nothing, nothing.float(), nothing > 0, torch.from_numpy(past))
    at = np.clip(at, 0, len(item) - 1)
    following = np.concatenate([time_ms[at[:, 1:]], until_ms[:, None]], axis=1)
    gap_h = np.maximum(following - time_ms[at], 0) / MS_PER_HOUR
    return LatestEvents(
        item=torch.from_numpy(np.where(present, item[at], 0)),
        kind=torch.from_numpy(np.where(present, kind[at], 0)),
        gap_h=torch.from_numpy(np.where(present, gap_h, 0).astype(np.float32)),
        present=torch.from_numpy(present),
        past=torch.from_numpy(past),
    )
