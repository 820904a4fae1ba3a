"""Which column of a log is the user, the item, the time and the session, by names first and by values second.

Where neither tells, a role stays open: a person has to name its column. A wrong guess that runs is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Final, Literal

import polars as pl

from edgerec.config import nearest
from edgerec.data.names import (
    CLOCK,
    DAYS,
    EXPOSURE,
    FLAGS,
    ID_WORDS,
    ITEM,
    ORDER,
    OTHER_THINGS,
    PLACES,
    QUANTITY,
    RATING,
    SESSION,
    SORTS,
    TIME,
    TIME_OF_ANOTHER,
    USER,
    WATCH,
    names_id,
    rank_of,
    says,
    words_of,
)
from edgerec.data.readers import reading
from edgerec.data.sample import Sample, sql_name
from edgerec.data.time_notes import formats_for, notes_on_times
from edgerec.data.times import CLOCKLESS, EXCEL, TwoMeaningsError, may_be_excel, read_times, time_ms
from edgerec.errors import ConfigError, DataError

__all__ = ["ROLES", "Draft", "Fate", "Guess", "Roles", "find_roles", "has_clock"]

Role = Literal["user", "item", "time", "session"]
ROLES: Final[tuple[Role, ...]] = ("user", "item", "time", "session")

_NEUTRAL: Final = ID_WORDS | {
    *("unique", "anon", "anonymized", "new", "the", "of", "src", "my", "original", "orig", "raw", "encoded", "full"),
    *("event", "log", "inter"),
}
"""Words beside the one that names a role that do not make it another thing, as in customer_unique_id."""
_TEXTS: Final = frozenset(
    {"name", "title", "description", "desc", "url", "email", "mail", "login", "bezeichnung", "nom"}
)
"""The same, but a column with an id is better."""
_SEVERAL: Final = "one row per item is needed"
_DAYS_BETWEEN: Final = 2 * 86_400_000
"""Two times that lie so far apart, in ms, are no other spelling or zone of one."""
_SHARED: Final = 0.95
"""Of the sessions at least so many must be of one user."""


@dataclass(frozen=True)
class Guess:
    """A role, the column that has it, and why."""

    role: str
    column: str
    why: str


@dataclass(frozen=True)
class Fate:
    """What became of a column: a key of the settings, or nothing."""

    column: str
    becomes: str
    why: str


@dataclass
class Draft:
    """Guesses so far.

    Attributes:
        log: first rows of the log.
        left: its columns that have no role yet.
        fates: what became of the others.
        notes: what a person should know of a guess that may be wrong.
    """

    log: Sample
    left: list[str]
    guesses: list[Guess] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, role: str, column: str, why: str) -> Guess:
        """Give a column a role, so that it gets no other one."""
        guess = Guess(role, column, why)
        self.guesses.append(guess)
        self._done(column, role, why)
        return guess

    def leave(self, column: str, why: str) -> None:
        """Leave a column out of the settings."""
        self._done(column, "left out", why)

    def give_back(self, guess: Guess) -> None:
        """Take a role from a column again."""
        self.fates = [fate for fate in self.fates if fate.column != guess.column]
        self.guesses = [told for told in self.guesses if told.column != guess.column]
        self.left.append(guess.column)

    def add(self, guess: Guess, why: str) -> Guess:
        """Say more of a guess, wherever it is told."""
        more = replace(guess, why=f"{guess.why}; {why}")
        self.guesses = [more if told is guess else told for told in self.guesses]
        self.fates = [
            replace(fate, why=more.why) if (fate.column, fate.becomes) == (guess.column, guess.role) else fate
            for fate in self.fates
        ]
        return more

    def _done(self, column: str, becomes: str, why: str) -> None:
        if column in self.left:
            self.left.remove(column)
            self.fates.append(Fate(column, becomes, why))


@dataclass(frozen=True)
class Roles:
    """The columns that a log needs.

    Attributes:
        user, item, time: None where nothing tells; `open_` then says what a person can do.
        session: None if there is none.
        order: the column that orders each user's events in a log without a clock; it is `time` then.
        time_format: as a person gave it, or that of an order; None where the values tell, or where it is open.
    """

    user: Guess | None
    item: Guess | None
    time: Guess | None
    session: Guess | None
    order: str | None
    time_format: str | None
    open_: Mapping[str, str]

    @property
    def found(self) -> dict[str, Guess]:
        """By role, in the order of the settings."""
        return {role: guess for role in ROLES if (guess := getattr(self, role)) is not None}

    @property
    def session_is_user(self) -> bool:
        """Does a session stand for the user, whom the log does not name?"""
        return self.user is not None and self.session is None and self.user.why.startswith(_SESSION_AS_USER)


_SESSION_AS_USER: Final = "no column says who"


def find_roles(draft: Draft, given: Mapping[str, str], time_format: str | None = None) -> Roles:
    """The user, the item, the time and the session of a log.

    Args:
        given: columns by role, as a person named them.
        time_format: how the time is read, as a person said it.

    Raises:
        ConfigError: a role of `given` is not one of `ROLES`.
        DataError: the log has no column of that name.
    """
    found: dict[str, Guess | None] = dict.fromkeys(ROLES)
    for role, column in given.items():
        found[role] = _given(draft, role, column)
    for role, words, others in (("user", USER, ITEM), ("item", ITEM, USER)):
        found[role] = found[role] or _by_name(draft, role, words, others)
    found["time"] = found["time"] or _time(draft, _column(found["user"]), _column(found["item"]))
    for role, other in (("user", "item"), ("item", "user")):
        found[role] = found[role] or _by_values(draft, role, _column(found[other]), found["time"] is None)
    several = None if "item" in given else _several(draft, found["item"])
    if several is not None:
        found["item"] = None
    found["session"] = found["session"] or _session(draft, _column(found["user"]), _column(found["time"]))
    order = _given_order(draft.log, given.get("time"), time_format)
    unread = _unread_time(draft) if found["time"] is None and time_format is None else None
    if found["time"] is None and unread is None and found["user"] is not None:
        order = _order(draft, found["user"].column, found["session"])
        found["time"] = None if order is None else _time_by_order(draft, order, found["session"])
    if found["user"] is None and found["session"] is not None:
        column = found["session"].column
        draft.give_back(found["session"])
        found["session"] = None
        found["user"] = draft.take("user", column, f"{_SESSION_AS_USER}, so a session stands for its user")
    if unread is not None:
        draft.leave(unread, "cannot be read as a time")
    open_ = {role: _what_to_do(draft, role, unread) for role in ("user", "item", "time") if found[role] is None}
    if several is not None:
        open_["item"] = several
    if order is not None and time_format is None:
        time_format = _steps(draft.log, order, _column(found["user"]))
    elif order is None and found["time"] is not None:
        found["time"], doubt = _read(draft, found["time"], time_format)
        open_ |= doubt
    return Roles(found["user"], found["item"], found["time"], found["session"], order, time_format, open_)


def _several(draft: Draft, item: Guess | None) -> str | None:
    """A basket in each cell of the column of items, or of one called so while there is no item, in words."""
    log = draft.log
    if item is None:
        lists = [
            n for n in draft.left if log.rows[n].dtype.is_nested() and not isinstance(log.rows[n].dtype, pl.Struct)
        ]
        column = next((name for name in lists if says(name, ITEM)), None)
    else:
        column = item.column if item.column in log.columns and log.holds_several(item.column) else None
    if column is None:
        return None
    if item is not None:
        draft.give_back(item)
    draft.leave(column, f"several items in a cell: {_SEVERAL}")
    value = log.rows[column].drop_nulls().first()
    value = value.to_list() if isinstance(value, pl.Series) else value
    return f"a cell of {column} holds several items, such as {str(value)[:60]!r}; {_SEVERAL}: write a row for each"


def _column(guess: Guess | None) -> str | None:
    return None if guess is None else guess.column


def _given(draft: Draft, role: str, column: str) -> Guess:
    if role not in ROLES:
        raise ConfigError(f"--role: there is no role {role!r}; expected one of {', '.join(ROLES)}")
    if column not in draft.log.columns:
        close = nearest(column, draft.log.columns)
        hint = f"did you mean {close!r}?" if close else f"its columns are {', '.join(draft.log.columns)}"
        raise DataError(f"{draft.log.path}: --role {role}={column}: there is no such column; {hint}")
    return draft.take(role, column, "as you said")


# ---------------------------------------------------------------------------- user and item


def _by_name(draft: Draft, role: str, words: Sequence[str], others: Sequence[str]) -> Guess | None:
    """The column whose name says the role, of all that can be ids; one with an id in its name goes first."""
    ranked = []
    for name in draft.left:
        rank, parts = rank_of(name, words), words_of(name)
        if rank is None or (says(name, SESSION) and not says(name, (words[rank],))):
            continue
        beside = {part for part in parts if not says(part, words)} - _NEUTRAL
        if any(says(part, SORTS) for part in beside):
            continue
        if beside - _TEXTS and (not names_id(name) or says(name, SESSION) or says(name, others)):
            continue
        if beside & set(PLACES) or not draft.log.may_be_id(name, words=bool(beside & _TEXTS) or role == "item"):
            continue
        ranked.append((bool(beside), not names_id(name), rank, len(parts), name))
    if not ranked:
        return None
    column = min(ranked)[-1]
    return draft.take(role, column, f"by its name; {draft.log.values(column)}")


def _by_values(draft: Draft, role: str, other: str | None, without_time: bool) -> Guess | None:
    """The only column that is left and can hold ids: one named like an id, or else one of strings.

    An attribute of the other role, a measure, a row number and an id of some other thing are none.
    """
    log, others = draft.log, USER if role == "item" else ITEM
    known = (*OTHER_THINGS, *SESSION, *RATING, *WATCH, *QUANTITY, *FLAGS, *PLACES, *TIME)
    known += tuple(word for words in EXPOSURE.values() for word in words)

    def fits(name: str) -> bool:
        if says(name, others) or not log.may_be_id(name) or log.differs_in_every_row(name):
            return False
        if log.read_as_time(name) or (without_time and says(name, ORDER) and not names_id(name)):
            return False
        return other is None or not log.is_attribute_of(name, other)

    named = [name for name in draft.left if names_id(name) and not says(name, (*OTHER_THINGS, *SESSION)) and fits(name)]
    if len(named) == 1:
        return draft.take(role, named[0], f"its name is that of an id, and no other column can be the {role}")
    strings = [n for n in draft.left if log.rows[n].dtype == pl.String and not says(n, known) and fits(n)]
    if not named and len(strings) == 1 and other is not None:
        return draft.take(role, strings[0], f"the only column that is left and can be the {role}")
    return None


def _what_to_do(draft: Draft, role: str, unread: str | None) -> str:
    """For a role that no column has: which columns it may be, or what is possible without."""
    log = draft.log
    could = [name for name in draft.left if log.may_be_id(name, words=True) and not log.differs_in_every_row(name)]
    if role == "time" and unread is not None:
        value = log.rows[unread].drop_nulls()[0]
        if forms := formats_for(log.rows[unread]):
            named = " or ".join(f'"{form}"' for form in forms)
            return f"column {unread} ({value!r}) is read by --role time={unread} --time-format {named}"
        if _is_excel(log, unread):
            return (
                f"column {unread} ({value!r}) looks like a spreadsheet's days; if it is, "
                f"--role time={unread} --time-format {EXCEL}"
            )
        return f"column {unread} cannot be read as a time ({value!r}); give an SQL expression that makes it one"
    if role == "time":
        return (
            "no column can be read as a time; if another one orders each user's events (1, 2, 3, ...), name it: "
            "--role time=COLUMN; a log without any order cannot tell what comes next: add a column that does"
        )
    listed = ", ".join(could)
    if role == "user" and not could:
        return (
            "no column says who did it; without users, what is possible is a session, basket or device as the user "
            "(add its column), which gives popularity for a new one and related items within it"
        )
    return f"no name or value tells which column is the {role}" + (f"; it may be one of: {listed}" if could else "")


# ---------------------------------------------------------------------------- time


def _time(draft: Draft, user: str | None, item: str | None) -> Guess | None:
    log = draft.log
    forms = {name: form for name in draft.left if (form := log.read_as_time(name))}
    forms = {name: form for name, form in forms.items() if not (names_id(name) and not says(name, TIME))}
    attributes = [name for name in forms if any(key and log.is_attribute_of(name, key) for key in (user, item))]
    own = [name for name in forms if name not in attributes and not says(name, TIME_OF_ANOTHER)]
    sparse = [name for name in own if log.share_given(name) <= 0.8 and says(name, FLAGS)]  # such as clicked_at
    own = [name for name in own if name not in sparse] or own
    whole = _date_and_clock(draft, [name for name in own if not has_clock(log, name)])
    for names, why in (
        ([name for name in own if says(name, TIME)], "by its name"),
        (own, "by its values"),
        ([name for name in forms if says(name, TIME) and not says(name, TIME_OF_ANOTHER)], "by its name"),
        ([name for name in forms if name not in attributes], "nothing else can be a time"),
    ):
        if names:
            column = max(names, key=log.n_unique)
            earlier = next((name for name in names if _lies_before(log, name, column)), None)
            if earlier is not None:
                column, why = earlier, f"{why}; it lies before {column}"
            if whole is not None and not has_clock(log, column):
                return whole()
            return draft.take("time", column, why)
    return None


def _lies_before(log: Sample, name: str, other: str) -> bool:
    """Is one time nearly never after another, and sometimes days before it, as an order is before it is due?"""
    if name == other:
        return False
    ms = [time_ms(pl.col(n), log.rows[n].drop_nulls().head(1000), "UTC", n)[0] for n in (name, other)]
    between = log.rows.select(between=ms[1] - ms[0])["between"].drop_nulls()
    if between.is_empty():
        return False
    days = pl.DataFrame({"between": between}).select(
        never=(pl.col("between") > -86_400_000).mean(), far=(pl.col("between") >= _DAYS_BETWEEN).mean()
    )
    return bool(days["never"][0] > _SHARED and days["far"][0] > 1 - _SHARED)


def _read(draft: Draft, time: Guess, time_format: str | None) -> tuple[Guess, dict[str, str]]:
    """How all rows of the time are read; where day and month may stand either way round, what a person has to say."""
    source = draft.log.source
    column, _ = source.expression(time.column, "[data] time")
    try:
        with reading(source.path):
            times = read_times(
                source.frame, column, "UTC", f"{source.path}: [data] time = {time.column!r}", time_format
            )
    except TwoMeaningsError as error:
        first, second = error.formats
        doubt = f'{error.doubt}, and every row fits both "{first}" and "{second}"'
        return draft.add(time, "day and month fit either way round"), {"time_format": doubt}
    if time.column in source.schema:
        with reading(source.path):
            draft.notes += notes_on_times(draft.log, time.column, times)
    return draft.add(time, times.note), {}


def _unread_time(draft: Draft) -> str | None:
    """A column named like a time that holds a spreadsheet's days, or texts with digits that no format reads."""
    for name in draft.left:
        column = draft.log.rows[name].drop_nulls()
        if says(name, TIME) and _is_excel(draft.log, name):
            return name
        if says(name, TIME) and column.dtype.is_integer() and formats_for(column):
            return name
        if says(name, TIME) and column.dtype == pl.String and column.head(1000).str.contains(r"\d.*\d").all():
            return name
    return None


