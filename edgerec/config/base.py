"""The base of all sections: a frozen model, types of names and durations, and messages for the user."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
ColumnNames = tuple[Annotated[str, Field(min_length=1)], ...]
Expression = Annotated[str, Field(min_length=1)]
"""A column of the log, or an SQL expression over its row (Polars SQL)."""

_DURATION = re.compile(r"([1-9]\d*)(w|d|h|min)")
_UNIT_MS = {"w": 7 * MS_PER_DAY, "d": MS_PER_DAY, "h": MS_PER_HOUR, "min": 60_000}


class Settings(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def duration_ms(text: str) -> int:
    """Length of "4w", "28d", "12h" or "30min" in milliseconds, days taken as 24 hours.

    >>> duration_ms("12h")
    43200000
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise problem(f'expected a duration such as "28d", "12h" or "4w", or a fraction such as 0.1, got {text!r}')
    return int(match[1]) * _UNIT_MS[match[2]]


def nearest(word: str, words: Iterable[object]) -> str | None:
    """The one of `words` that `word` was probably meant to be, or None."""
    by_lower = {str(other).lower(): str(other) for other in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def hint(word: str, words: Iterable[object]) -> str:
    """ "; did you mean ...?", or an empty string."""
    close = nearest(word, words)
    return f"; did you mean {close!r}?" if close else ""


def problem(message: str) -> PydanticCustomError:
    """A message that reaches the user as it is (pydantic puts "Value error, " before a ValueError's)."""
    return PydanticCustomError("edgerec", "{message}", {"message": message})
