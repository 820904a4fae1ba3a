"""Dates, strings and numbers as times in milliseconds since 1970, UTC.

How a column is read is decided once, over all of its values, and is kept under the name that ``time_format`` of
``[data]`` takes, so that every later file with times of the same log is read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import polars as pl

from edgerec.data.months import english_months
from edgerec.errors import DataError

__all__ = [
    "CLOCKLESS",
    "EXCEL",
    "FIRST_MS",
    "LAST_MS",
    "Times",
    "TwoMeaningsError",
    "may_be_excel",
    "read_times",
    "time_ms",
]

FIRST_MS = int(datetime(1970, 1, 2, tzinfo=UTC).timestamp() * 1000)
"""Earlier times are zeros and small counters that were mistaken for times."""
LAST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
_MODERN_MS = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000)

CLOCKLESS = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000, "order": 60_000}
"""Formats of logs without a clock, and the milliseconds of a step; steps count from the year 2000."""
_ORIGIN_MS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)

EXCEL = "excel"
"""Format of days since the end of 1899, as spreadsheets keep dates; the part of a day is the clock. A number of this
size may be anything else, so that it is read only where somebody says so."""
_EXCEL_1970, _EXCEL_DATES = 25_569, (32_874, 73_050)
"""The 1st of January 1970 in such days, and 1990 to 2099."""

# (from this value on, unit, milliseconds in it): no time between 1973 and 2100 fits two of them.
_UNITS = (
    (1e17, "nanoseconds", 1e-6),
    (1e14, "microseconds", 1e-3),
    (1e11, "milliseconds", 1.0),
    (FIRST_MS / 1000, "seconds", 1000.0),
)
_TICKS = (6.2e17, 6.62e17)
"""Ticks of .NET, 100 ns since the year 1, between 1965 and 2099; as nanoseconds they would all be of 1990."""
_TICKS_1970 = 621_355_968_000_000_000
_NAMES = ("ticks", *(name for _, name, _ in _UNITS))
_DIGITS = {"%Y%m%d": 8, "%Y%m%d%H%M": 12, "%Y%m%d%H%M%S": 14}
"""Formats of numbers that are dates, and how many digits they have."""
_SHORT = {"%Y%m%d%H": 10, "%y%m%d%H%M": 10, "%y%m%d%H%M%S": 12}
"""The same of numbers that may be an epoch, too: dates where nearly all of them are dates of the last decades."""
_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "j": 3}
"""Digits of the parts of a date."""
_NEARLY_ALL = 0.95
_BOTH_ORDERS = 0.01
"""A column with so many dates that only one order of day and month reads, and as many of the other, has both."""

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", *(d.replace("-", sep) for d in ("%d-%m-%Y", "%m-%d-%Y") for sep in "./-"))
_DATES += ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%B %d, %Y", "%B %d %Y")
_DATES += ("%A, %d %B %Y", "%A, %B %d, %Y", "%A %d %B %Y")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p")
_ZONES = ("", "%#z", " %#z", " UTC", " GMT")
_FORMATS = (
    *(f"{date}{gap}{clock}{zone}" for date in _DATES for gap in " T" for clock in _CLOCKS for zone in _ZONES),
    *(f"{date}, {clock}" for date in _DATES for clock in _CLOCKS),
    *_DATES,
    *(f"%Y%m%dT%H%M%S{zone}" for zone in ("", "%#z")),
    *(f"%a, %d %b %Y %H:%M:%S{zone}" for zone in _ZONES),
    *(f"%a %b %d %H:%M:%S{zone} %Y" for zone in _ZONES),
)
_SEPARATOR = " | "
"""Between the formats of a column that needs several."""

_SAMPLE = 2_000
"""Values for which each known format is tried; those that read one of them are tried on all values."""


@dataclass(frozen=True)
class Times:
    """A column of times and how it is read.

    Attributes:
        ms: int64 milliseconds since 1970, UTC; null where a value cannot be read, or where the time does not exist in
            its zone (the hour that summer time skips).
        given: whether a row has a value.
        format: how it is read, as ``time_format`` of ``[data]`` takes it.
        note: the same in words.
    """

    ms: pl.Expr
    given: pl.Expr
    format: str
    note: str


class TwoMeaningsError(DataError):
    """Two formats fit every value of a column of times, and mean different times.

    Attributes:
        formats: both, as ``time_format`` of ``[data]`` takes them. doubt: a value, and what it may mean.
    """

    def __init__(self, what: str, doubt: str, formats: tuple[str, str]) -> None:
        first, second = formats
        super().__init__(
            f"{what}: {doubt}, and every value fits both {first} and {second}; "
            f'set time_format = "{first}" or "{second}" in [data]'
        )
        self.formats, self.doubt = formats, doubt


def read_times(
    frame: pl.LazyFrame, time: pl.Expr, timezone: str, what: str, kept: str | None = None, ask: bool = True
) -> Times:
    """Decide over all rows how a column of times is read.

    Args:
        frame: the rows.
        time: the column.
        timezone: time zone of times that carry none.
        what: name of the column in messages.
        kept: how it is read, if that is known: from the settings, or from the log that a bundle was made of. A value
            that does not fit is read only if it fits a form that cannot be mistaken: an ISO date, or an epoch number.
        ask: refuse a column that two formats read alike and differently; False takes the first one.

    Raises:
        DataError: nothing in the column looks like a time. TwoMeaningsError: two formats fit, with different times.
    """
    dtype = frame.select(time.alias("time")).collect_schema()["time"]
    return _of_type(frame.select(time=time), time, dtype, _Column(timezone, what, kept, ask))


def time_ms(time: pl.Expr, sample: pl.Series, timezone: str, what: str) -> tuple[pl.Expr, str]:
    """A column of times as milliseconds, and how it was read in words, decided over a sample of its values alone."""
    times = _of_type(pl.LazyFrame({"time": sample}), time, sample.dtype, _Column(timezone, what, None, ask=False))
    return times.ms, times.note


@dataclass(frozen=True)
class _Column:
    """The arguments of `read_times` that all kinds of columns need."""

    timezone: str
    what: str
    kept: str | None
    ask: bool


def _of_type(values: pl.LazyFrame, time: pl.Expr, dtype: pl.DataType, column: _Column) -> Times:
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        zone = getattr(dtype, "time_zone", None)
        ms = _to_ms(time.cast(pl.Datetime("us", zone)), zone, column.timezone)
        return Times(ms, time.is_not_null(), "dates", f"dates in {zone or column.timezone}")
    if dtype.is_numeric():
        given = time.is_not_nan() & time.is_not_null() if dtype.is_float() else time.is_not_null()
        digits = values.select(_digits(pl.col("time")))
        if _kept_reads(digits, column):
            return _from_text(digits, _digits(time), column)
        return _from_numbers(values, time, given, column)
    if dtype == pl.String:
        return _from_text(values, time, column)
    raise DataError(f"{column.what}: expected times, got {dtype}; name a column of dates, strings or epoch numbers")


# ---------------------------------------------------------------------------- numbers


def _from_numbers(values: pl.LazyFrame, time: pl.Expr, given: pl.Expr, column: _Column) -> Times:
    """Numbers: steps, dates without separators, or an epoch; each value's size tells the unit of an epoch."""
    if column.kept in CLOCKLESS:
        ms = _ORIGIN_MS + time.cast(pl.Float64).clip(-LAST_MS, LAST_MS) * CLOCKLESS[column.kept]
        words = f"steps of {column.kept}" if column.kept != "order" else "an order, without a clock"
        return Times(ms.cast(pl.Int64, strict=False), given, column.kept, words)
    if column.kept == EXCEL:
        return Times(_in_range(_excel(time, column.timezone)), given, EXCEL, "days since 1899, as in spreadsheets")
    at = pl.col("time")
    counts = {form: _in_range(_dated(at, form, column.timezone)).count() for form in _DIGITS}
    counts |= {form: _recent(_dated(at, form, column.timezone)).sum() for form in _SHORT}
    counts |= {unit: (_unit(at) == unit).sum() for unit in _NAMES}
    counts["recent"] = _recent(_epoch(at, "seconds")).sum()
    first = at.cast(pl.Float64).drop_nans().first()
    counted = values.drop_nulls().select(n=pl.len(), first=first, **counts).collect(engine="streaming")
    found = counted.row(0, named=True)
    form = next((f for f in _DIGITS if found[f] > found["n"] / 2 or f == column.kept), None)
    form = form or _short_date(found, column)
    if form is not None:
        return Times(_dated(time, form, column.timezone), given, form, f"numbers {_spelled(form)}")
    most = max(_NAMES, key=lambda unit: found[unit])
    unit = column.kept if column.kept in _NAMES else most
    if not found[most]:
        _refuse_numbers(values, found, column)
    return Times(_epoch(time, unit), given, unit, f"epoch {unit}{_others(found, unit)}")