def _is_excel(log: Sample, name: str) -> bool:
    column = log.rows[name].drop_nulls()
    return column.dtype.is_numeric() and may_be_excel(column)


def has_clock(log: Sample, name: str) -> bool:
    """Is the time finer than a day?"""
    column = log.rows[name].drop_nulls()
    if column.dtype == pl.Date:
        return False
    if isinstance(column.dtype, pl.Datetime):
        return bool((column.dt.time() != time(0)).any())
    if column.dtype == pl.String:
        return bool(column.head(1000).str.contains(r"\d:\d|T\d|\d{11}").any())
    return not (column.dtype.is_integer() and bool(column.head(1000).is_between(19_000_101, 21_001_231).all()))


def _date_and_clock(draft: Draft, dates: list[str]) -> Callable[[], Guess] | None:
    """A way to take the time from a column of dates and one of clock times beside it, if there are both."""
    log = draft.log
    clocks = [
        name
        for name in draft.left
        if says(name, CLOCK)
        and log.rows[name].dtype == pl.String
        and log.rows[name].drop_nulls().head(1000).str.contains(r"^\s*\d{1,2}:\d{2}(:\d{2})?\s*([AaPp][Mm])?\s*$").all()
    ]
    if not clocks or not dates or log.rows[dates[0]].dtype != pl.String:
        return None
    date, clock = dates[0], clocks[0]

    def take() -> Guess:
        draft.take("time", date, "the date, by its values")
        draft.take("time", clock, "the time of the day, by its name and values")
        return Guess(
            "time", f"CONCAT({sql_name(date)}, ' ', {sql_name(clock)})", "date and time of the day from two columns"
        )

    return take


