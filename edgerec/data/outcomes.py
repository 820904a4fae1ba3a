"""What users did, as a log has it: labels, ratings, kinds of events, and the tasks that these make possible.

Columns of the logging system's own decision (where an item was shown, with which probability) are no outcome and no
feature: they are named, and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from edgerec.config import MAX_BINARY_TASKS
from edgerec.data.names import (
    AGGREGATE,
    FLAGS,
    KIND_OF_EVENT,
    KINDS,
    KNOWN_BEFORE,
    RATING,
    STATUS,
    WATCH,
    exposure_of,
    rank_of,
    refuses,
    says,
    words_of,
)
from edgerec.data.roles import Draft, Roles
from edgerec.data.sample import Sample, sql_name

__all__ = ["Outcomes", "TaskGuess", "find_outcomes", "propose_tasks", "quoted"]

_LEFT_OUT: Final = {
    "probability": "a probability that the system gave when it logged: known only there, so no feature; if the item "
    "was chosen with it, name it in propensity of [data], for off-policy evaluation",
    "score": "what an earlier model thought of the item: a new one would learn its answers; good to compare with",
    "rank": "where the system ranked the item: an app knows it only afterwards; good for off-policy evaluation",
    "position": "where the item was shown: an app knows it only after ranking; good for off-policy evaluation, "
    "together with propensity of [data]",
    "random": "whether the item was shown at random: good for off-policy evaluation, see random_exposure of "
    "[evaluation]; as a feature it would tell how the log was made",
}
_TYPE: Final = KIND_OF_EVENT.index("type")
"""From here on, a word of `KIND_OF_EVENT` alone does not make a number the kind of an event."""
_NO_OUTCOME: Final = ("verified", "vine", "helpful", "useful")
_CONSUMED: Final = (
    *("click", "clicked", "clk", "klick", "clic", "клик", "点击", "クリック", "클릭", "view", "viewed", "install"),
    *("installed", "download", "downloaded", "purchase", "purchased", "buy", "bought", "order", "ordered", "booked"),
    *("booking", "opened", "apply", "applied", "conversion", "converted", "label", "target", "y", "response"),
    *(
        "outcome",
        "feedback",
        "completed",
        "accepted",
        "gekauft",
        "geklickt",
        "compra",
        "comprado",
        "achat",
        "购买",
        "購入",
        "구매",
    ),
)
"""Flags that say that the item was taken, and not only liked: what a list is judged by."""
_REACTIONS: Final = (
    *("feedback", "reaction", "response", "outcome", "thumb", "vote", "sentiment"),
    *("clicked", "purchased", "bought", "liked", "completed", "accepted"),
)
_SHOWN: Final = ("impression", "show", "shown", "exposure", "served", "search")
_MOST_RETRIEVED: Final = 3
"""Kinds of events that get a retrieval task of their own, the rarest ones."""
_LIKED_SHARES: Final = (0.05, 0.85)
"""Outside of these shares of likes, 4 of 5 tells little, and the upper third of the ratings is taken."""


@dataclass(frozen=True)
class Outcomes:
    """Columns that are known only after the item was shown.

    Attributes:
        flags: of two values, or of one and nothing. ratings, watched: of numbers. kind: of the kind of an event.
        grades: of ratings in words, such as "4 stars".
        propensity: the probability with which the item was chosen; not an outcome, but known only then.
    """

    flags: Sequence[str] = ()
    ratings: Sequence[str] = ()
    watched: Sequence[str] = ()
    kind: str | None = None
    propensity: str | None = None
    grades: Sequence[str] = ()

    @property
    def after(self) -> list[str]:
        """All that users did."""
        return [*self.flags, *self.ratings, *self.grades, *self.watched, *([self.kind] if self.kind else [])]


@dataclass(frozen=True)
class TaskGuess:
    """A task; `keys` as they are written in the file."""

    name: str
    kind: str
    why: str
    keys: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Its section of the file."""
        head = ["", "[[task]]", f"name = {quoted(self.name)}", f'kind = "{self.kind}"  # {self.why}']
        return head + [f"{key} = {value}" for key, value in self.keys.items()]


