"""Splits the log into train (0), valid (1) and test (2), and computes the k-core of leave-last-out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

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
        unit = pl.col("session") if "session" in events.columns else pl.int_range(pl.len())
        from_last = unit.rank("dense", descending=True).over("user") - 1
        part = events.select((2 - from_last.cast(pl.Int64)).clip(0, 2).cast(pl.UInt8).alias("part"))
        return part["part"], Boundaries(None, None, None)
    cuts = boundaries(events["time"], config, zone)
    part = events.select(
        ((pl.col("time") >= cuts.valid).cast(pl.UInt8) + (pl.col("time") >= cuts.test).cast(pl.UInt8)).alias("part")
    )
    return part["part"], cuts


def k_core(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """The largest subset of `events` in which each user and each item has at least `k` rows, in the same order."""
    while True:
        enough = (pl.len().over("item") >= k) & (pl.len().over("user") >= k)
        smaller = events.filter(enough)
        if smaller.height == events.height:
            return events
        events = smaller


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
