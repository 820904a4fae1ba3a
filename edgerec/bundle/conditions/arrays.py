"""Values and truths of all items at once, as arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.bundle.columns import Lists, Numbers, Parameter, Texts, Value

Truth: TypeAlias = npt.NDArray[np.int8]
"""0 false, 1 unknown, 2 true: AND is the least, OR the largest, NOT ``2 - x``."""

UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def spread(value: Parameter, n: int) -> Value:
    """One value for each of n items; what is neither a string nor a finite number is missing."""
    if isinstance(value, str):
        return Texts([value], np.zeros(n, np.int32))
    number = float(value) if isinstance(value, bool | int | float | np.number) else np.nan
    return np.broadcast_to(np.float64(number if np.isfinite(number) else np.nan), (n,))


def as_numbers(value: Value) -> Numbers:
    """Strings are missing numbers."""
    return np.full(len(value.codes), np.nan) if isinstance(value, Texts | Lists) else value


def is_missing(value: Value) -> npt.NDArray[np.bool_]:
    """Where there is no value."""
    return value.codes < 0 if isinstance(value, Texts | Lists) else np.isnan(value)


def truth_of(value: Value) -> Truth:
    """A number is true where it is not 0."""
    number = as_numbers(value)
    return np.where(np.isnan(number), 1, np.where(number != 0, 2, 0)).astype(np.int8)


def unknown(n: int) -> Truth:
    """Of n items."""
    return np.ones(n, np.int8)


def look_up(texts: Texts | Lists, values: list[Any], missing: Any, kind: Any) -> Any:
    """`values` of the distinct strings, for each item."""
    return np.array([*values, missing], kind)[texts.codes]  # -1 is the last: missing


def contains(lists: Value, value: Value) -> Truth:
    """Where a list holds the string; unknown where one of them is missing or of another kind."""
    if not (isinstance(lists, Lists) and isinstance(value, Texts)):
        return unknown(len(lists.codes if isinstance(lists, Lists) else as_numbers(lists)))
    if len(value.values) == 1:
        truth = look_up(lists, [2 if value.values[0] in cell else 0 for cell in lists.values], 1, np.int8)
    else:
        cells, texts = [*lists.values, ()], [*value.values, ""]
        truth = np.array([2 if texts[t] in cells[c] else 0 for c, t in zip(lists.codes, value.codes, strict=True)])
    return np.where((lists.codes < 0) | (value.codes < 0), 1, truth).astype(np.int8)


def compare(holds: Callable[[Any, Any], Any], left: Value, right: Value) -> Truth:
    """Where `holds` is true of both sides; unknown where one is missing or they are of two kinds."""
    if isinstance(left, Texts) and isinstance(right, Texts):
        truth = _compare_texts(holds, left, right)
    elif isinstance(left, Texts | Lists) or isinstance(right, Texts | Lists):
        return unknown(len(left.codes if isinstance(left, Texts | Lists) else left))
    else:
        truth = np.where(holds(left, right), 2, 0)
    return np.where(is_missing(left) | is_missing(right), 1, truth).astype(np.int8)


def _compare_texts(holds: Callable[[Any, Any], Any], left: Texts, right: Texts) -> Any:
    if len(right.values) == 1:
        return look_up(left, [2 if holds(t, right.values[0]) else 0 for t in left.values], 1, np.int8)
    if len(left.values) == 1:
        return look_up(right, [2 if holds(left.values[0], t) else 0 for t in right.values], 1, np.int8)
    a, b = (np.array([*t.values, ""], object)[t.codes] for t in (left, right))
    return np.where(holds(a, b), 2, 0)


def first_known(first: Value, second: Value) -> Value:
    """`second` where `first` is missing."""
    if isinstance(first, Texts) and isinstance(second, Texts):
        shifted = np.where(second.codes < 0, -1, second.codes + len(first.values)).astype(np.int32)
        return Texts([*first.values, *second.values], np.where(first.codes < 0, shifted, first.codes))
    if isinstance(first, Texts | Lists) or isinstance(second, Texts | Lists):
        # One is a parameter of the other kind, which counts as missing.
        return first if isinstance(first, Texts | Lists) else second
    return np.where(np.isnan(first), second, first)


def like_matcher(pattern: str) -> Callable[[str], bool]:
    """LIKE: % is any string, _ any character. One pass: each part between % is matched as early as possible."""
    parts = [
        re.compile("".join("." if c == "_" else re.escape(c) for c in part), re.DOTALL)
        for part in pattern.translate(LOWER).split("%")
    ]
    lengths = [len(part) for part in pattern.split("%")]

    def matches(text: str) -> bool:
        text = text.translate(LOWER)
        if len(parts) == 1:
            return parts[0].fullmatch(text) is not None
        if parts[0].match(text) is None:
            return False
        at = lengths[0]
        for part in parts[1:-1]:
            match = part.search(text, at)
            if match is None:
                return False
            at = match.end()
        end = len(text) - lengths[-1]
        return end >= at and parts[-1].match(text, end) is not None

    return matches