def find_outcomes(draft: Draft, roles: Roles) -> Outcomes:
    """Take the columns of outcomes and of the logging system's decisions out of those that are left."""
    log = draft.log
    keys = [role.column for role in (roles.user, roles.item) if role is not None]

    marks = {name for name in draft.left if _is_outcome(name) and log.mark(name)}
    given = replace(log, rows=log.rows.with_columns(pl.col(name).is_not_null() for name in marks))

    def own(name: str) -> bool:
        """Is the column of the row, and not of its user or item?"""
        return name in draft.left and not any(key in log.columns and given.is_attribute_of(name, key) for key in keys)

    numbers = [name for name in draft.left if log.is_number(name) and own(name)]
    ratings = [name for name in numbers if _is_rating(log, name)]
    propensity = _exposures(draft, ratings)
    watched = [n for n in numbers if n in draft.left and says(n, WATCH) and n not in ratings]
    flags = [n for n in draft.left if (log.is_flag(n) or log.yes(n) or n in marks) and _is_outcome(n) and own(n)]
    rated = [n for n in draft.left if says(n, RATING) and not says(n, AGGREGATE) and log.grades(n) and own(n)]
    kind = next((n for n in draft.left if n not in flags and _tells_kinds(log, n) and own(n)), None)
    outcomes = Outcomes(flags, ratings, watched, kind, propensity, rated)
    for names, what in (
        (flags, "two values, known only after the item was shown"),
        (rated, "a rating in words, by its name and values"),
        (ratings, "a rating, by its name and values"),
        (watched, "how much, by its name"),
        ([kind] if kind else [], "the kind of the event, by its name and values"),
    ):
        for name in names:
            draft.take("after", name, what)
    return outcomes


def _is_outcome(name: str) -> bool:
    return says(name, FLAGS) and not says(name, (*KNOWN_BEFORE, *_NO_OUTCOME))


def _exposures(draft: Draft, ratings: Sequence[str]) -> str | None:
    """Leave the logging system's decisions out; returns the column of propensities, if there is one."""
    log, propensity = draft.log, None
    for name in list(draft.left):
        kind = exposure_of(name)
        if kind is None or name in ratings:
            continue
        if kind == "random" and log.is_flag(name):
            draft.leave(name, _LEFT_OUT[kind])
        if not log.rows[name].dtype.is_numeric():
            continue
        within = log.lies_within(name, 0, 1)
        if kind == "propensity" and within and propensity is None:
            propensity = name
            draft.take("propensity", name, "the probability of showing the item, by its name and values: no feature")
        elif kind in ("rank", "position") and log.rows[name].dtype.is_integer():
            draft.leave(name, _LEFT_OUT[kind])
        elif (kind in ("probability", "propensity") and within) or (kind == "score" and log.is_number(name)):
            draft.leave(name, _LEFT_OUT["score" if kind == "score" else "probability"])
    return propensity


def _is_rating(log: Sample, name: str) -> bool:
    """By its name, unless a score or a rate has more values than a scale has."""
    if (
        not says(name, RATING)
        or says(name, (*AGGREGATE, *_NO_OUTCOME))
        or exposure_of(name) in ("propensity", "probability", "rank")
    ):
        return False
    sure = {"rating", "ratings", "stars", "star", "overall"}.intersection(words_of(name))
    return bool(sure) or (3 <= log.n_unique(name) <= 21 and log.lies_within(name, -10, 100) and log.largest(name) > 1)


def _tells_kinds(log: Sample, name: str) -> bool:
    """A column of a few words such as view and purchase, or of a few numbers that its name calls kinds."""
    column = log.rows[name].drop_nulls()
    if column.dtype.is_nested() or not 2 <= column.n_unique() <= 30 or log.is_flag(name):
        return False
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        values = column.cast(pl.String).unique().to_list()
        known = sum(refuses(v) or bool(KINDS.intersection([*words_of(v), _plain(v)])) for v in values)
        status = says(name, STATUS) and any(map(refuses, values))
        return known >= 2 or (known >= 1 and (status or says(name, KIND_OF_EVENT)))
    first = rank_of(name, KIND_OF_EVENT)
    return column.dtype.is_integer() and first is not None and first < _TYPE and column.n_unique() <= 8


def not_understood(draft: Draft) -> list[str]:
    """A sentence for each column that is left and looks like an outcome whose values nothing tells."""
    names = (*KIND_OF_EVENT[:_TYPE], *KIND_OF_EVENT[_TYPE + 4 :], *_REACTIONS, *RATING, *STATUS)
    notes = []
    for name in draft.left:
        values = draft.log.rows[name].drop_nulls()
        if values.dtype != pl.String or not 2 <= values.n_unique() <= 30:
            continue
        if not says(name, names) or says(name, (*KNOWN_BEFORE, *_NO_OUTCOME)):
            continue
        few = values.value_counts().sort("count", name, descending=[True, False])[name].to_list()[:4]
        label = quoted(_equals(name, few[-1]))
        notes.append(
            f"{name} looks like what users did ({', '.join(map(repr, few))}), but nothing tells what its values mean: "
            f'name it in after of [data], and write a [[task]] with kind = "binary" and label = {label} for one'
        )
    return notes


