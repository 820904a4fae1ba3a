"""Values and truths of all items at once.

A truth is a byte: 0 false, 1 unknown, 3 true. So AND and OR of all items are those of the bits of one large number, and
NOT is a table.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from functools import reduce
from math import isfinite, nan
from numbers import Real
from operator import and_, or_
from typing import Any, Final, TypeAlias

from edgerec.bundle.columns import Lists, Numbers, Parameter, Texts, Value
from edgerec.tasks.buffers import doubles

Truth: TypeAlias = bytes
FALSE, UNKNOWN, TRUE = 0, 1, 3
_NOT: Final = bytes.maketrans(bytes((FALSE, TRUE)), bytes((TRUE, FALSE)))

UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


# --- truths ---


def negated(truth: Truth) -> Truth:
    """NOT."""
    return truth.translate(_NOT)


def all_of(truths: Sequence[Truth]) -> Truth:
    """AND."""
    return _joined(and_, truths)


def any_of(truths: Sequence[Truth]) -> Truth:
    """OR."""
    return _joined(or_, truths)


def _joined(join: Callable[[int, int], int], truths: Sequence[Truth]) -> Truth:
    return reduce(join, (int.from_bytes(truth, "little") for truth in truths)).to_bytes(len(truths[0]), "little")


def truth_of(value: Value) -> Truth:
    """A number is true where it is not 0."""
    return bytes(UNKNOWN if v != v else TRUE if v else FALSE for v in as_numbers(value))


def unknown(n: int) -> Truth:
    """Of n items."""
    return bytes((UNKNOWN,)) * n


# --- values ---


def size(value: Value) -> int:
    """For how many items."""
    return len(value.codes if isinstance(value, Texts | Lists) else value)


def spread(value: Parameter, n: int) -> Value:
    """One value for each of n items; what is neither a string nor a finite number is missing."""
    if isinstance(value, str):
        return Texts([value], array("i", bytes(4 * n)))
    try:
        number = float(value) if isinstance(value, Real) else nan
    except OverflowError:
        number = nan
    return array("d", (number if isfinite(number) else nan,)) * n


def as_numbers(value: Value) -> Numbers:
    """Strings are missing numbers."""
    return array("d", (nan,)) * len(value.codes) if isinstance(value, Texts | Lists) else value


def missing(value: Value, inverted: bool = False) -> Truth:
    """Where there is no value, or with `inverted` where there is one."""
    if isinstance(value, Texts | Lists):
        truth = bytes(TRUE if code < 0 else FALSE for code in value.codes)
    else:
        truth = bytes(TRUE if v != v else FALSE for v in value)
    return negated(truth) if inverted else truth


def look_up(texts: Texts | Lists, holds: Callable[[Any], bool]) -> Truth:
    """Whether it holds of each item's string or list, asked once of each that is distinct; unknown where missing."""
    truths = bytes((*(TRUE if holds(value) else FALSE for value in texts.values), UNKNOWN))
    return bytes(map(truths.__getitem__, texts.codes))  # -1 is the last: missing


def contains(lists: Value, value: Value) -> Truth:
    """Where a list holds the string; unknown where one of them is missing or of another kind."""
    if not (isinstance(lists, Lists) and isinstance(value, Texts)):
        return unknown(size(lists))
    if _is_one(value):
        return look_up(lists, lambda cell: value.values[0] in cell)
    return bytes(
        UNKNOWN if c < 0 or t < 0 else TRUE if value.values[t] in lists.values[c] else FALSE
        for c, t in zip(lists.codes, value.codes, strict=True)
    )


def compare(holds: Callable[[Any, Any], bool], left: Value, right: Value) -> Truth:
    """Where `holds` is true of both sides; unknown where one is missing or they are of two kinds."""
    if isinstance(left, Texts) and isinstance(right, Texts):
        return _compare_texts(holds, left, right)
    if isinstance(left, Texts | Lists) or isinstance(right, Texts | Lists):
        return unknown(size(left))
    return bytes(
        UNKNOWN if a != a or b != b else TRUE if holds(a, b) else FALSE for a, b in zip(left, right, strict=True)
    )


def _compare_texts(holds: Callable[[Any, Any], bool], left: Texts, right: Texts) -> Truth:
    if _is_one(right):
        return look_up(left, lambda text: holds(text, right.values[0]))
    if _is_one(left):
        return look_up(right, lambda text: holds(left.values[0], text))
    return bytes(
        UNKNOWN if a < 0 or b < 0 else TRUE if holds(left.values[a], right.values[b]) else FALSE
        for a, b in zip(left.codes, right.codes, strict=True)
    )


def _is_one(texts: Texts) -> bool:
    """Whether all items have the same string; a code is 0 then, or -1, whose bytes are all ones."""
    return len(texts.values) == 1 and b"\xff" not in texts.codes.tobytes()


def calculated(apply: Callable[[float, float], float], left: Numbers, right: Numbers) -> Numbers:
    """A sum, a difference, a product or a quotient; missing where it is not finite."""

    def finite(a: float, b: float) -> float:
        try:
            value = apply(a, b)
        except ZeroDivisionError:
            return nan
        return value if isfinite(value) else nan

    return array("d", map(finite, left, right))


def lengths(texts: Texts) -> Numbers:
    """Characters of each string."""
    known = array("d", (*map(len, texts.values), nan))
    return array("d", map(known.__getitem__, texts.codes))


def first_known(first: Value, second: Value) -> Value:
    """`second` where `first` is missing."""
    if isinstance(first, Texts) and isinstance(second, Texts):
        shift = len(first.values)
        codes = (a if a >= 0 else b + shift if b >= 0 else -1 for a, b in zip(first.codes, second.codes, strict=True))
        return Texts([*first.values, *second.values], array("i", codes))
    if isinstance(first, Texts | Lists) or isinstance(second, Texts | Lists):
        # One is a parameter of the other kind, which counts as missing.
        return first if isinstance(first, Texts | Lists) else second
    return doubles(b if a != a else a for a, b in zip(first, second, strict=True))


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
