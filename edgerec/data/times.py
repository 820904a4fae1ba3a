"""Dates, strings and numbers as times in milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from edgerec.errors import DataError

__all__ = ["FIRST_MS", "LAST_MS", "time_ms"]

FIRST_MS = int(datetime(1970, 1, 2, tzinfo=UTC).timestamp() * 1000)
"""Earlier times are zeros and small counters that were mistaken for times."""
LAST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)

# (from this value on, unit, milliseconds in it)
_EPOCH_UNITS = (
    (1e17, "nanoseconds", 1e-6),
    (1e14, "microseconds", 1e-3),
    (1e11, "milliseconds", 1.0),
    (FIRST_MS / 1000, "seconds", 1000.0),
)

_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
)


def time_ms(time: pl.Expr, sample: pl.Series, timezone: str, what: str) -> tuple[pl.Expr, str]:
    """A column of times as int64 milliseconds since 1970, UTC, and how it was read, in words.

    Strings are read in the one format that fits most of `sample`, numbers by their magnitude. A value that cannot be
    read becomes null, and so does a time that does not exist in `timezone` (the hour that summer time skips).

    Args:
        time: the column.
        sample: some of its values, none of them null.
        timezone: time zone of times that carry none.
        what: name of the column in messages.

    Raises:
        DataError: nothing in the sample looks like a time.
    """
    dtype = sample.dtype
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        zone = getattr(dtype, "time_zone", None)
        return _to_ms(time.cast(pl.Datetime("us", zone)), zone, timezone), f"dates in {zone or timezone}"
    if dtype.is_numeric():
        return _from_numbers(time, sample, timezone, what)
    if dtype == pl.String:
        return _from_text(time, sample, timezone, what)
    raise DataError(f"{what}: expected times, got {dtype}; name a column of dates, strings or epoch numbers")


def _from_numbers(time: pl.Expr, sample: pl.Series, timezone: str, what: str) -> tuple[pl.Expr, str]:
    typical = float(sample.cast(pl.Float64).fill_nan(None).median() or 0)  # type: ignore[arg-type]
    if 19_000_101 <= typical <= 21_001_231:
        text = time.cast(pl.Int64, strict=False).cast(pl.String)
        return _to_ms(text.str.to_datetime("%Y%m%d", time_unit="us", strict=False), None, timezone), "numbers YYYYMMDD"
    for least, unit, factor in _EPOCH_UNITS:
        if typical >= least:
            # Clipped first: a garbage value must stay impossible, not wrap around to a time.
            value = time.cast(pl.Float64 if sample.dtype.is_float() else pl.Int64)
            ms = value.clip(-LAST_MS, LAST_MS) * int(factor) if factor > 1 else value // round(1 / factor)
            return ms.cast(pl.Int64, strict=False), f"epoch {unit}"
    raise DataError(f"{what}: {typical:g} is not a time since 1970; expected epoch seconds, milliseconds or a date")


def _from_text(time: pl.Expr, sample: pl.Series, timezone: str, what: str) -> tuple[pl.Expr, str]:
    time, sample = time.str.strip_chars(), sample.str.strip_chars()
    numbers = sample.cast(pl.Float64, strict=False)
    if numbers.null_count() < len(sample) / 2:
        # Integers stay integers: a float holds nanoseconds only to the next 256.
        whole = sample.cast(pl.Int64, strict=False).null_count() == numbers.null_count()
        kind = pl.Int64() if whole else pl.Float64()
        return _from_numbers(time.cast(kind, strict=False), sample.cast(kind, strict=False), timezone, what)
    read = {form: sample.str.to_datetime(form, time_unit="us", strict=False).null_count() for form in _FORMATS}
    best = min(read, key=lambda form: read[form])
    if read[best] == len(sample):
        raise DataError(
            f"{what}: {sample[0]!r} is not a time; expected dates such as 2024-05-31 18:30 or 5/31/2024, "
            "or epoch numbers"
        )
    zone = "UTC" if "z" in best else None
    parsed = time.str.to_datetime(best, time_unit="us", strict=False)
    return _to_ms(parsed, zone, timezone), f"text as {best}"


def _to_ms(time: pl.Expr, zone: str | None, timezone: str) -> pl.Expr:
    if zone is None:
        time = time.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return time.dt.epoch("ms")