def _plain(value: str) -> str:
    return re.sub(r"[\W_]", "", value.casefold())


# ---------------------------------------------------------------------------- tasks


def propose_tasks(log: Sample, roles: Roles, outcomes: Outcomes) -> list[TaskGuess]:
    """Tasks for all that the log tells of, each with a name of its own."""
    tasks: list[TaskGuess] = []
    names: set[str] = set()
    for task in [
        *_flag_tasks(log, outcomes),
        *_number_tasks(log, outcomes),
        *_kind_tasks(log, outcomes),
        *_list_tasks(log, roles, outcomes),
    ]:
        name = task.name
        while name in names:
            name += "_"
        names.add(name)
        tasks.append(TaskGuess(name, task.kind, task.why, task.keys))
    return tasks


def _flag_tasks(log: Sample, outcomes: Outcomes) -> list[TaskGuess]:
    """A task for each flag, the most frequent ones first."""
    flags = sorted(_wanted(outcomes.flags), key=lambda name: -_share(log, name))[:MAX_BINARY_TASKS]
    return [
        TaskGuess(_task_name(f), "binary", "a column of two values", {"label": quoted(_label(log, f))}) for f in flags
    ]


def _label(log: Sample, flag: str) -> str:
    """A column of 0 and 1, or what makes one of a column of yes and no; an empty value counts as 0."""
    mark = log.mark(flag)
    if mark is not None:
        return mark
    yes = log.yes(flag)
    no = "FALSE" if yes is not None or log.rows[flag].dtype == pl.Boolean else "0"
    label = flag if yes is None else _equals(flag, yes)
    return label if not log.rows[flag].null_count() else f"COALESCE({sql_name(flag) if yes is None else label}, {no})"


def _share(log: Sample, flag: str) -> float:
    """Share of the rows in which a flag is set."""
    if log.mark(flag) is not None:
        return log.share_given(flag)
    yes = log.yes(flag)
    return log.mean(flag) if yes is None else log.share_of(flag, yes)


def _number_tasks(log: Sample, outcomes: Outcomes) -> list[TaskGuess]:
    tasks = []
    for name in outcomes.ratings[:1]:  # more of them are parts of the first, such as one for the service
        least, why = _liked(log.rows[name])
        rating = (
            f"COALESCE({sql_name(name)}, {log.smallest(name):g})" if log.rows[name].null_count() else sql_name(name)
        )
        tasks.append(TaskGuess("like", "binary", why, {"label": quoted(f"{rating} >= {least:g}")}))
    if not outcomes.ratings and outcomes.grades:
        name = outcomes.grades[0]
        grades = log.grades(name) or {}
        least, why = _liked(log.rows[name].replace_strict(grades, return_dtype=pl.Float64))
        liked = ", ".join("'" + text.replace("'", "''") + "'" for text, grade in grades.items() if grade >= least)
        label = f"COALESCE({sql_name(name)} IN ({liked}), FALSE)"
        tasks.append(TaskGuess("like", "binary", why, {"label": quoted(label)}))
    for name in outcomes.watched:
        empty = log.rows[name].null_count() > 0
        label, why = (f"COALESCE({sql_name(name)}, 0)", "; an empty one counts as 0") if empty else (name, "")
        keys = {"label": quoted(label), "clip": "0.995"}
        tasks.append(TaskGuess(_task_name(name), "regression", f"a regression target, by its name{why}", keys))
    return tasks


def _liked(ratings: pl.Series) -> tuple[float, str]:
    """From which rating on something is liked, and why."""
    values, rows = np.unique(ratings.drop_nulls().cast(pl.Float64).to_numpy(), return_counts=True)
    shares = rows[::-1].cumsum()[::-1] / rows.sum()  # of the ratings of at least each value
    four = int(np.searchsorted(values, 4))
    if values[-1] == 5 and _LIKED_SHARES[0] <= shares[four] <= _LIKED_SHARES[1]:
        return 4, f"ratings of at least 4 of 5: {shares[four]:.0%} of the rows"
    third = int(np.abs(shares - 1 / 3).argmin())
    return round(float(values[third]), 4), f"the upper third of the ratings: {shares[third]:.0%} of the rows"


