"""The tree of a condition: each node is checked when it is made, and evaluates to the values or truths of all items."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, Protocol, TypeAlias

from edgerec.bundle.columns import Lists, Numbers, Parameter, Texts, Value
from edgerec.bundle.conditions import arrays
from edgerec.bundle.conditions.arrays import Truth
from edgerec.bundle.conditions.tokens import InvalidCondition


class ColumnReader(Protocol):
    """What a condition reads: columns of equal length N."""

    def kind_of(self, name: str) -> str | None:
        """ "number", "text", "list" (several strings in a cell), or None if there is no such column."""

    def names(self) -> Sequence[str]:
        """Of all columns."""

    def column(self, name: str) -> Value:
        """The values of a column."""

    def __len__(self) -> int: ...


Parameters: TypeAlias = Mapping[str, Parameter]
Values: TypeAlias = Callable[[ColumnReader, Parameters], Value]
Truths: TypeAlias = Callable[[ColumnReader, Parameters], Truth]
COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SEVERAL: Final = "a column with several values in a cell can be asked with = and != a string, IN, LIKE and IS NULL"
Calculation: TypeAlias = Callable[[float, float], float]
SUMS: Final[Mapping[str, Calculation]] = {"+": operator.add, "-": operator.sub}
PRODUCTS: Final[Mapping[str, Calculation]] = {"*": operator.mul, "/": operator.truediv}


@dataclass(frozen=True)
class Node:
    """A part of a condition.

    Attributes:
        kind: "number", "text", "list" (several strings in a cell), "truth", or "any": NULL or a parameter, whose kind
            is known when it is evaluated.
        of: evaluates it.
        text: of a string in quotes.
    """

    kind: str
    of: Callable[[ColumnReader, Parameters], Any]
    text: str | None = None

    # --- what a part must be ---

    def truths(self) -> Truths:
        """As a truth; a number is true where it is not 0."""
        if self.kind == "truth":
            return self.of
        if self.kind == "text":
            raise InvalidCondition("a string is neither true nor false; compare it")
        if self.kind == "list":
            raise InvalidCondition(SEVERAL)
        return lambda c, p: arrays.truth_of(self.of(c, p))

    def values(self) -> Values:
        """As a value."""
        if self.kind == "truth":
            raise InvalidCondition("a comparison is not a value; join comparisons with AND or OR")
        return self.of

    def numbers(self) -> Callable[[ColumnReader, Parameters], Numbers]:
        """As a number."""
        if self.kind == "text":
            raise InvalidCondition("cannot calculate with a string")
        if self.kind == "list":
            raise InvalidCondition(SEVERAL)
        values = self.values()
        return lambda c, p: arrays.as_numbers(values(c, p))


# --- truths ---


def negated(node: Node) -> Node:
    """NOT."""
    truths = node.truths()
    return Node("truth", lambda c, p: arrays.negated(truths(c, p)))


def joined(join: Callable[[Sequence[Truth]], Truth], parts: Sequence[Truths]) -> Node:
    """AND or OR of several parts, by `arrays.all_of` or `arrays.any_of`."""
    return Node("truth", lambda c, p: join([part(c, p) for part in parts]))


def comparison(sign: str, left: Node, right: Node) -> Node:
    """``left < right``, or another sign of `COMPARISONS`."""
    if {left.kind, right.kind} == {"number", "text"}:
        raise InvalidCondition(f"{sign} compares a number with a string")
    if "list" in (left.kind, right.kind):
        return _contains(sign, left, right)
    a, b, holds = left.values(), right.values(), COMPARISONS[sign]
    return Node("truth", lambda c, p: arrays.compare(holds, a(c, p), b(c, p)))


def _contains(sign: str, left: Node, right: Node) -> Node:
    """A column with several strings in a cell equals a string that is one of them."""
    lists, value = (left, right) if left.kind == "list" else (right, left)
    if sign not in ("=", "==", "!=", "<>") or value.kind not in ("text", "any"):
        raise InvalidCondition(SEVERAL)
    a, b = lists.values(), value.values()
    equal = Node("truth", lambda c, p: arrays.contains(a(c, p), b(c, p)))
    return equal if sign in ("=", "==") else negated(equal)


def null_test(node: Node, inverted: bool) -> Node:
    """IS NULL, or IS NOT NULL."""
    values = node.values()
    return Node("truth", lambda c, p: arrays.missing(values(c, p), inverted))


def strings(left: Node) -> Values:
    """What LIKE may be asked of."""
    if left.kind == "number":
        raise InvalidCondition("LIKE is for strings")
    return left.values()


def like(values: Values, pattern: Node) -> Node:
    """LIKE."""
    if pattern.text is None:
        raise InvalidCondition("LIKE expects a string in quotes")
    matches = arrays.like_matcher(pattern.text)

    def evaluate(c: ColumnReader, p: Parameters) -> Truth:
        texts = values(c, p)
        if isinstance(texts, Lists):
            return arrays.look_up(texts, lambda cell: any(map(matches, cell)))
        return arrays.look_up(texts, matches) if isinstance(texts, Texts) else arrays.unknown(len(texts))

    return Node("truth", evaluate)


# --- values ---


def constant(value: Parameter) -> Node:
    """A value that is written in the condition."""
    kind = "any" if value is None else "text" if isinstance(value, str) else "number"
    return Node(kind, lambda c, p: arrays.spread(value, len(c)), value if isinstance(value, str) else None)


def parameter(name: str) -> Node:
    """``:name``."""
    return Node("any", lambda c, p: arrays.spread(p.get(name), len(c)))


def calculation(apply: Calculation, left: Node, right: Node) -> Node:
    """A sum, a difference, a product or a quotient; missing where it is not finite."""
    a, b = left.numbers(), right.numbers()
    return Node("number", lambda c, p: arrays.calculated(apply, a(c, p), b(c, p)))


def minus(node: Node) -> Node:
    """A number with the other sign."""
    numbers = node.numbers()
    return Node("number", lambda c, p: array("d", map(operator.neg, numbers(c, p))))


# --- functions ---


def call(name: str, arguments: Sequence[Node]) -> Node:
    """A function of the language."""
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise InvalidCondition(f"no function {name}; these may be used: {' '.join(FUNCTIONS)}")
    return function(arguments)


def _of_string(kind: str, apply: Callable[[Texts], Value]) -> Callable[[Sequence[Node]], Node]:
    """A function of one string, missing where the string is."""

    def node(arguments: Sequence[Node]) -> Node:
        values = _one_string(arguments)

        def evaluate(c: ColumnReader, p: Parameters) -> Value:
            strings = values(c, p)
            return apply(strings) if isinstance(strings, Texts) else array("d", (nan,)) * arrays.size(strings)

        return Node(kind, evaluate)

    return node


def _translated(table: Mapping[int, int]) -> Callable[[Texts], Value]:
    return lambda strings: Texts([text.translate(table) for text in strings.values], strings.codes)


def _abs(arguments: Sequence[Node]) -> Node:
    if len(arguments) != 1:
        raise InvalidCondition("abs takes one number")
    numbers = arguments[0].numbers()
    return Node("number", lambda c, p: array("d", map(abs, numbers(c, p))))


def _coalesce(arguments: Sequence[Node]) -> Node:
    kinds = {a.kind for a in arguments} - {"any"}
    if len(arguments) != 2 or len(kinds) != 1 or kinds & {"truth", "list"}:
        raise InvalidCondition("coalesce takes two numbers or two strings")
    first, second = (a.values() for a in arguments)
    return Node(kinds.pop(), lambda c, p: arrays.first_known(first(c, p), second(c, p)))


def _one_string(arguments: Sequence[Node]) -> Values:
    if len(arguments) != 1 or arguments[0].kind not in ("text", "any"):
        raise InvalidCondition("this function takes one string")
    return arguments[0].values()


_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[Node]], Node]]] = {
    "abs": _abs,
    "coalesce": _coalesce,
    "length": _of_string("number", arrays.lengths),
    "lower": _of_string("text", _translated(arrays.LOWER)),
    "upper": _of_string("text", _translated(arrays.UPPER)),
}
FUNCTIONS: Final = tuple(sorted(_FUNCTIONS))
"""What a condition may call."""
