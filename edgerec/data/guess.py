"""First settings for a log, guessed from the names and values of its columns; each guess says why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from edgerec.config import MAX_BINARY_TASKS
from edgerec.data.readers import reading
from edgerec.data.sample import AttributeKind, Sample, best_named, kind_of, words_of
from edgerec.data.times import read_times
from edgerec.errors import DataError
from edgerec.tasks.units import MS_PER_DAY

__all__ = ["Guess", "GuessedSettings", "guess_settings"]

# Words in the names of columns, the most telling first.
_USER = ("user", "customer", "visitor", "member", "client", "shopper", "buyer", "account", "uid")
_ITEM = ("item", "product", "stock", "sku", "article", "movie", "video", "track", "song", "book", "news", "asin", "iid")
_TIME = ("timestamp", "time", "datetime", "date", "ts", "created", "when")
_SESSION = ("session", "basket", "invoice", "order", "visit", "transaction", "receipt", "cart")
_CLICK = ("click", "clicked")
_FLAGS = {"view", "like", "liked", "follow", "buy", "bought", "purchase", "purchased", "conversion", "share", "comment"}
_FLAGS |= {*_CLICK, "forward", "favorite", "save", "saved", "hate", "is", "label"}
_RATING = ("rating", "stars", "rate", "score")
_WATCH = ("play", "watch", "watched", "dwell", "stay", "listen", "read")
_QUANTITY = ("quantity", "qty")
_CONTEXT = ("tab", "page", "device", "platform", "os", "channel", "source", "slot", "placement", "surface", "position")
_NO_ID = ("name", "title", "description", "text", "type", "tag", "duration", "price", "url", "date", "time")
_OF_ITEMS = ("price", "brand", "category")

_WHY: Mapping[AttributeKind, str] = {
    "text": "several words, many different values",
    "categorical": "strings, or few different numbers",
    "numeric": "many different numbers",
}
_WINDOWS = ((120, 1100, "28d"), (28, 120, "7d"), (5, 28, "1d"))
"""From and below this many days, the length of valid and of test."""


@dataclass(frozen=True)
class Guess:
    """A role, the column that has it, and why."""

    role: str
    column: str
    why: str


@dataclass(frozen=True)
class GuessedSettings:
    """The content of a settings file, and the guesses in it."""

    toml: str
    guesses: list[Guess]


@dataclass
class _Draft:
    """Guesses so far.

    Attributes:
        log: first rows of the log.
        left: its columns that have no role yet.
        labels: its columns that say what users did.
    """

    log: Sample
    left: list[str]
    guesses: list[Guess] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def take(self, role: str, column: str, why: str) -> Guess:
        """Give a column a role, so that it gets no other one."""
        guess = Guess(role, column, why)
        self.guesses.append(guess)
        if column in self.left:
            self.left.remove(column)
        return guess

    def take_by_name(self, role: str, column: str) -> Guess:
        """The same for a column whose name says it."""
        return self.take(role, column, f"by its name; {self.log.n_unique(column)} different values")


def guess_settings(log: Path, items: Path | None, users: Path | None, folder: Path) -> GuessedSettings:
    """Write settings for a log, to be read and corrected by a person.

    Args:
        log: the interactions; `items` and `users`: tables beside them.
        folder: where the settings file will be; paths in it are relative to this.

    Raises:
        DataError: a file cannot be read, or no column looks like the user, item or time.
    """
    sample = _opened(log, folder)
    draft = _Draft(sample, list(sample.columns))
    roles = _roles(draft)
    lines = [
        "# Guessed by `edgerec init`: read each guess and correct it. `edgerec prepare` checks everything.",
        f"name = {_quote(_name_of(log))}",
        'device = "kiosk-x86"                     # see: edgerec devices',
        "",
        "[data]",
        f"interactions = {_quote(sample.path)}",
    ]
    lines += [_line(key, guess) for key, guess in roles.items()]
    lines += _where(draft) + _after(draft) + _context(draft) + _split(sample, roles["time"].column)
    lines += _attributes(draft, "items", roles["item"].column, _opened(items, folder) if items else None)
    lines += _attributes(draft, "users", roles["user"].column, _opened(users, folder) if users else None)
    lines += _tasks(draft, roles)
    return GuessedSettings("\n".join(lines) + "\n", draft.guesses)


def _opened(path: Path, folder: Path) -> Sample:
    return Sample.open(path, Path(os.path.relpath(path, folder)).as_posix())


# ---------------------------------------------------------------------------- roles


def _roles(draft: _Draft) -> dict[str, Guess]:
    """user, item, time, and session if there is one."""
    time = _time(draft)  # first: ids are looked for among the other columns
    user, item = _id(draft, "user", _USER), _id(draft, "item", _ITEM)
    roles = {"user": user, "item": item, "time": time}
    session = best_named(_SESSION, draft.left)
    if session is not None:
        rows = draft.log.rows.height / draft.log.n_unique(session)
        if rows > 1.2:
            roles["session"] = draft.take("session", session, f"by its name; {rows:.1f} rows share one")
    return roles


def _id(draft: _Draft, role: str, words: Sequence[str]) -> Guess:
    log = draft.log
    column = best_named(words, draft.left, _NO_ID)
    if column is not None:
        return draft.take_by_name(role, column)
    candidates = [name for name in draft.left if log.may_be_id(name)]
    if not candidates:
        raise DataError(
            f"{log.path}: no column looks like the {role} (columns: {', '.join(log.columns)}); "
            f"rename one to {role}_id, or write the settings by hand"
        )
    column = max(candidates, key=log.n_unique)
    return draft.take(role, column, f"no name fits; it has the most different values ({log.n_unique(column)})")


def _time(draft: _Draft) -> Guess:
    log = draft.log
    formats = {name: form for name in draft.left if (form := log.time_format(name))}
    named = [name for name in formats if words_of(name).intersection(_TIME)]
    dated = [name for name in formats if log.rows[name].dtype.is_temporal()]
    for candidates, why in ((named, "by its name"), (dated, "by its type")):
        if candidates:
            column = max(candidates, key=log.n_unique)
            return draft.take("time", column, f"{why}; {formats[column]}")
    raise DataError(
        f"{log.path}: no column looks like a time (columns: {', '.join(log.columns)}); "
        "rename one to time, or write the settings by hand"
    )


# ---------------------------------------------------------------------------- the rest of [data]


def _where(draft: _Draft) -> list[str]:
    """Returned goods are not purchases."""
    column = best_named(_QUANTITY, draft.left)
    if column is None:
        return []
    quantity = draft.log.rows[column]
    if not quantity.dtype.is_numeric() or not (quantity <= 0).any():
        return []
    draft.left.remove(column)
    return [_line("where", draft.take("where", f"{_sql(column)} > 0", "leaves out returns: quantities of 0 and less"))]


def _after(draft: _Draft) -> list[str]:
    """Flags, watch times and ratings are known only after the impression."""
    log = draft.log
    flags = [name for name in draft.left if log.is_flag(name) and words_of(name).intersection(_FLAGS)]
    numbers = [name for name in draft.left if log.is_number(name)]
    watched = [name for name in numbers if words_of(name).intersection(_WATCH)]
    ratings = [name for name in numbers if words_of(name).intersection(_RATING) and name not in watched]
    draft.labels = flags + watched + ratings
    if not draft.labels:
        return []
    draft.left = [name for name in draft.left if name not in draft.labels]
    draft.guesses.append(Guess("after", ", ".join(draft.labels), "what users did, by names and values"))
    return [
        "# what users did, by names and values: known only after the impression, so it cannot be a feature",
        _list("after", draft.labels),
    ]


def _context(draft: _Draft) -> list[str]:
    """Where and when something was shown."""
    places = [name for name in draft.left if words_of(name).intersection(_CONTEXT) and draft.log.n_unique(name) <= 1000]
    for name in places:
        draft.take_by_name("context", name)
    categorical = f"categorical = {json.dumps(places)}, " if places else ""
    return [f'context = {{ {categorical}from_time = ["hour", "weekday"] }}  # times are read as UTC; or set timezone']


def _split(log: Sample, time: str) -> list[str]:
    """Lengths of valid and test that fit the span of the log."""
    with reading(log.path):
        ms = read_times(log.source.frame, pl.col(time), "UTC", time, ask=False).ms
        span = log.source.frame.select(ms.max() - ms.min()).collect(engine="streaming").item() or 0
    days = span / MS_PER_DAY
    window = next((window for least, most, window in _WINDOWS if least <= days < most), None)
    if window is None:
        return [f'split = {{ by = "rows", valid = 0.1, test = 0.1 }}  # a tenth of the rows: they span {days:.0f} days']
    return [f'split = {{ by = "time", valid = "{window}", test = "{window}" }}  # the log spans {days:.0f} days']


# ---------------------------------------------------------------------------- [data.items], [data.users]


def _attributes(draft: _Draft, section: str, key: str, beside: Sample | None) -> list[str]:
    """Columns of a table beside the log, or columns of the log that hardly change for one item or user."""
    if beside is None:
        table, columns, lines = draft.log, [name for name in draft.left if _belongs_to(draft.log, name, key)], []
    else:
        table = beside
        id_column = _id_of(beside, key, _ITEM if section == "items" else _USER)
        columns = [name for name in table.columns if name != id_column]
        guess = draft.take(f"{section} id", id_column, "holds the ids of the log")
        lines = [f"path = {_quote(beside.path)}", _line("id", guess)]
    kinds: dict[AttributeKind, list[str]] = {"text": [], "categorical": [], "numeric": []}
    for name in columns:
        kind = kind_of(table.rows[name], is_id="id" in words_of(name))
        if kind is None or name in draft.labels or (section == "users" and kind == "text"):
            continue
        kinds[kind].append(name)
        draft.take(f"{section} {kind}", name, _WHY[kind])
    lines += [_list(kind, names) + f"  # {_WHY[kind]}" for kind, names in kinds.items() if names]
    return ["", f"[data.{section}]", *lines] if lines else []


def _belongs_to(log: Sample, name: str, key: str) -> bool:
    if words_of(name).intersection(_OF_ITEMS):
        return words_of(key).intersection(_ITEM) != set()
    return log.is_attribute_of(name, key)


def _id_of(beside: Sample, key: str, words: Sequence[str]) -> str:
    if key in beside.columns:
        return key
    return best_named(words, beside.columns, _NO_ID) or best_named(("id",), beside.columns) or beside.columns[0]


# ---------------------------------------------------------------------------- [[task]]


@dataclass(frozen=True)
class _TaskGuess:
    """A task; `keys` as they are written in the file."""

    name: str
    kind: str
    why: str
    keys: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Its section of the file."""
        head = ["", "[[task]]", f"name = {_quote(self.name)}", f'kind = "{self.kind}"  # {self.why}']
        return head + [f"{key} = {value}" for key, value in self.keys.items()]


