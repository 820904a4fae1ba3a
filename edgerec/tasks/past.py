"""The user's own past as numbers: rates of each binary task, counts, times. One function for training and device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Float, Int, by_time, elapsed
from edgerec.tasks.units import MS_PER_DAY

SMOOTHING = 20.0
"""Events at the population's rate that are added to a user's own; KuaiRand's users have 14 events on average."""


class PastSums(NamedTuple):
    """Sums over the earlier events of R requests: all that `past_numbers` needs besides the time of the request.

    Attributes:
        events, sessions: float64 (R,), number of events and of distinct event times.
        first_ms, last_ms: int64 (R,), 0 where there is no event.
        positives: float64 (R, B), events whose binary task b was positive.
    """

    events: npt.NDArray[np.float64]
    sessions: npt.NDArray[np.float64]
    first_ms: Int
    last_ms: Int
    positives: npt.NDArray[np.float64]


class Timeless(NamedTuple):
    """`past_numbers` before the time of the request is known.

    Attributes:
        numbers: float32 (R, 6 + 2B), the result with gaps that `with_times` fills.
        from_ms: int64 (3, R), the times that elapsed times start from: the last, first and last event.
        unit_ms: float64 (3, R), their units: a day, a day, the mean gap between sessions plus a day; infinite without
            events.
    """

    numbers: Float
    from_ms: Int
    unit_ms: npt.NDArray[np.float64]


def summarize_past(request: Int, kind: Int, time_ms: Int, n_requests: int, n_binary: int) -> PastSums:
    """Sum up the events of each request; shapes as in `encode_history`."""
    request, kind, time_ms = by_time(request, time_ms, kind)
    new_session = np.ones(len(request))
    new_session[1:] = (request[1:] != request[:-1]) | (time_ms[1:] != time_ms[:-1])
    events = np.bincount(request, minlength=n_requests).astype(np.float64)
    end = np.cumsum(events).astype(np.int64)
    start = end - events.astype(np.int64)
    some = events > 0
    first_ms, last_ms = np.zeros(n_requests, np.int64), np.zeros(n_requests, np.int64)
    first_ms[some], last_ms[some] = time_ms[start[some]], time_ms[end[some] - 1]
    positives = [np.bincount(request, (kind >> b) & 1, n_requests) for b in range(n_binary)]
    return PastSums(
        events=events,
        sessions=np.bincount(request, new_session, n_requests).astype(np.float64),
        first_ms=first_ms,
        last_ms=last_ms,
        positives=np.array(positives, np.float64).reshape(n_binary, n_requests).T,
    )


def past_names(binary: Sequence[str]) -> list[str]:
    """Names of the columns of `past_numbers`, in order."""
    base = ["events", "visits", "days_since_last", "days_since_first", "visit_gap_days", "overdue"]
    return base + [f"{kind}.{task}" for task in binary for kind in ("rate", "positives")]


def past_numbers(past: PastSums, now_ms: Int, rates: npt.NDArray[np.float64]) -> Float:
    """Turn sums into model inputs of about unit size; a user without events gets zeros.

    Args:
        now_ms: int64 (R,), time of each request.
        rates: float64 (B,), the population's rate of each binary task, in (0, 1).
    Returns:
        float32 (R, 6 + 2B): log counts, log days, the gap between sessions and how far it is exceeded; then for
        each binary task the log-odds of its smoothed rate against the population's, and its log count.
    """
    inputs = timeless(past, rates)
    return with_times(inputs.numbers, elapsed(now_ms, inputs.from_ms, inputs.unit_ms))


def with_times(numbers: Float, since: npt.NDArray[np.float64]) -> Float:
    """Fill the gaps in `Timeless.numbers`; `since` (3, R) holds the elapsed times, see `elapsed`."""
    filled = numbers.copy()
    filled[:, 2], filled[:, 3], filled[:, 5] = np.log1p(since)
    return filled


def timeless(past: PastSums, rates: npt.NDArray[np.float64]) -> Timeless:
    """The part of `past_numbers` that does not depend on the time of the request."""
    gap = (past.last_ms - past.first_ms) / MS_PER_DAY / np.maximum(past.sessions - 1, 1)
    smoothed = (past.positives + SMOOTHING * rates) / (past.events + SMOOTHING)[:, None]
    numbers = np.zeros((len(gap), 6 + 2 * len(rates)), np.float32)
    numbers[:, 0], numbers[:, 1], numbers[:, 4] = np.log1p(past.events), np.log1p(past.sessions), np.log1p(gap)
    numbers[:, 6::2] = np.log(smoothed / (1 - smoothed)) - np.log(rates / (1 - rates))
    numbers[:, 7::2] = np.log1p(past.positives)
    unit_ms = MS_PER_DAY * np.array([np.ones_like(gap), np.ones_like(gap), gap + 1.0])
    return Timeless(
        numbers,
        from_ms=np.array([past.last_ms, past.first_ms, past.last_ms]),
        unit_ms=np.where(past.events > 0, unit_ms, np.inf),
    )
