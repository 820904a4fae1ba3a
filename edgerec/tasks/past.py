"""The user's own past as numbers, of many requests at once: rates of each binary task, counts, times.

`edgerec.tasks.request` has the same for one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Float, Int, by_time, elapsed
from edgerec.tasks.request import CLIP, SMOOTHING, Numeric, RequestEncoder
from edgerec.tasks.units import MS_PER_DAY


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


def past_numbers(past: PastSums, now_ms: Int, rates: npt.NDArray[np.float64]) -> Float:
    """Turn sums into model inputs of about unit size; a user without events gets zeros.

    Args:
        now_ms: int64 (R,), time of each request.
        rates: float64 (B,), the population's rate of each binary task, in (0, 1).
    Returns:
        float32 (R, 6 + 2B): log counts, log days, the gap between sessions and how far it is exceeded; then for
        each binary task the log-odds of its smoothed rate against the population's, and its log count.
    """
    gap = (past.last_ms - past.first_ms) / MS_PER_DAY / np.maximum(past.sessions - 1, 1)
    smoothed = (past.positives + SMOOTHING * rates) / (past.events + SMOOTHING)[:, None]
    numbers = np.zeros((len(gap), 6 + 2 * len(rates)), np.float32)
    numbers[:, 0], numbers[:, 1], numbers[:, 4] = np.log1p(past.events), np.log1p(past.sessions), np.log1p(gap)
    numbers[:, 6::2] = np.log(smoothed / (1 - smoothed)) - np.log(rates / (1 - rates))
    numbers[:, 7::2] = np.log1p(past.positives)
    from_ms = np.array([past.last_ms, past.first_ms, past.last_ms])
    unit_ms = MS_PER_DAY * np.array([np.ones_like(gap), np.ones_like(gap), gap + 1.0])
    since = elapsed(now_ms, from_ms, np.where(past.events > 0, unit_ms, np.inf))
    numbers[:, 2], numbers[:, 3], numbers[:, 5] = np.log1p(since)
    return numbers


def context_numbers(
    encoder: RequestEncoder,
    past: PastSums,
    now_ms: Int,
    values: npt.NDArray[np.float64] | None = None,
    held: npt.NDArray[np.bool_] | None = None,
) -> Float:
    """``context_numeric`` of R requests, float32 (R, M), see `edgerec.tasks.RequestEncoder.numbers`.

    Args:
        values: raw (R, len(encoder.numeric)), NaN where missing.
        held: bool (R, P), which values of `encoder.multi` a request has.
    """
    given = [past_numbers(past, now_ms, np.array(encoder.rates, np.float64))]
    if encoder.numeric and values is not None:
        given.append(standardize(values, encoder.numeric))
    if encoder.multi and held is not None:
        first = np.cumsum([len(column.values) for column in encoder.multi])[:-1]
        given += [part / np.maximum(part.sum(axis=1, keepdims=True), 1) for part in np.split(held, first, axis=1)]
    return np.concatenate(given, axis=1, dtype=np.float32) if len(given) > 1 else given[0]


def standardize(values: npt.NDArray[np.float64], columns: Sequence[Numeric]) -> Float:
    """(value - mean) / std, clipped at `CLIP`, 0 where missing; (R, n) -> float32 (R, n)."""
    mean = np.array([c.mean for c in columns])
    std = np.array([c.std for c in columns])
    scaled = np.clip((values - mean) / std, -CLIP, CLIP)
    return np.where(np.isfinite(scaled), scaled, 0.0).astype(np.float32)
