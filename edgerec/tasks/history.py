"""A user's past as distinct items: the history input of teacher and student, in training and on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.tasks.units import MS_PER_HOUR

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


FEW = 500
"""Pairs that are sorted without more ado."""


@dataclass(frozen=True)
class History:
    """Distinct past items of R requests, flat; request r has the slice ``offsets[r]:offsets[r + 1]``.

    Within a request, items are in the order of their last event, oldest first.

    Attributes:
        offsets: int64, shape (R + 1,).
        item: int64, shape (S,), item indices.
        kind: int64, shape (S,), all kinds of the item's events, as one bitmask.
        count: float32, shape (S,), number of events.
        last_ms: int64, shape (S,), time of the last event, ms since 1970 UTC.
        interval_h: float32, shape (S,), mean hours between events; 0 where there was one event.
    """

    offsets: Int
    item: Int
    kind: Int
    count: Float
    last_ms: Int
    interval_h: Float

    def age_h(self, now_ms: Int) -> Float:
        """Hours from each item's last event to its request's time, never negative; `now_ms` int64 (R,)."""
        return elapsed(np.repeat(now_ms, np.diff(self.offsets)), self.last_ms, MS_PER_HOUR).astype(np.float32)


def elapsed(now_ms: Int | int, from_ms: Int, unit_ms: Double | float) -> Double:
    """Time since `from_ms` in units of `unit_ms`, never negative."""
    since: Double = np.maximum(now_ms - from_ms, 0) / unit_ms
    return since


def encode_history(request: Int, item: Int, kind: Int, time_ms: Int, n_requests: int, max_items: int) -> History:
    """Aggregate raw events into the distinct past items of each request.

    Args:
        request: int64 (E,), the request that each event belongs to, in [0, n_requests).
        item: int64 (E,), item indices.
        kind: int64 (E,), bitmask of positive binary tasks.
        time_ms: int64 (E,).
        max_items: only the items with the latest events are kept.
    """
    request, item, kind, time_ms = by_time(request, time_ms, item, kind)
    instant = np.cumsum(_is_new(request, time_ms))
    order = _sorted_by(request, item)
    request, item, kind = request[order], item[order], kind[order]
    time_ms, instant = time_ms[order], instant[order]
    is_first = _is_new(request, item)
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(item))[: len(first)] - 1
    count = last - first + 1
    kinds = np.bitwise_or.reduceat(kind, first) if len(first) else kind[:0]

    # Ties are broken by the item, so that the order never depends on the order of the log.
    recent = _sorted_by(instant[last], item[first])
    first, last, count, kinds = first[recent], last[recent], count[recent], kinds[recent]
    sizes = np.bincount(request[first], minlength=n_requests)
    ends = np.cumsum(sizes)
    keep = np.arange(len(first)) >= (ends - max_items)[request[first]]
    first, last, count, kinds = first[keep], last[keep], count[keep], kinds[keep]

    gap_h = (time_ms[last] - time_ms[first]) / MS_PER_HOUR / np.maximum(count - 1, 1)
    return History(
        offsets=np.concatenate(([0], np.cumsum(np.minimum(sizes, max_items)))).astype(np.int64),
        item=item[first].astype(np.int64),
        kind=kinds.astype(np.int64),
        count=count.astype(np.float32),
        last_ms=time_ms[last].astype(np.int64),
        interval_h=gap_h.astype(np.float32),
    )


def by_time(request: Int, time_ms: Int, *columns: Int) -> tuple[Int, ...]:
    """Requests, other columns and times of events, by request and then by time; events of one time stay in order."""
    later = (request[1:] > request[:-1]) | ((request[1:] == request[:-1]) & (time_ms[1:] >= time_ms[:-1]))
    if later.all():  # as the rows of a log are
        return (request, *columns, time_ms)
    order = np.lexsort((time_ms, request))
    return tuple(values[order] for values in (request, *columns, time_ms))


def _is_new(first: Int, second: Int) -> Mask:
    """Whether a pair differs from the one before it."""
    new: Mask = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return new


def _sorted_by(first: Int, second: Int) -> Int:
    """Indices that sort pairs of numbers from 0; equal pairs stay in order.

    Sorting whole numbers is several times faster than sorting indices by two keys: the pair and its place are put into
    one number, where it has room for them.
    """
    n = len(first)
    if n > FEW:
        width = int(second.max()) + 1
        if (int(first.max()) + 1) * width * n < 1 << 63:
            order: Int = np.sort((first.astype(np.int64) * width + second) * n + np.arange(n)) % n
            return order
    return np.lexsort((second, first))