def _order(draft: Draft, user: str, session: Guess | None) -> str | None:
    """The column that counts each user's events, in a log without a clock."""
    names = [*([session.column] if session else []), *draft.left]
    numbers = [name for name in names if draft.log.rows[name].dtype.is_integer() and says(name, ORDER)]
    counting = [name for name in numbers if draft.log.counts_for(name, user)]
    counting += [name for name in names if name not in counting and _counts_days(draft.log, name)]
    if session is not None:  # a place within a list is no order of the lists
        counting = [n for n in counting if n == session.column or draft.log.is_attribute_of(n, session.column)]
    return min(counting, key=lambda name: (says(name, DAYS), rank_of(name, ORDER) or 0), default=None)


def _counts_days(log: Sample, name: str) -> bool:
    column = log.rows[name]
    return says(name, DAYS) and column.dtype.is_integer() and column.n_unique() > 7 and log.lies_within(name, 0, 20_000)


def _time_by_order(draft: Draft, order: str, session: Guess | None) -> Guess:
    why = "no column is a clock; this one orders each user's events"
    if session is None or order != session.column:
        return draft.take("time", order, why)
    return Guess("time", order, why)


def _given_order(log: Sample, time: str | None, time_format: str | None) -> str | None:
    """The column that a person named as the time, if it is no clock but counts."""
    if time is None or time not in log.columns:
        return None
    if time_format is not None:
        return time if time_format in CLOCKLESS else None
    counts = log.rows[time].dtype.is_numeric() and log.read_as_time(time) is None and not _is_excel(log, time)
    return time if counts else None


