"""First settings for a log, guessed from the names and values of its columns; each guess says why.

Every column of the log and of the tables beside it is listed with what became of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from edgerec.data.ids import text_of
from edgerec.data.names import (
    ITEM,
    KNOWN_BEFORE,
    MEASURES,
    PLACES,
    QUANTITY,
    USER,
    exposure_of,
    names_id,
    rank_of,
    says,
)
from edgerec.data.near import missing_ids
from edgerec.data.outcomes import Outcomes, TaskGuess, find_outcomes, not_understood, propose_tasks, quoted
from edgerec.data.portrait import (
    LEAST_REQUESTS,
    LogColumns,
    Portrait,
    Proposal,
    portray,
    propose_split,
    read_log,
    requests_of,
)
from edgerec.data.readers import reading
from edgerec.data.roles import ROLES, Draft, Fate, Guess, Roles, find_roles, has_clock
from edgerec.data.sample import AttributeKind, Sample, kind_of, sql_name

__all__ = ["Fate", "Guess", "GuessedSettings", "guess_settings"]

_OF_ITEMS = ("price", "brand", "category")
_WHY: Mapping[AttributeKind, str] = {
    "text": "several words, many different values",
    "categorical": "strings, or few different numbers",
    "numeric": "many different numbers",
    "multi": "several values in a cell",
}
_MOST_PLACES: Final = 1000
"""A place with more different values is none."""

FEW_REPEATS = 0.001
"""Share of the rows of an item that their user had before, below which nobody has an item twice."""


@dataclass(frozen=True)
class GuessedSettings:
    """The content of a settings file, and the guesses in it.

    Attributes:
        columns: by table, every column and what became of it.
        portrait: the log in numbers; None while a role is open.
        open_: roles that nothing tells, and what to do; the file has a line to fill in for each.
        notes: on guesses that may be wrong, and on tables beside the log that lack part of its ids.
    """

    toml: str
    guesses: list[Guess]
    columns: Mapping[str, list[Fate]] = field(default_factory=dict)
    portrait: Portrait | None = None
    open_: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``edgerec init --json``."""
        return {
            "guesses": [vars(guess) for guess in self.guesses],
            "columns": {path: [vars(fate) for fate in fates] for path, fates in self.columns.items()},
            "log": None if self.portrait is None else dict(self.portrait.lines()),
            "open": dict(self.open_),
            "notes": list(self.notes),
        }


def guess_settings(
    log: Path,
    items: Path | None,
    users: Path | None,
    folder: Path,
    roles: Mapping[str, str] | None = None,
    time_format: str | None = None,
) -> GuessedSettings:
    """Write settings for a log, to be read and corrected by a person.

    Args:
        log: the interactions; `items` and `users`: tables beside them.
        folder: where the settings file will be; paths in it are relative to this.
        roles: columns that a person named, by role: user, item, time, session.
        time_format: how the time is read, where a person said it.

    Raises:
        DataError: a file cannot be read, or has no header. ConfigError: a name in `roles` is no role.
    """
    sample = _opened(log, folder)
    draft = Draft(sample, list(sample.columns))
    found = find_roles(draft, roles or {}, time_format)
    where = _where(draft)
    outcomes = find_outcomes(draft, found)
    found = _lists_as_sessions(draft, found, outcomes)
    tasks = propose_tasks(sample, found, outcomes)
    proposal, portrait, few = _measured(sample, found, where, tasks)
    tasks = [_without_repeats(task, portrait) for task in tasks if task.name not in few]
    draft.guesses += [Guess(f"task {task.name}", task.keys.get("label", ""), task.why) for task in tasks]
    beside = {"items": _opened(items, folder) if items else None, "users": _opened(users, folder) if users else None}
    context = _context(draft, found)
    tables = {name: _attributes(draft, name, found, outcomes, table) for name, table in beside.items()}
    draft.notes += not_understood(draft)
    _leave_the_rest(draft)
    notes = draft.notes + [
        note for name, table in beside.items() if table for note in _missing(sample, found, name, table, tables)
    ]
    lines = [
        *_head(log, sample, found, where),
        *_after(outcomes),
        *context,
        *([f"split = {proposal.toml}  # {proposal.why}"] if proposal else []),
        *_left_out(draft.fates),
        *(line for table in tables.values() for line in table.lines),
        *_task_lines(tasks, few),
    ]
    if portrait is not None and not max(portrait.requests):
        notes.insert(0, "nobody has an event before another that could be judged: edgerec prepare will refuse this log")
    columns = {sample.path: _in_order(sample, draft.fates)}
    columns |= {t.path: table.fates for t, table in zip(beside.values(), tables.values(), strict=True) if t}
    return GuessedSettings("\n".join(lines) + "\n", draft.guesses, columns, portrait, found.open_, notes)


