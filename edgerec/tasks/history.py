"""A user's past as distinct items: the history input of teacher and student, in training and on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.tasks.units import MS_PER_HOUR

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]


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
    order = np.lexsort((time_ms, item, request))
    request, item, kind, time_ms = request[order], item[order], kind[order], time_ms[order]
    is_first = np.ones(len(item), bool)
    is_first[1:] = (request[1:] != request[:-1]) | (item[1:] != item[:-1])
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(item))[: len(first)] - 1
    count = last - first + 1
    kinds = np.bitwise_or.reduceat(kind, first) if len(first) else kind[:0]

    # Ties are broken by the item, so that the order never depends on the order of the log.
    recent = np.lexsort((item[first], time_ms[last], request[first]))
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