def _refuse_numbers(values: pl.LazyFrame, found: dict[str, Any], column: _Column) -> NoReturn:
    """Say what numbers that are no times may be."""
    if not found["n"]:
        raise DataError(f"{column.what}: is empty in all rows")
    if may_be_excel(values.select(pl.col("time").cast(pl.Float64)).head(_SAMPLE).collect()["time"]):
        day = pl.select(_excel(pl.lit(found["first"]), "UTC")).item()
        raise DataError(
            f"{column.what}: {found['first']:.12g} may be a spreadsheet's day, {_day(day)}; if it is, set "
            f'time_format = "{EXCEL}" in [data]; if it only counts, "order" or "days"'
        )
    raise DataError(
        f"{column.what}: {found['first']:g} is not a time since 1970; expected epoch seconds, milliseconds or a "
        'date; for a log that has only an order, set time_format = "order" in [data]'
    )


def _short_date(found: dict[str, Any], column: _Column) -> str | None:
    """The format of numbers that may be an epoch but are nearly all dates, if one is.

    Raises:
        TwoMeaningsError: as an epoch they are of the last decades, too.
    """
    form = max(_SHORT, key=lambda form: found[form])
    if not found["n"] or found[form] < _NEARLY_ALL * found["n"] or column.kept in _NAMES:
        return None
    if found["recent"] < _NEARLY_ALL * found["n"]:
        return form
    if not column.ask:
        return None
    first = pl.Series([found["first"]]).cast(pl.Int64)
    days = [_day(pl.select(ms).item()) for ms in (_dated(pl.lit(first), form, "UTC"), _epoch(pl.lit(first), "seconds"))]
    raise TwoMeaningsError(column.what, f"{first[0]} may be {days[0]} or {days[1]}", (form, "seconds"))