def _head(log: Path, sample: Sample, roles: Roles, where: str | None) -> list[str]:
    """The file up to the columns that every log needs."""
    return [
        "# Guessed by `edgerec init`: read each guess and correct it. `edgerec prepare` checks everything.",
        f"name = {quoted(_name_of(log))}",
        'device = "kiosk-x86"                     # see: edgerec devices',
        "",
        "[data]",
        f"interactions = {quoted(sample.path)}",
        *(
            ['decimal = ","  # the comma stands before the fraction of numbers']
            if sample.source.how.decimal == ","
            else []
        ),
        *_role_lines(roles),
        *([_line("where", Guess("where", where, "leaves out returns: quantities of 0 and less"))] if where else []),
    ]


def _task_lines(tasks: Sequence[TaskGuess], few: Mapping[str, int]) -> list[str]:
    """The tasks, and those that `few` requests could judge."""
    without = [
        f"# no task {name}: {n:,} requests could judge it, at least {LEAST_REQUESTS} are needed"
        for name, n in few.items()
    ]
    return [line for task in tasks for line in task.lines()] + (["", *without] if without else [])


def _opened(path: Path, folder: Path) -> Sample:
    return Sample.open(path, Path(os.path.relpath(path, folder)).as_posix())


def _in_order(sample: Sample, fates: Sequence[Fate]) -> list[Fate]:
    return sorted(fates, key=lambda fate: sample.columns.index(fate.column))


def _without_repeats(task: TaskGuess, portrait: Portrait | None) -> TaskGuess:
    """Where hardly anybody has an item twice, such as films, lists leave out what the user had."""
    if task.kind != "retrieval" or "repeats" in task.keys or portrait is None or portrait.repeats >= FEW_REPEATS:
        return task
    return replace(task, why=f"{task.why}; nobody has an item twice", keys={**task.keys, "repeats": '"exclude"'})


def _measured(
    sample: Sample, roles: Roles, where: str | None, tasks: Sequence[TaskGuess]
) -> tuple[Proposal | None, Portrait | None, Mapping[str, int]]:
    """A split that fits the log, the log in numbers, and the tasks that too few requests could judge, with how many.

    Nothing while a role is open.
    """
    if roles.user is None or roles.item is None or roles.time is None or roles.open_:
        return None, None, {}
    retrieval = [task for task in tasks if task.kind == "retrieval"]
    columns = LogColumns(
        roles.user.column,
        roles.item.column,
        roles.time.column,
        None if roles.session is None else roles.session.column,
        where,
        {task.name: json.loads(task.keys["label"]) for task in retrieval if "label" in task.keys},
        time_format=roles.time_format,
        timed=roles.order is None,
    )
    log = read_log(sample.source, columns)
    proposal = propose_split(log)
    others = [task for task in retrieval if task.name != "next"]
    judged = {task.name: requests_of(log, proposal, task.name, "repeats" in task.keys) for task in others}
    return proposal, portray(log, proposal), {name: n for name, n in judged.items() if n < LEAST_REQUESTS}


# ---------------------------------------------------------------------------- [data]


def _role_lines(roles: Roles) -> list[str]:
    lines = []
    for role in ROLES:
        if role in roles.open_:
            lines.append(f'# {role} = "..."  # fill in: {roles.open_[role]}')
        elif role in roles.found:
            lines.append(_line(role, roles.found[role]))
        if role == "time" and "time_format" in roles.open_:
            lines.append(f'# time_format = "..."  # fill in: {roles.open_["time_format"]}')
        elif role == "time" and roles.time_format is not None:
            why = "as you said" if roles.order is None else "steps without a clock"
            lines.append(f"time_format = {quoted(roles.time_format)}  # {why}")
    return lines


def _where(draft: Draft) -> str | None:
    """Returned goods are not purchases."""
    for name in draft.left:
        quantity = draft.log.rows[name]
        if says(name, QUANTITY) and quantity.dtype.is_numeric() and (quantity <= 0).any():
            draft.take("where", name, "leaves out returns: quantities of 0 and less")
            return f"{sql_name(name)} > 0"
    return None


def _lists_as_sessions(draft: Draft, roles: Roles, outcomes: Outcomes) -> Roles:
    """Without sessions, impressions that a user saw at one time are one list, and so one request."""
    user, time = roles.user, roles.time
    if roles.session is not None or not outcomes.flags or user is None or time is None or roles.order is not None:
        return roles
    if time.column not in draft.log.columns or draft.log.grouping(time.column, user.column)[0] <= 1.2:
        return roles
    rows = draft.log.grouping(time.column, user.column)[0]
    session = Guess("session", time.column, f"{rows:.1f} rows share user and time: they were shown together")
    draft.guesses.append(session)
    return replace(roles, session=session)


