"""What `edgerec init` says of a column of times that it cannot read, or reads in a way that may be another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

from edgerec.data.names import says
from edgerec.data.sample import Sample, sql_name
from edgerec.data.times import FIRST_MS, LAST_MS, Times, read_times
from edgerec.errors import DataError

__all__ = ["formats_for", "notes_on_times"]

_RARE: Final = (
    *("%d/%b/%Y:%H:%M:%S %z", "%a %b %d %Y %H:%M:%S GMT%z", "%G-W%V-%u", "%Y-%j", "%d%m%Y", "%m%d%Y", "%y%m%d"),
    *("%d%m%y", "%m%d%y", "%d.%m.%Y %H.%M", "%d/%m/%Y %H.%M", "%d.%m.%Y, %H.%M", "%Y-%m-%d %H.%M", "%Y-%m-%d-%H.%M.%S"),
    *("%Y%m%d %H:%M:%S", "%Y%m%d %H%M%S", "%Y%m%d-%H%M%S", "%d-%m-%y %H:%M", "%m-%d-%y %H:%M", "%d-%m-%y", "%y/%m/%d"),
    *("%H:%M:%S %d/%m/%Y", "%H:%M %d.%m.%Y", "%d/%m/%Y %Hh%M", "%Y年%m月%d日", "%Y年%m月%d日 %H:%M"),
)
"""Formats that are read only where somebody names them."""
_APPLE_S: Final = 978_307_200
"""The 1st of January 2001, from which Apple counts seconds, in seconds since 1970."""
_OLD_YEARS: Final = 20
_LOST: Final = 0.02


def formats_for(values: pl.Series) -> list[str]:
    """Formats that nobody guesses but that read nearly all of some values as times since 1990."""
    values = values.drop_nulls().head(1000)
    if values.dtype.is_numeric() and not (values.dtype.is_integer() and (values >= 10_101).all()):
        return []
    return [form for form in _RARE if len(values) and _share_read(values, form) > 0.9]


def _share_read(values: pl.Series, form: str) -> float:
    frame = values.alias("time").to_frame().lazy()
    try:
        times = read_times(frame, pl.col("time"), "UTC", "time", form, ask=False)
        first = datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000
        ms = frame.select(ms=times.ms).collect()["ms"]
    except (DataError, pl.exceptions.PolarsError):
        return 0.0
    return float(ms.is_between(first, LAST_MS).sum()) / len(values) if times.format == form else 0.0


def notes_on_times(log: Sample, time: str, times: Times) -> list[str]:
    """Sentences on rows that are lost, on a clock that may count from another year, and on a time zone beside it."""
    given = times.given & ~times.ms.is_between(FIRST_MS, LAST_MS, closed="left").fill_null(False)
    frame = log.source.frame
    first = log.source.expression(time, "[data] time")[0].filter(given).first()
    counted = frame.select(n=pl.len(), lost=given.sum(), first=first, newest=times.ms.max())
    n, lost, value, newest = counted.collect(engine="streaming").row(0)
    notes = []
    if lost > _LOST * n:
        notes.append(
            f"{lost:,} of {n:,} rows will be rejected: their {time}, such as {value!r}, cannot be read as "
            f"{times.format}; name what reads them: --time-format"
        )
    now = datetime.now(UTC).timestamp()
    if times.format == "seconds" and newest is not None:
        old = newest / 1000 < now - _OLD_YEARS * 365.25 * 86_400
        if old and newest / 1000 + _APPLE_S < now:
            year = datetime.fromtimestamp(newest / 1000, UTC).year
            notes.append(
                f"the newest {time} is of {year}; if it counts from 2001, as Apple does, set "
                f'time = "{sql_name(time)} + {_APPLE_S}" in [data]'
            )
    return notes + _offset_beside(log, time, times)


def _offset_beside(log: Sample, time: str, times: Times) -> list[str]:
    """A column of time zones beside a time that is read as UTC."""
    for name in log.columns:
        zones = log.rows[name].drop_nulls()
        if not says(name, ("offset", "timezone", "tz", "zeitzone")) or zones.dtype != pl.String or zones.is_empty():
            continue
        if zones.head(1000).str.contains(r"^\s*[+-]\d{2}:?\d{2}\s*$").all() and "z" not in times.format:
            both = f"CONCAT({sql_name(time)}, {sql_name(name)})"
            return [f'times are read as UTC; if {time} is local, as {name} says, set time = "{both}" in [data]']
        if zones.head(1000).str.contains(r"^(UTC|GMT|[A-Z][A-Za-z_]+/[A-Za-z_/]+)$").all() and zones.n_unique() == 1:
            return [f'times are read as UTC; if {time} is local, as {name} says, set timezone = "{zones[0]}" in [data]']
    return []
