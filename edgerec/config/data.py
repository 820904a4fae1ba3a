"""`[data]`: the log, the tables beside it, and how the log is split."""

from __future__ import annotations

import codecs
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, model_validator

from edgerec.config.base import ColumnNames, Expression, Settings, duration_ms, hint, problem

EPOCHS = ("seconds", "milliseconds", "microseconds", "nanoseconds", "ticks")
TIME_FORMATS = (*EPOCHS, "excel", "days", "hours", "minutes", "order", "dates")
"""Ways to read times that have a name; "dates" are those of a file that has dates as such."""


def is_time_format(text: str) -> bool:
    """Is it a name of `TIME_FORMATS`, or does it have the parts of a date?"""
    return text in TIME_FORMATS or "%" in text


class ContextConfig(Settings):
    """Features of a request that are known before anything is shown."""

    categorical: ColumnNames = ()
    """Categorical columns of the log."""
    numeric: ColumnNames = ()
    """Numeric columns of the log, not scaled; a missing value stays missing."""
    from_time: tuple[Literal["hour", "weekday"], ...] = ()
    """Features taken from the time of the request, in `timezone` of [data]; weekday 0 is Monday."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [*self.categorical, *self.numeric, *self.from_time]
        for name in names:
            if names.count(name) > 1:
                raise problem(f"{name!r} is named twice; leave one out")
        return self


class SplitConfig(Settings):
    """How the log is split into train, valid and test."""

    by: Literal["time", "rows", "leave-last-out"] = "time"
    """time: at two points of the calendar; rows: at quantiles of the rows' times; leave-last-out: the last event of
    each user is test, the one before it valid."""
    valid: float | str | None = None
    """Length of valid, which lies before test: a duration ("28d", "12h", "4w"), or a fraction of the time span or of
    the rows. Default: 0.1."""
    test: float | str | None = None
    """Length of test, the last part: a duration or a fraction, as for valid. Default: 0.1."""
    core: int = Field(0, ge=0)
    """leave-last-out only: the k of a k-core, which keeps users and items with at least k rows; 0 keeps all."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [value for value in (self.valid, self.test) if value is not None]
        if self.by == "leave-last-out":
            if given:
                raise problem("takes no valid or test; leave-last-out always holds out one event each")
            return self
        if self.core:
            raise problem('core is for by = "leave-last-out"; leave it out, or change by')
        for value in self.parts:
            if isinstance(value, str):
                duration_ms(value)
            elif not 0 < value < 1:
                raise problem(f'expected a fraction between 0 and 1 or a duration such as "28d", got {value}')
        kinds = {isinstance(value, str) for value in self.parts}
        if len(kinds) == 2:
            raise problem("expected valid and test both as durations or both as fractions")
        if self.by == "rows" and kinds == {True}:
            raise problem('by = "rows" expects fractions such as valid = 0.1; durations need by = "time"')
        if kinds == {False} and sum(float(value) for value in self.parts) >= 1:
            raise problem("valid and test leave nothing to train on; their sum must be below 1")
        return self

    @property
    def parts(self) -> tuple[float | str, float | str]:
        """(valid, test) with the default filled in."""
        return (0.1 if self.valid is None else self.valid, 0.1 if self.test is None else self.test)


class ItemsConfig(Settings):
    """Attributes of the items."""

    path: str | None = None
    """A table with one row for each item. None: the attributes are columns of the log."""
    id: Expression | None = None
    """Column or SQL expression of the item id in `path`. None: as `item` of [data]."""
    text: ColumnNames = ()
    """Text columns; the first one that is not empty is the item's title."""
    categorical: ColumnNames = ()
    """Categorical columns."""
    numeric: ColumnNames = ()
    """Numeric columns."""
    multi: ColumnNames = ()
    """Columns with several values in a cell, such as genres: lists, lists as text ("['a', 'b']"), or texts with
    `multi_separator` between the values."""
    multi_separator: str = Field("|", min_length=1)
    """What separates the values of a cell of `multi`."""
    multi_values: int = Field(200, ge=1, le=10_000)
    """Most values of a column of `multi` that are learned, the most frequent ones of train; others are unknown."""
    separator: str | None = None
    """As `separator` of [data], for `path`."""
    header: ColumnNames = ()
    """As `header` of [data], for `path`."""

    @property
    def columns(self) -> ColumnNames:
        """All attribute columns."""
        return self.text + self.categorical + self.multi + self.numeric