def _kind_tasks(log: Sample, outcomes: Outcomes) -> list[TaskGuess]:
    """For each wanted kind of event but the most frequent: whether a row is of it, and which item has it next.

    Where all others are refusals, such as dislikes beside likes, the only wanted one is a task, and `next` is its list.
    """
    if outcomes.kind is None:
        return []
    kinds = [value for value, _ in reversed(_kinds(log, outcomes.kind))]
    wanted = [value for value in kinds if not refuses(str(value))]
    if len(wanted) == 1 and len(kinds) > 1 and not says(str(wanted[0]), _SHOWN):
        label = quoted(_equals(outcomes.kind, wanted[0]))
        return [TaskGuess(_kind_name(outcomes.kind, wanted[0]), "binary", "the kind that is wanted", {"label": label})]
    rarest = [value for value in wanted if value != kinds[-1]]
    if says(outcomes.kind, STATUS):  # what became of an order is no kind of its own, unless it was undone
        return []
    tasks = [
        TaskGuess(
            _kind_name(outcomes.kind, v), "binary", "a kind of event", {"label": quoted(_equals(outcomes.kind, v))}
        )
        for v in rarest[:MAX_BINARY_TASKS]
    ]
    wanted = [v for v in rarest if not says(str(v), _SHOWN)][:_MOST_RETRIEVED]
    return tasks + [
        TaskGuess(
            f"next_{_kind_name(outcomes.kind, v)}", "retrieval", f"which item has the event {v} next",
            {"label": quoted(_equals(outcomes.kind, v))},
        )
        for v in wanted
    ]  # fmt: skip


def _kinds(log: Sample, name: str) -> list[tuple[object, int]]:
    """Kinds of events and their rows, the most frequent first."""
    return list(log.rows[name].drop_nulls().value_counts().sort("count", name, descending=[True, False]).iter_rows())


def _kind_name(column: str, value: object) -> str:
    return _task_name(f"{column}_{value}" if isinstance(value, int) else str(value))


def _equals(column: str, value: object) -> str:
    text = str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
    return f"{sql_name(column)} = {text}"


def _list_tasks(log: Sample, roles: Roles, outcomes: Outcomes) -> list[TaskGuess]:
    """What comes next, what is new to the user, and what goes together."""
    label, why = _consumed(log, outcomes)
    keys = {"label": quoted(label)} if label else {}
    tasks = [TaskGuess("next", "retrieval", f"which item comes next{why}", keys)]
    user, item = roles.user, roles.item
    if not label and user and item and {user.column, item.column} <= set(log.columns):
        pairs = log.rows.drop_nulls([user.column, item.column])
        if pairs.select(user.column, item.column).n_unique() < 0.9 * pairs.height:
            new = "users come back to items, so what is new to them is a task of its own"
            tasks.append(TaskGuess("new", "retrieval", new, {"repeats": '"exclude"'}))
    if roles.session is not None:
        tasks.append(TaskGuess("related", "related", "items of the same session"))
    return tasks


def _consumed(log: Sample, outcomes: Outcomes) -> tuple[str | None, str]:
    """The rows that count as taking an item, as SQL, and why; None: all rows."""
    flags = [name for name in _wanted(outcomes.flags) if says(name, _CONSUMED) and _share(log, name) < 0.95]
    undone = [name for name in outcomes.flags if refuses(name) and _share(log, name) < 0.95]
    without = [f"NOT {_condition(log, name)}" for name in undone]
    if flags:
        flag = min(flags, key=lambda name: rank_of(name, _CONSUMED) or 0)
        label = " AND ".join([_condition(log, flag), *without]) if without else _label(log, flag)
        return label, f": rows without {flag} were shown and not taken"
    if outcomes.kind is not None:
        shown = [v for v, _ in _kinds(log, outcomes.kind) if says(str(v), _SHOWN) or refuses(str(v))]
        without = [*(f"NOT {_equals(outcomes.kind, value)}" for value in shown), *without]
        undone = [*map(str, shown), *undone]
    if without:
        return " AND ".join(without), f": {', '.join(undone)} is not taking an item"
    return None, ""


def _condition(log: Sample, flag: str) -> str:
    """Whether a flag is set, as SQL that is true or false."""
    label = _label(log, flag)
    return f"{label} = 1" if log.rows[flag].dtype.is_numeric() and log.mark(flag) is None else label


def _wanted(flags: Iterable[str]) -> list[str]:
    return [name for name in flags if not refuses(name)]


# ---------------------------------------------------------------------------- names


def _task_name(column: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", column.lower().removeprefix("is_")).strip("_")
    return name if name[:1].isalpha() else f"task_{name}" if name else "event"


def quoted(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False)
