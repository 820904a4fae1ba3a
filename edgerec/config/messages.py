"""One line for a setting that is wrong: the section, the key, what was expected, and the nearest known name."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgerec.config.base import hint
from edgerec.config.tasks import TaskConfig

_INSTEAD: dict[tuple[int | str, ...], str] = {
    ("data", "user"): "add the column that says who: a customer, account or device; without one, a session or "
    'basket can stand for its user, with split = { by = "leave-last-out" }',
    ("data", "item"): "add the column that says what: a product, article, video or the like",
    ("data", "time"): "add the column that says when; without a clock, one that counts each user's events: "
    "edgerec init proposes how",
}
"""What to do if a key that every log needs is missing."""


def explain(error: ValidationError, values: dict[str, Any], whole: type[BaseModel]) -> str:
    """The first problem in one line, and how many more there are; `whole` is the model of the file."""
    problems = error.errors()
    # An unknown key explains the missing one beside it, so it goes first.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _explain_one(problems[0], values, whole) + more


def _explain_one(problem: ErrorDetails, values: dict[str, Any], whole: type[BaseModel]) -> str:
    loc = tuple(part for part in problem["loc"] if part not in ("float", "str", "constrained-str"))
    if problem["type"] == "extra_forbidden":
        keys = _model_at(loc[:-1], whole).model_fields
        section = _section(loc[:-1], values)
        return f"{section + ' ' if section else ''}has no key {loc[-1]!r}{hint(str(loc[-1]), keys)}"
    if problem["type"] == "edgerec":
        return f"{_section(loc, values)}: {_lower(problem['msg'])}" if loc else problem["msg"]
    section, key = _section(loc[:-1], values), loc[-1] if loc else ""
    where = f"{section + ' ' if section else ''}{key}:"
    if problem["type"] == "missing":
        return f"{where} expected a value, found none; {_INSTEAD.get(loc, 'add it')}"
    return f"{where} {expectation(problem)}"


def expectation(problem: ErrorDetails) -> str:
    """The expected value and the given one."""
    message = re.sub(r"^(input|value) should", "expected it to", _lower(problem["msg"]))
    return f"{message}, got {problem['input']!r}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _section(loc: tuple[int | str, ...], values: dict[str, Any]) -> str:
    """A location in the settings, as it is written in the file."""
    match loc:
        case ():
            return ""
        case ("task", int(index), *rest):
            task = values["task"][index]
            name = task.get("name", f"number {index + 1}") if isinstance(task, dict) else f"number {index + 1}"
            return " ".join([f"[[task]] {name}", *map(str, rest)])
        case ("data", ("items" | "users" | "graph") as table, *rest):
            return " ".join([f"[data.{table}]", *map(str, rest)])
        case (section, *rest):
            return " ".join([f"[{section}]", *map(str, rest)])
    raise AssertionError(loc)


def _model_at(loc: tuple[int | str, ...], whole: type[BaseModel]) -> type[BaseModel]:
    model = whole
    for part in loc:
        if part == "task":
            model = TaskConfig
        elif isinstance(part, str):
            annotation = model.model_fields[part].annotation
            options = [annotation, *getattr(annotation, "__args__", ())]
            model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return model