def _kept_reads(values: pl.LazyFrame, column: _Column) -> bool:
    """Are texts of digits dates in the format that is kept, most of them?"""
    if column.kept is None or "%" not in column.kept or column.kept in _DIGITS:
        return False
    read = [_in_range(_parsed(pl.col("time"), form, column.timezone)) for form in column.kept.split(_SEPARATOR)]
    counts = values.select(n=pl.len(), read=pl.coalesce(read).count()).collect(engine="streaming").row(0)
    return bool(counts[1] > counts[0] / 2)


def _digits(time: pl.Expr) -> pl.Expr:
    return time.cast(pl.Int64, strict=False).cast(pl.String)


def may_be_excel(numbers: pl.Series) -> bool:
    """Do numbers look like a spreadsheet's days, of 1990 to 2099?"""
    first, last = _EXCEL_DATES
    numbers = numbers.drop_nulls().drop_nans()
    return len(numbers) > 0 and bool(numbers.is_between(first, last).mean() > 0.9)  # type: ignore[operator]


def _excel(time: pl.Expr, timezone: str) -> pl.Expr:
    day_ms = 86_400_000
    days = time.cast(pl.Float64).clip(-LAST_MS / day_ms, LAST_MS / day_ms) - _EXCEL_1970
    ms = (days * day_ms).round().cast(pl.Int64, strict=False)
    return _to_ms(ms.cast(pl.Datetime("ms")), None, timezone)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%-d %B %Y")


def _others(found: dict[str, int], unit: str) -> str:
    """The counts of values in other units."""
    others = [f"{found[u]:,} in {u}" for u in _NAMES if u != unit and found[u]]
    return f", but of {found['n']:,} times {' and '.join(others)}, by their size" if others else ""


def _dated(time: pl.Expr, form: str, timezone: str) -> pl.Expr:
    text = _digits(time)
    return _parsed(pl.when(text.str.len_bytes() == (_DIGITS | _SHORT)[form]).then(text), form, timezone)


def _recent(ms: pl.Expr) -> pl.Expr:
    """Is a time between 1990 and the end of next year?"""
    return ms.is_between(_MODERN_MS, datetime(datetime.now(UTC).year + 2, 1, 1, tzinfo=UTC).timestamp() * 1000)


def _unit(time: pl.Expr) -> pl.Expr:
    """The unit of each number by its size, null where no unit gives a time between 1990 and 2100, but for seconds."""
    number = time.cast(pl.Float64, strict=False)
    chosen = pl.lit(None, pl.String)
    for least, unit, factor in reversed(_UNITS):
        fits = (number >= least) & (number * factor < LAST_MS)
        chosen = pl.when(fits).then(pl.lit(unit)).otherwise(chosen)
    return pl.when(number.is_between(*_TICKS)).then(pl.lit("ticks")).otherwise(chosen)