def _tasks(draft: _Draft, roles: Mapping[str, Guess]) -> list[str]:
    """The sections of all tasks, each with a name of its own."""
    lines: list[str] = []
    names: set[str] = set()
    for task in [*_label_tasks(draft), *_list_tasks(draft, roles)]:
        name = task.name
        while name in names:
            name += "_"
        names.add(name)
        lines += _TaskGuess(name, task.kind, task.why, task.keys).lines()
        draft.guesses.append(Guess(f"task {name}", task.keys.get("label", ""), task.why))
    return lines


def _label_tasks(draft: _Draft) -> list[_TaskGuess]:
    """A task for each flag, the most frequent ones first, and for each rating and watch time."""
    log = draft.log
    flags = sorted(_wanted_flags(draft), key=lambda name: -log.mean(name))[:MAX_BINARY_TASKS]
    tasks = [_TaskGuess(_task_name(f), "binary", "a column of 0 and 1", {"label": _quote(_sql(f))}) for f in flags]
    for name in draft.labels:
        if log.is_flag(name):
            continue
        if words_of(name).intersection(_RATING):
            liked = round(0.8 * log.largest(name), 2)
            label = {"label": _quote(f"{_sql(name)} >= {liked:g}")}
            tasks.append(_TaskGuess("like", "binary", "ratings in the upper fifth of the scale", label))
        else:
            keys = {"label": _quote(_sql(name)), "clip": "0.995"}
            tasks.append(_TaskGuess(_task_name(name), "regression", "a regression target, by its name", keys))
    return tasks


