"""Cells with several values, such as genres: one rule for files, training and requests."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["parts_of", "spelled"]

_WHOLE = re.compile(r"^(-?(?:0|[1-9][0-9]*))\.0+$")


def parts_of(value: object, separator: str) -> tuple[str, ...]:
    """The different values in a cell, in their order: the elements of a list, or the pieces of a text.

    A text in square brackets is a list that was written as text: commas separate its elements, which may be in
    quotation marks. Any other text is cut at `separator`. Blanks around a value, and values that are blank, do not
    count.

    >>> parts_of("Drama|Comedy| ", "|"), parts_of(["Drama", 7.0, None], "|"), parts_of("['Drama', 'War']", "|")
    (('Drama', 'Comedy'), ('Drama', '7'), ('Drama', 'War'))
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] == "[" and text[-1:] == "]":
            given: Iterable[object] = [part.strip().strip("'\"") for part in text[1:-1].split(",")]
        else:
            given = text.split(separator)
    else:
        given = value if isinstance(value, Iterable) else [value]
    texts = (spelled(str(part).strip()) for part in given if part is not None and part == part)  # NaN is not itself
    return tuple(dict.fromkeys(text for text in texts if text))


def spelled(text: str) -> str:
    """Text as vocabularies spell it: a whole number without a decimal point, true and false in lower case.

    >>> [spelled(text) for text in ("4.0", "True", "01", "4.50")]
    ['4', 'true', '01', '4.50']
    """
    if (lower := text.strip().lower()) in ("true", "false"):
        return lower
    return _WHOLE.sub(r"\1", text)