def _epoch(time: pl.Expr, unit: str) -> pl.Expr:
    """Numbers as milliseconds: in `unit`, or in the one that their size tells if it gives a time after 1990."""
    ms = _in_unit(time, unit)
    for other in _NAMES:
        if other != unit:
            read = _in_unit(time, other)
            ms = pl.when((_unit(time) == other) & (read >= _MODERN_MS)).then(read).otherwise(ms)
    return ms


def _in_unit(time: pl.Expr, unit: str) -> pl.Expr:
    if unit == "ticks":
        return ((time - _TICKS_1970) // 10_000).cast(pl.Int64, strict=False)
    factor = next(factor for _, name, factor in _UNITS if name == unit)
    if factor <= 1:
        return (time // round(1 / factor)).cast(pl.Int64, strict=False)
    # Clipped first: a garbage value must stay impossible, not wrap around to a time.
    return (time.clip(-LAST_MS, LAST_MS) * int(factor)).cast(pl.Int64, strict=False)


def _in_range(ms: pl.Expr) -> pl.Expr:
    return pl.when(ms.is_between(FIRST_MS, LAST_MS, closed="left")).then(ms)


# ---------------------------------------------------------------------------- text


def _from_text(values: pl.LazyFrame, time: pl.Expr, column: _Column) -> Times:
    stripped = time.str.strip_chars()
    text = pl.when(stripped != "").then(stripped)
    given = text.is_not_null()
    values = values.select(pl.col("time").str.strip_chars()).filter(pl.col("time") != "")
    whole, number = (pl.col("time").cast(kind, strict=False) for kind in (pl.Int64(), pl.Float64()))
    counts = values.select(n=pl.len(), whole=whole.count(), number=number.count()).collect(engine="streaming")
    n, n_whole, n_number = counts.row(0)
    if not n:
        raise DataError(f"{column.what}: is empty in all rows")
    if column.kept in CLOCKLESS or (n_number > n / 2 and not _kept_reads(values, column)):
        # Integers stay integers: a float holds nanoseconds only to the next 256.
        kind = pl.Int64() if n_whole == n_number else pl.Float64()
        numbers = values.select(pl.col("time").cast(kind, strict=False))
        return _from_numbers(numbers, text.cast(kind, strict=False), given, column)
    forms = _formats(values, column)
    read = [_parsed(text, form, column.timezone) for form in forms]
    ms = pl.coalesce(*map(_in_range, read), read[0])
    return Times(ms, given, _SEPARATOR.join(forms), f"text as {_SEPARATOR.join(forms)}")


def _formats(values: pl.LazyFrame, column: _Column) -> list[str]:
    """The kept formats or the one that reads most values, and those that read what it cannot."""
    at, zone = pl.col("time"), column.timezone
    kept = column.kept.split(_SEPARATOR) if column.kept is not None and "%" in column.kept else []
    sample = _sample(values)
    spelled = sample.str.contains(r"\p{L}{3}").any()
    forms = [form for form in _FORMATS if spelled or not _spells_month(form)]
    texts = pl.DataFrame({"time": sample}).with_columns(english=english_months(at) if spelled else at)
    columns = {form: pl.col("english") if _spells_month(form) else at for form in forms}
    tried = texts.select(**{form: _in_range(_read(text, form, zone)) for form, text in columns.items()})
    likely = [form for form in forms if tried[form].null_count() < len(sample) and form not in kept]
    if not likely and not kept:
        raise DataError(
            f"{column.what}: {sample[0]!r} is not a time; expected dates such as 2024-05-31 18:30 or 5/31/2024, or "
            'epoch numbers; another form is named by time_format in [data], such as time_format = "%d %b %Y, %H.%M"'
        )
    read = {form: _in_range(_parsed(at, form, zone)) for form in [*kept, *likely]}
    chosen = kept
    if not kept:
        counts = values.select(**{form: e.count() for form, e in read.items()}).collect(engine="streaming")
        reads = counts.row(0, named=True)
        chosen = [max(likely, key=lambda form: reads[form])]
        if column.ask:
            _refuse_both_orders(values, chosen[0], read, column)
            _refuse_two_meanings(values, chosen[0], [f for f in likely if reads[f] == reads[chosen[0]]], column)
    # Never both orders of day and month in one column: the second would read what is impossible in the first.
    others = [f for f in likely if f not in chosen and _order(f) in {"Ymd", *map(_order, chosen)}]
    while others:
        missed = values.filter(pl.all_horizontal(read[form].is_null() for form in chosen))
        gained = missed.select(**{f: read[f].count() for f in others}).collect(engine="streaming").row(0, named=True)
        best = max(others, key=lambda form: gained[form])
        if not gained[best]:
            break
        chosen = [*chosen, best]
        others.remove(best)
    return chosen


def _sample(values: pl.LazyFrame) -> pl.Series:
    """Some values: the first ones, and the least and greatest of each shape, so that a form that begins after a
    million rows is among them."""
    shape = pl.col("time").str.replace_all(r"\d+", "9").str.replace_all("[A-Za-z]+", "a").str.head(40)
    by_shape = values.group_by(shape=shape).agg(pl.col("time").min().alias("low"), pl.col("time").max().alias("high"))
    extremes = by_shape.head(_SAMPLE).collect(engine="streaming")
    first = values.head(_SAMPLE).collect()["time"]
    return pl.concat([first, extremes["low"], extremes["high"]]).unique(maintain_order=True)


def _refuse_two_meanings(values: pl.LazyFrame, best: str, equals: list[str], column: _Column) -> None:
    """Raise TwoMeaningsError if another format reads as many values and some of them as other times."""
    at, zone = pl.col("time"), column.timezone
    for other in equals:
        first, second = (_in_range(_parsed(at, form, zone)) for form in (best, other))
        differing = values.filter(first != second).select("time", first=first, second=second).head(1).collect()
        if other != best and len(differing):
            text, *meanings = differing.row(0)
            days = " or ".join(_day(ms) for ms in meanings)
            raise TwoMeaningsError(column.what, f"{text!r} may be {days}", (best, other))


def _refuse_both_orders(values: pl.LazyFrame, best: str, read: dict[str, pl.Expr], column: _Column) -> None:
    """Refuse dates of which some have the day first and others the month."""
    swapped = [f for f in read if sorted(_order(f)) == sorted(_order(best)) and _order(f) not in ("Ymd", _order(best))]
    if not swapped or _order(best) == "Ymd":
        return
    same = [f for f in read if _order(f) == _order(best)]
    one, other = (pl.coalesce(read[f] for f in forms).is_not_null() for forms in (same, swapped))
    fits = values.select("time", one=one & ~other, other=other & ~one)
    firsts = {f"first {name}": pl.col("time").filter(pl.col(name)).first() for name in ("one", "other")}
    counted = fits.select(pl.len(), pl.col("one").sum(), pl.col("other").sum(), **firsts)
    n, n_one, n_other, first, second = counted.collect(engine="streaming").row(0)
    if min(n_one, n_other) > _BOTH_ORDERS * n:
        raise DataError(
            f"{column.what}: {first!r} and {second!r} have day and month in different orders ({n_one:,} rows fit "
            f"only the first, {n_other:,} only the second), and nothing tells the order of the others; write all in "
            f'one order, or set time_format = "{best}" in [data] to leave out what does not fit it'
        )


def _order(form: str) -> str:
    """The order of year, month and day in a format."""
    letters = [part[0] for part in form.split("%")[1:]]
    return "".join({"y": "Y", "b": "m", "B": "m"}.get(x, x) for x in letters if x in "YymbBd")


def _parsed(text: pl.Expr, form: str, timezone: str) -> pl.Expr:
    return _read(english_months(text) if _spells_month(form) else text, form, timezone)


def _spells_month(form: str) -> bool:
    return "%b" in form or "%B" in form


def _read(text: pl.Expr, form: str, timezone: str) -> pl.Expr:
    """As `_parsed`, of texts with English months."""
    zone = "UTC" if form.endswith(("UTC", "GMT")) or "z" in form else None
    letters = [part[:1] for part in form.split("%")[1:]]
    if form == "".join(f"%{letter}" for letter in letters) and set(letters) <= _WIDTHS.keys():
        text = text.str.zfill(sum(_WIDTHS[letter] for letter in letters))  # numbers lose zeros in front
    if {"H", "I"} & set(letters) and "M" not in letters:  # an hour alone is none to the parser
        text, form = text + "\x1f00", form + "\x1f%M"
    return _to_ms(text.str.to_datetime(form, time_unit="us", strict=False), zone, timezone)


def _spelled(form: str) -> str:
    named = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%H": "hh", "%M": "mm", "%S": "ss"}
    return "".join(named["%" + letter] for letter in form.split("%")[1:])


def _to_ms(time: pl.Expr, zone: str | None, timezone: str) -> pl.Expr:
    if zone is None:
        time = time.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return time.dt.epoch("ms")