def _list_tasks(draft: _Draft, roles: Mapping[str, Guess]) -> list[_TaskGuess]:
    """What comes next, what is new to the user, and what goes together."""
    click = next((name for name in _wanted_flags(draft) if words_of(name).intersection(_CLICK)), None)
    label = {"label": _quote(_sql(click))} if click else {}
    tasks = [_TaskGuess("next", "retrieval", "which item comes next", label)]
    user, item = roles["user"].column, roles["item"].column
    pairs = draft.log.rows.drop_nulls([user, item])
    if not click and pairs.select(user, item).n_unique() < 0.9 * pairs.height:
        why = "users come back to items, so what is new to them is a task of its own"
        tasks.append(_TaskGuess("new", "retrieval", why, {"repeats": '"exclude"'}))
    if "session" in roles:
        tasks.append(_TaskGuess("related", "related", "items of the same session"))
    return tasks


def _wanted_flags(draft: _Draft) -> list[str]:
    return [name for name in draft.labels if draft.log.is_flag(name) and "hate" not in words_of(name)]


# ---------------------------------------------------------------------------- TOML


def _name_of(log: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", log.name.partition(".")[0]).strip("-") or "log"


def _task_name(column: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", column.lower().removeprefix("is_")).strip("_")
    return name if name[:1].isalpha() else f"task_{name}"


def _sql(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_]\w*", column) else f'"{column}"'


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(key: str, guess: Guess) -> str:
    return f"{key} = {_quote(guess.column)}  # {guess.why}"


def _list(key: str, names: list[str]) -> str:
    return f"{key} = {json.dumps(names, ensure_ascii=False)}"
