"""`[data]`: the log, the tables beside it, and how they are cut."""

from __future__ import annotations

from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, model_validator

from edgerec.config.base import Columns, Expression, Settings, duration_ms, hint, problem


class ContextConfig(Settings):
    """What is known about a request before anything is shown."""

    categorical: Columns = ()
    """Columns of the log with few values."""
    numeric: Columns = ()
    """Columns of the log with numbers, raw; a missing value stays missing."""
    from_time: tuple[Literal["hour", "weekday"], ...] = ()
    """Read off the row's time in the log's time zone; Monday is 0."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [*self.categorical, *self.numeric, *self.from_time]
        for name in names:
            if names.count(name) > 1:
                raise problem(f"{name!r} is named twice; leave one out")
        return self


class SplitConfig(Settings):
    """How the log is cut into train, valid and test."""

    by: Literal["time", "rows", "leave-last-out"] = "time"
    """time: cuts the calendar; rows: at quantiles of the rows' times; leave-last-out: each user's last two events."""
    valid: float | str | None = None
    """A duration ("28d", "12h", "4w") or a fraction of the span or rows, before the test part; 0.1 if left out."""
    test: float | str | None = None
    """A duration or a fraction, the last part; 0.1 if left out."""
    core: int = Field(0, ge=0)
    """leave-last-out: keep only users and items with at least this many rows among themselves; 0 keeps all."""

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
    """Attributes of items."""

    path: str | None = None
    """A table with one row an item; left out, the attributes are taken from the log."""
    id: Expression | None = None
    """The item's id in `path`; the [data] item expression if left out."""
    text: Columns = ()
    """Text columns; the first non-empty one is the item's title."""
    categorical: Columns = ()
    numeric: Columns = ()

    @property
    def columns(self) -> Columns:
        """All attribute columns."""
        return self.text + self.categorical + self.numeric


class UsersConfig(Settings):
    """Attributes of users."""

    path: str | None = None
    """A table with one row a user; left out, the attributes are taken from the log."""
    id: Expression | None = None
    """The user's id in `path`; the [data] user expression if left out."""
    categorical: Columns = ()
    numeric: Columns = ()

    @property
    def columns(self) -> Columns:
        """All attribute columns."""
        return self.categorical + self.numeric


class GraphConfig(Settings):
    """A knowledge graph around the items."""

    edges: str
    """A table with the columns head, relation and tail."""


class DataConfig(Settings):
    """The log and the tables beside it. Paths are relative to the settings file."""

    interactions: str
    """CSV, Parquet or JSONL, one row an event; a glob is allowed."""
    user: Expression
    item: Expression
    time: Expression
    """A date, a date with time, text of one of these, or epoch seconds, milliseconds, ..."""
    session: Expression | None = None
    """Rows of one basket or session; its time is the time of its first row, and the split never cuts it."""
    where: Expression | None = None
    """Only rows for which this holds are kept."""
    timezone: str = "UTC"
    """Of times that carry no zone, of hours and weekdays, and of the midnight at which a split cuts."""
    after: Columns = ()
    """Columns known only after the exposure: never features."""
    context: ContextConfig = ContextConfig()
    split: SplitConfig = SplitConfig()
    items: ItemsConfig = ItemsConfig()
    users: UsersConfig = UsersConfig()
    graph: GraphConfig | None = None

    @model_validator(mode="after")
    def _known_timezone(self) -> Self:
        zones = available_timezones()
        if self.timezone not in zones:
            raise problem(f"no time zone is called {self.timezone!r}" + hint(self.timezone, zones))
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of `timezone`."""
        return ZoneInfo(self.timezone)
