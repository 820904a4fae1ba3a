"""Splits the log into train (0), valid (1) and test (2), and computes the k-core of leave-last-out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.config import SplitConfig, duration_ms

__all__ = ["PARTS", "Boundaries", "boundaries", "k_core", "split"]

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Boundaries:
    """First millisecond (UTC) of valid, of test, and after the last event; None for leave-last-out."""

    valid: int | None
    test: int | None
    end: int | None


def boundaries(time: pl.Series, config: SplitConfig, zone: ZoneInfo) -> Boundaries:
    """Where the parts begin.

    Durations count back from the local midnight after the last event, days by the calendar. Fractions are of
    the span between first and last event, or with ``by = "rows"`` quantiles of the rows' times.

    Args:
        time: int64 milliseconds, not empty.
    """
    valid, test = config.parts
    last: int = time.max()  # type: ignore[assignment]
    if isinstance(valid, str) and isinstance(test, str):
        end = _next_midnight(last, zone)
        test_from = _back(end, test, zone)
        return Boundaries(_back(test_from, valid, zone), test_from, end)
    fractions = 1 - float(valid) - float(test), 1 - float(test)
    if config.by == "rows":
        cuts = [time.quantile(fraction, interpolation="linear") for fraction in fractions]
    else:
        first: int = time.min()  # type: ignore[assignment]
        cuts = [first + fraction * (last - first) for fraction in fractions]
    return Boundaries(math.ceil(cuts[0] or 0), math.ceil(cuts[1] or 0), last + 1)


def split(events: pl.DataFrame, config: SplitConfig, zone: ZoneInfo) -> tuple[pl.Series, Boundaries]:
    """The part of each event, uint8, index into `PARTS`.

    Args:
        events: sorted by time; columns user, time, and session if there are sessions (never cut in two).
    """
    if config.by == "leave-last-out":
        return pl.Series("part", _last_out(events)), Boundaries(None, None, None)
    cuts = boundaries(events["time"], config, zone)
    part = events.select(
        ((pl.col("time") >= cuts.valid).cast(pl.UInt8) + (pl.col("time") >= cuts.test).cast(pl.UInt8)).alias("part")
    )
    return part["part"], cuts


def _last_out(events: pl.DataFrame) -> npt.NDArray[np.uint8]:
    """2 for the last session (or event) of each user, 1 for the one before it, 0 for the others."""
    user = events["user"].to_numpy()
    by_user = np.argsort(user, kind="stable").astype(np.uint32)
    unit = events["session"].to_numpy()[by_user] if "session" in events.columns else by_user
    user = user[by_user]
    last_of_user = np.append(user[1:] != user[:-1], True)
    last = np.append((unit[1:] != unit[:-1]) | last_of_user[:-1], True)
    # Counted from the end: how many units of the same user end at or after a row.
    ends = np.cumsum(last[::-1], dtype=np.uint32)[::-1]
    ends_of_user = np.flatnonzero(last_of_user)
    before = np.repeat(ends[ends_of_user], np.diff(np.concatenate(([-1], ends_of_user))))
    part = np.empty(len(user), np.uint8)
    part[by_user] = 2 - np.minimum(ends - before, 2)
    return part


def k_core(user: npt.NDArray[np.uint32], item: npt.NDArray[np.uint32], k: int) -> npt.NDArray[np.bool_]:
    """Which rows are in the largest subset in which each user and each item has at least `k` rows."""
    inside = np.ones(len(user), bool)
    while True:
        enough = [np.bincount(codes[inside], minlength=codes.max(initial=0) + 1) >= k for codes in (user, item)]
        smaller = inside & enough[0][user] & enough[1][item]
        if smaller.sum() == inside.sum():
            return smaller
        inside = smaller


def _next_midnight(time: int, zone: ZoneInfo) -> int:
    day = datetime.fromtimestamp(time / 1000, zone).date() + timedelta(days=1)
    return _ms(datetime(day.year, day.month, day.day, tzinfo=zone))


def _back(time: int, duration: str, zone: ZoneInfo) -> int:
    if duration[-1] in "wd":
        # Wall-clock arithmetic: a day that summer time shortens is still one day.
        return _ms(datetime.fromtimestamp(time / 1000, zone) - timedelta(milliseconds=duration_ms(duration)))
    return time - duration_ms(duration)


def _ms(time: datetime) -> int:
    return round(time.astimezone(UTC).timestamp() * 1000)