def _after(outcomes: Outcomes) -> list[str]:
    """Flags, watch times and ratings are known only after the impression."""
    lines = []
    if outcomes.after:
        lines = [
            "# what users did, by names and values: known only after the impression, so it cannot be a feature",
            _list("after", outcomes.after),
        ]
    if outcomes.propensity:
        lines.append(f"propensity = {quoted(outcomes.propensity)}  # for off-policy evaluation, see edgerec evaluate")
    return lines


def _context(draft: Draft, roles: Roles) -> list[str]:
    """Where and when something was shown."""
    log, keys = draft.log, [role.column for role in (roles.user, roles.item) if role]

    def known(name: str) -> bool:
        column = log.rows[name]
        fits = not column.dtype.is_nested() and not column.dtype.is_float() and log.n_unique(name) <= _MOST_PLACES
        named = (says(name, PLACES) and exposure_of(name) is None) or (log.is_flag(name) and says(name, KNOWN_BEFORE))
        return fits and named and not any(key in log.columns and log.is_attribute_of(name, key) for key in keys)

    places = [name for name in draft.left if known(name)]
    for name in places:
        draft.take("context", name, f"by its name; {log.values(name)}")
    values = [f"categorical = {json.dumps(places, ensure_ascii=False)}"] if places else []
    if roles.order is None and roles.time is not None:
        finer = roles.time.column not in log.columns or has_clock(log, roles.time.column)
        values.append('from_time = ["hour", "weekday"]' if finer else 'from_time = ["weekday"]')
    if not values:
        return []
    zone = "  # times are read as UTC; or set timezone" if roles.order is None else ""
    return [f"context = {{ {', '.join(values)} }}{zone}"]


def _left_out(fates: Sequence[Fate]) -> list[str]:
    """The columns of the log that the settings do not use, and why."""
    lines = []
    for fate in (fate for fate in fates if fate.becomes == "left out"):
        lines.append(f"# left out: {fate.column}: {fate.why}")
    return lines


def _leave_the_rest(draft: Draft) -> None:
    """Say of every column without a role why it has none."""
    log = draft.log
    for name in list(draft.left):
        column = log.rows[name]
        if column.null_count() == len(column):
            draft.leave(name, "empty in all rows that were read")
        elif column.drop_nulls().dtype.is_nested():
            draft.leave(name, "holds lists or records")
        elif log.n_unique(name) == 1:
            draft.leave(name, "has one value in all rows that were read")
        elif log.read_as_time(name):
            draft.leave(name, "another time; only one orders the events")
        elif kind_of(column, is_id=False) == "text":
            draft.leave(name, "a text that differs within items: what users wrote is known only afterwards")
        elif log.differs_in_every_row(name):
            draft.leave(name, "differs in every row: a number or a key of the row")
        elif says(name, QUANTITY):
            draft.leave(name, "how much was taken: known only afterwards; a regression task could predict it")
        elif log.is_flag(name):
            draft.leave(name, "0 or 1, but nothing tells whether it is known before: name it in context, or in after")
        elif says(name, (*USER, *ITEM)) or names_id(name):
            draft.leave(name, "another id or name of a user, an item or something else; its values differ within both")
        else:
            draft.leave(name, "differs within users and items, and its name tells no part: context, after, or nothing")


# ---------------------------------------------------------------------------- [data.items], [data.users]


@dataclass(frozen=True)
class _Table:
    """A section of items or users: its lines, and for a table of its own what became of its columns."""

    lines: list[str]
    fates: list[Fate]
    id_: str | None = None


def _attributes(draft: Draft, section: str, roles: Roles, outcomes: Outcomes, beside: Sample | None) -> _Table:
    """Columns of a table beside the log, or columns of the log that hardly change for one item or user."""
    key = roles.item if section == "items" else roles.user
    lines: list[str] = []
    id_: str | None = None
    if beside is None:
        if key is None or key.column not in draft.log.columns:
            return _Table([], [])
        table, columns = draft.log, [name for name in draft.left if _belongs_to(draft.log, name, key.column)]
        into = draft
    else:
        table, into = beside, Draft(beside, list(beside.columns), guesses=draft.guesses)
        id_ = _id_of(draft.log, beside, key.column if key else None, ITEM if section == "items" else USER)
        guess = into.take(f"{section} id", id_, "holds the ids of the log")
        columns, lines = list(into.left), [f"path = {quoted(beside.path)}", _line("id", guess)]
    kinds, separator = _by_kind(into, table, columns, section, outcomes)
    lines += [_list(kind, names) + f"  # {_WHY[kind]}" for kind, names in kinds.items() if names]
    if separator not in (None, "|"):
        lines.append(f"multi_separator = {quoted(str(separator))}")
    if beside is not None:
        _leave_the_rest_of_table(into, outcomes)
        lines += _left_out(into.fates)
    return _Table(["", f"[data.{section}]", *lines] if lines else [], into.fates if beside is not None else [], id_)