class UsersConfig(Settings):
    """Attributes of the users."""

    path: str | None = None
    """A table with one row for each user. None: the attributes are columns of the log."""
    id: Expression | None = None
    """Column or SQL expression of the user id in `path`. None: as `user` of [data]."""
    categorical: ColumnNames = ()
    """Categorical columns."""
    numeric: ColumnNames = ()
    """Numeric columns."""
    multi: ColumnNames = ()
    """Columns with several values in a cell, such as genres: lists, lists as text ("['a', 'b']"), or texts with
    `multi_separator` between the values."""
    multi_separator: str = Field("|", min_length=1)
    """What separates the values of a cell of `multi`."""
    multi_values: int = Field(200, ge=1, le=10_000)
    """Most values of a column of `multi` that are learned, the most frequent ones of train; others are unknown."""
    separator: str | None = None
    """As `separator` of [data], for `path`."""
    header: ColumnNames = ()
    """As `header` of [data], for `path`."""

    @property
    def columns(self) -> ColumnNames:
        """All attribute columns."""
        return self.categorical + self.multi + self.numeric


class GraphConfig(Settings):
    """A knowledge graph around the items."""

    edges: str
    """A table with the columns head, relation and tail. A head or tail that is an item id is that item."""


class DataConfig(Settings):
    """The log and the tables beside it. Paths are relative to the settings file."""

    interactions: str
    """The log, CSV, Parquet or JSONL with one row for each event: a file, a folder or a glob. Files may be packed as
    .gz or .zst; a folder may be partitioned by "key=value"; a field b of a nested column a is the column "a.b"."""
    user: Expression
    """Column or SQL expression of the user id."""
    item: Expression
    """Column or SQL expression of the item id."""
    time: Expression
    """Column or SQL expression of the time: a date, a date with time, a string of one of these, or a number of seconds,
    milliseconds, microseconds or nanoseconds since 1970."""
    time_format: str | None = None
    """How `time` is read: a format such as "%d/%m/%Y %H:%M" (several are separated by " | "), "seconds",
    "milliseconds", "microseconds" or "nanoseconds" since 1970, "ticks" of .NET, or "excel" for a spreadsheet's days
    (44197.5); for a log without a clock "order", or "days", "hours" or "minutes" for numbers that count these. None:
    decided over all rows, and kept with the dataset and the bundle."""
    session: Expression | None = None
    """Column or SQL expression of the session or basket id. All rows of a session have the time of its first row, and
    the split never cuts a session."""
    where: Expression | None = None
    """SQL condition; rows for which it is not true are left out."""
    timezone: str = "UTC"
    """Time zone of times that carry none, of hours and weekdays, and of the midnights at which the log is split."""
    missing: tuple[str, ...] = ()
    """Words that stand for no value in any column of text, such as "NA", "\\\\N" or "-"; blank values are missing
    anyway."""
    decimal: Literal[".", ","] = "."
    """The mark before the fraction of numbers in text; the other mark may group digits by three."""
    encoding: str = "utf-8"
    """Encoding of text files, such as "cp1252" or "utf-16"."""
    separator: str | None = None
    """What separates columns in a text file, such as ";" or "::". None: as the ending promises (.csv, .tsv), or as the
    header shows."""
    quote: Literal['"', ""] | None = None
    """Whether quotation marks enclose fields of text files; with "" they are plain characters. None: found out."""
    header: ColumnNames = ()
    """Names of the columns of a text file that has no header."""
    after: ColumnNames = ()
    """Columns that are known only after the item was shown; they cannot be features."""
    propensity: Expression | None = None
    """Column or SQL expression of the probability with which the system that made the log chose to show the row's item,
    above 0 and at most 1. `edgerec evaluate` then estimates what the bundle would have earned in its place. No
    feature, and no label."""
    context: ContextConfig = ContextConfig()
    """Features of a request."""
    split: SplitConfig = SplitConfig()
    """Training, validation and test parts of the log."""
    items: ItemsConfig = ItemsConfig()
    """Attributes of the items."""
    users: UsersConfig = UsersConfig()
    """Attributes of the users."""
    graph: GraphConfig | None = None
    """A knowledge graph around the items; None: there is none."""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise problem(f"no encoding is called {self.encoding!r}; such are utf-8, cp1252, latin-1, utf-16") from None
        if self.time_format is not None and not is_time_format(self.time_format):
            raise problem(
                f'time_format = {self.time_format!r} is none; expected one such as "%d/%m/%Y %H:%M", or one of '
                + ", ".join(TIME_FORMATS)
            )
        zones = available_timezones()
        if self.timezone not in zones:
            raise problem(f"no time zone is called {self.timezone!r}" + hint(self.timezone, zones))
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of `timezone`."""
        return ZoneInfo(self.timezone)