def _steps(log: Sample, order: str, user: str | None) -> str:
    """How steps of an order are called: days where its name says so and it does not count each user's events."""
    counted = log.rows[order].dtype.is_integer() and user in log.columns and log.counts_for(order, str(user))
    return "days" if says(order, DAYS) and not counted else "order"


# ---------------------------------------------------------------------------- sessions


def _session(draft: Draft, user: str | None, time: str | None) -> Guess | None:
    """A column whose rows belong together: a basket, one list of impressions."""
    log, ranked = draft.log, []
    for name in draft.left:
        rank = rank_of(name, SESSION)
        column = log.rows[name]
        if rank is None or column.dtype.is_float() or log.is_flag(name) or column.dtype.is_nested():
            continue
        beside = {part for part in words_of(name) if not says(part, SESSION)} - _NEUTRAL
        if beside and not names_id(name):
            continue
        numbered = log.counts_for(name, user) if user else False
        rows, of_one = log.grouping(name, user)
        if (
            column.null_count() > 0.05 * len(column)
            or rows <= 1.2
            or (of_one < _SHARED and not numbered)
            or (user and log.n_unique(name) == log.n_unique(user))
        ):
            continue
        ranked.append((of_one < _SHARED, not names_id(name), rank, name, rows))
    if ranked:
        _, _, _, column_name, rows = min(ranked)
        return draft.take("session", column_name, f"by its name; {rows:.1f} rows share one")
    return None if user is None or time is None else _session_by_values(draft, user, time)


def _session_by_values(draft: Draft, user: str, time: str) -> Guess | None:
    """An id whose rows are all of one user and of one time, though its name says nothing."""
    log = draft.log
    for name in draft.left:
        if not names_id(name) or says(name, OTHER_THINGS) or not log.may_be_id(name) or time not in log.columns:
            continue
        rows, of_one = log.grouping(name, user)
        if rows > 1.5 and of_one > _SHARED and log.is_attribute_of(time, name) and not log.is_attribute_of(name, user):
            return draft.take("session", name, f"{rows:.1f} rows share one, all of one user and one time")
    return None