def _by_kind(
    into: Draft, table: Sample, columns: Sequence[str], section: str, outcomes: Outcomes
) -> tuple[dict[AttributeKind, list[str]], str | None]:
    """Attributes by kind, and what separates the values of those with several in a cell."""
    kinds: dict[AttributeKind, list[str]] = {"text": [], "categorical": [], "numeric": [], "multi": []}
    separator: str | None = None
    for name in columns:
        mark = table.separator(name)
        kind = kind_of(table.rows[name], is_id=names_id(name)) if mark is None else "multi"
        if kind == "categorical" and _measures(table, name):
            kind = "numeric"
        if kind is None or name in outcomes.after or (section == "users" and kind == "text"):
            continue
        why = _WHY[kind]
        if mark not in (None, "[]"):
            if separator not in (None, mark):
                into.leave(name, f"several values in a cell with {mark} between them, where others have {separator}")
                continue
            separator, why = mark, f"{why}, with {mark} between them"
        kinds[kind].append(name)
        into.take(f"{section} {kind}", name, why)
    return kinds, separator


def _measures(table: Sample, name: str) -> bool:
    """Are whole numbers measures by their name, such as an age, and more than a few?"""
    return (
        table.rows[name].dtype.is_integer()
        and says(name, MEASURES)
        and not names_id(name)
        and table.n_unique(name) > 10
    )


def _leave_the_rest_of_table(into: Draft, outcomes: Outcomes) -> None:
    for name in list(into.left):
        column = into.log.rows[name].drop_nulls()
        if column.dtype.is_nested():
            into.leave(name, "holds lists or records")
        elif column.n_unique() < 2:
            into.leave(name, "has one value")
        elif name in outcomes.after:
            into.leave(name, "called like a column of the log that is known only afterwards")
        else:
            into.leave(name, "too many different values for a category, and no text or number")


def _belongs_to(log: Sample, name: str, key: str) -> bool:
    if (
        (log.rows[name].dtype.is_nested() and log.separator(name) is None)
        or log.differs_in_every_row(name)
        or name == key
    ):
        return False
    if says(name, _OF_ITEMS):
        return says(key, ITEM)
    return log.is_attribute_of(name, key)


def _id_of(log: Sample, beside: Sample, key: str | None, words: Sequence[str]) -> str:
    """The column of a table that holds the ids of the log: of the same name, or the one that shares most values."""
    if key in beside.columns:
        return str(key)
    named = [name for name in beside.columns if rank_of(name, words) is not None or names_id(name)]
    if key in log.columns:
        ids = set(log.rows[key].drop_nulls().cast(pl.String).head(10_000))
        shared = {
            name: len(ids.intersection(beside.rows[name].cast(pl.String, strict=False))) for name in _flat(beside)
        }
        best = max(shared, key=lambda name: (shared[name], name in named), default=None)
        if best is not None and shared[best]:
            return best
    return min(named, key=lambda name: (not names_id(name), rank_of(name, words) or 99), default=beside.columns[0])


def _flat(table: Sample) -> list[str]:
    return [name for name in table.columns if not table.rows[name].dtype.is_nested()]


def _missing(log: Sample, roles: Roles, section: str, table: Sample, tables: Mapping[str, _Table]) -> list[str]:
    """How many ids of the log a table beside it lacks, and whether they are written otherwise there."""
    role, id_ = roles.item if section == "items" else roles.user, tables[section].id_
    if role is None or id_ is None:
        return []
    return missing_ids(_ids(log, role.column), _ids(table, id_), table.path, section)


def _ids(table: Sample, expression: str) -> pl.Series:
    """Different ids of a whole table, as `edgerec prepare` reads them."""
    source = table.source
    text = text_of(*source.expression(expression, "id"), f"{table.path}: {expression}").alias("id")
    with reading(table.path):
        return source.frame.select(text.unique()).drop_nulls().collect(engine="streaming")["id"].sort()


# ---------------------------------------------------------------------------- TOML


def _name_of(log: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", log.name.partition(".")[0]).strip("-") or "log"


def _line(key: str, guess: Guess) -> str:
    return f"{key} = {quoted(guess.column)}  # {guess.why}"


def _list(key: str, names: Sequence[str]) -> str:
    return f"{key} = {json.dumps(list(names), ensure_ascii=False)}"
