"""A small, total language for conditions over the catalogue, such as ``price < :most AND colour IN ('red', 'blue')``.

It reads like SQL and is ours, so that every runtime gives the same answer: no database evaluates it, values of
parameters never become part of the text, and evaluating it cannot fail, loop or take more than a pass over its columns.

    condition   a OR b   a AND b   NOT a   (a)
    comparison  = == != <> < <= > >=   [NOT] IN (a, b)   [NOT] BETWEEN a AND b   [NOT] LIKE 'a%_'   IS [NOT] NULL
    value       12.5  'text'  :parameter  column  "column"  TRUE  FALSE  NULL  + - * /  abs length lower upper coalesce

Values are 64-bit numbers and texts; TRUE is 1. What is missing makes a comparison unknown, as in SQL: AND, OR and NOT
go on with it, and a condition that is unknown in the end is not met. A number against a text is refused where both are
known when it is read, else unknown; so is a division by zero. Texts are ordered by code point; LIKE, `lower` and
`upper` know case in ASCII only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.bundle.columns import Numbers, Parameter, Texts, Value
from edgerec.errors import ConfigError

MAX_LENGTH: Final = 4096
"""Characters of a condition."""
MAX_DEPTH: Final = 40
"""Parentheses and signs inside each other."""

Truth: TypeAlias = npt.NDArray[np.int8]
"""0 false, 1 unknown, 2 true: AND is the least, OR the largest, NOT ``2 - x``."""


class Columns(Protocol):
    """What a condition reads: columns of equal length N."""

    def kind_of(self, name: str) -> str | None:
        """ "number", "text", or None if there is no such column."""

    def names(self) -> Sequence[str]:
        """Of all columns."""

    def column(self, name: str) -> Value:
        """The values of a column."""

    def __len__(self) -> int: ...


class _Unmet(Exception):
    """A part of a condition is not what the language allows."""


# --- the tree: each node evaluates to values or to a truth ---

_Values: TypeAlias = "Callable[[Columns, Mapping[str, Parameter]], Value]"
_Truths: TypeAlias = "Callable[[Columns, Mapping[str, Parameter]], Truth]"


@dataclass(frozen=True)
class _Node:
    """`kind` is "number", "text", "any" (NULL or a parameter, known when asked) or "truth"."""

    kind: str
    of: Callable[[Columns, Mapping[str, Parameter]], Any]
    text: str | None = None


@dataclass(frozen=True)
class Condition:
    """A condition that was read and checked against a catalogue's columns.

    Attributes:
        text: as it was written. parameters: names of what ``:name`` stands for.
    """

    text: str
    parameters: tuple[str, ...]
    _met: _Truths

    @classmethod
    def parse(cls, text: str, columns: Columns) -> Condition:
        """Read a condition.

        Raises:
            ConfigError: it is none; one line that says where.
        """
        try:
            reader = _Reader(text, columns)
            met = reader.whole()
            return cls(text, tuple(sorted(reader.parameters)), met)
        except _Unmet as error:
            raise ConfigError(f"condition {text[:80]!r}: {error}") from None

    def met(self, columns: Columns, parameters: Mapping[str, Parameter]) -> npt.NDArray[np.bool_]:
        """For each of the N items whether the condition is true; a parameter that is not given is NULL."""
        met: npt.NDArray[np.bool_] = self._met(columns, parameters) == 2
        return met


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<parameter>:[A-Za-z_]\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|==|[=<>(),+\-*/])""",
    re.VERBOSE,
)
_WORDS = frozenset(("and", "between", "false", "in", "is", "like", "not", "null", "or", "true"))
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class _Reader:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str, columns: Columns) -> None:
        if not isinstance(text, str):
            raise ConfigError(f"condition: expected text, got {text!r}")
        if len(text) > MAX_LENGTH:
            raise _Unmet(f"is longer than {MAX_LENGTH} characters")
        self.columns = columns
        self.tokens = list(_tokens(text))
        self.at = 0
        self.depth = 0
        self.parameters: set[str] = set()

    def whole(self) -> _Truths:
        found = self.truth(self.any_of())
        if self.at < len(self.tokens):
            raise _Unmet(f"did not expect {self.tokens[self.at][1]!r}")
        return found

    # --- truths ---

    def any_of(self) -> _Node:
        return self._joined("or", self.all_of, np.maximum)

    def all_of(self) -> _Node:
        return self._joined("and", self.negated, np.minimum)

    def _joined(self, word: str, part: Callable[[], _Node], join: Any) -> _Node:
        first = part()
        if not self.took(word):
            return first
        parts = [self.truth(first), self.truth(part())]
        while self.took(word):
            parts.append(self.truth(part()))
        return _Node("truth", lambda c, p: join.reduce([each(c, p) for each in parts]))

    def negated(self) -> _Node:
        if not self.took("not"):
            return self.comparison()
        with_in = self.deeper(self.negated)
        inner = self.truth(with_in)
        return _Node("truth", lambda c, p: (2 - inner(c, p)).astype(np.int8))

    def comparison(self) -> _Node:
        left = self.sum()
        token = self.peek()
        if token is not None and token in _COMPARE:
            self.at += 1
            return self._compared(token, left, self.sum())
        if self.took("is"):
            turned = self.took("not")
            self.want("null")
            value = self.value(left)
            return _Node("truth", lambda c, p: np.where(_missing(value(c, p)) != turned, 2, 0).astype(np.int8))
        turned = self.peek() == "not" and self.peek(1) in ("in", "between", "like")
        self.at += turned
        if self.took("in"):
            found = self._among(left)
        elif self.took("between"):
            low = self.sum()
            self.want("and")
            least, most = self._compared(">=", left, low).of, self._compared("<=", left, self.sum()).of
            found = _Node("truth", lambda c, p: np.minimum(least(c, p), most(c, p)))
        elif self.took("like"):
            found = self._like(left)
        else:
            return left
        return _Node("truth", lambda c, p: (2 - found.of(c, p)).astype(np.int8)) if turned else found

    def _compared(self, sign: str, left: _Node, right: _Node) -> _Node:
        if {left.kind, right.kind} == {"number", "text"}:
            raise _Unmet(f"{sign} compares a number with a text")
        a, b, compare = self.value(left), self.value(right), _COMPARE[sign]
        return _Node("truth", lambda c, p: _compare(compare, a(c, p), b(c, p)))

    def _among(self, left: _Node) -> _Node:
        self.want("(")
        parts = [self._compared("=", left, self.sum()).of]
        while self.took(","):
            parts.append(self._compared("=", left, self.sum()).of)
        self.want(")")
        return _Node("truth", lambda c, p: np.maximum.reduce([part(c, p) for part in parts]))

    def _like(self, left: _Node) -> _Node:
        if left.kind == "number":
            raise _Unmet("LIKE is for texts")
        value, pattern = self.value(left), self.sum()
        if pattern.text is None:
            raise _Unmet("LIKE wants a text in quotes")
        matches = _pattern(pattern.text)

        def like(c: Columns, p: Mapping[str, Parameter]) -> Truth:
            texts = value(c, p)
            return _looked_up(texts, [2 if matches(t) else 0 for t in texts.values], 1, np.int8) if isinstance(
                texts, Texts
            ) else np.ones(len(texts), np.int8)  # fmt: skip

        return _Node("truth", like)

    # --- values ---

    def sum(self) -> _Node:
        return self._calculated(self.product, {"+": np.add, "-": np.subtract})

    def product(self) -> _Node:
        return self._calculated(self.signed, {"*": np.multiply, "/": np.divide})

    def _calculated(self, part: Callable[[], _Node], signs: Mapping[str, Any]) -> _Node:
        found = part()
        while (sign := self.peek()) in signs:
            self.at += 1
            found = self._calculation(signs[str(sign)], found, part())
        return found

    def _calculation(self, apply: Any, left: _Node, right: _Node) -> _Node:
        a, b = self.number(left), self.number(right)

        def calculate(c: Columns, p: Mapping[str, Parameter]) -> Numbers:
            with np.errstate(all="ignore"):
                found = apply(a(c, p), b(c, p))
            return np.where(np.isfinite(found), found, np.nan)

        return _Node("number", calculate)

    def signed(self) -> _Node:
        if self.took("-"):
            inner = self.number(self.deeper(self.signed))
            return _Node("number", lambda c, p: -inner(c, p))
        return self.atom()

    def atom(self) -> _Node:
        if self.at >= len(self.tokens):
            raise _Unmet("ends too early")
        kind, token = self.tokens[self.at]
        self.at += 1
        if token == "(" and kind == "sign":
            found = self.deeper(self.any_of)
            self.want(")")
            return found
        if kind == "number":
            return _constant(float(token))
        if kind == "text":
            return _constant(token[1:-1].replace("''", "'"))
        if kind == "parameter":
            name = token[1:]
            self.parameters.add(name)
            return _Node("any", lambda c, p: _spread(p.get(name), len(c)))
        if kind == "quoted":
            return self.column(token[1:-1].replace('""', '"'))
        if kind == "word" and token.lower() in ("true", "false", "null"):
            return {"true": _constant(1.0), "false": _constant(0.0), "null": _constant(None)}[token.lower()]
        if kind == "word" and token.lower() not in _WORDS:
            return self.call(token) if self.peek() == "(" else self.column(token)
        raise _Unmet(f"did not expect {token!r}")

    def column(self, name: str) -> _Node:
        names = self.columns.names()
        found = name if name in names else next((n for n in names if n.lower() == name.lower()), None)
        kind = None if found is None else self.columns.kind_of(found)
        if found is None or kind is None:
            near = difflib.get_close_matches(name, names, 1)
            guess = f", did you mean {near[0]!r}?" if near else ""
            raise _Unmet(f"no such column: {name}{guess} (the catalogue has {', '.join(names)})")
        return _Node(kind, lambda c, p: c.column(found))

    def call(self, name: str) -> _Node:
        self.want("(")
        arguments = [self.deeper(self.sum)]
        while self.took(","):
            arguments.append(self.deeper(self.sum))
        self.want(")")
        function = _FUNCTIONS.get(name.lower())
        if function is None:
            raise _Unmet(f"no function {name}; these may be used: {' '.join(sorted(_FUNCTIONS))}")
        return function(self, arguments)

    # --- what a node must be ---

    def truth(self, node: _Node) -> _Truths:
        """A number is true where it is not 0."""
        if node.kind == "truth":
            return node.of
        if node.kind == "text":
            raise _Unmet("a text is neither true nor false; compare it")
        return lambda c, p: _true(node.of(c, p))

    def value(self, node: _Node) -> _Values:
        if node.kind == "truth":
            raise _Unmet("a comparison is no value; join comparisons with AND or OR")
        return node.of

    def number(self, node: _Node) -> Callable[[Columns, Mapping[str, Parameter]], Numbers]:
        if node.kind == "text":
            raise _Unmet("cannot calculate with a text")
        value = self.value(node)
        return lambda c, p: _as_number(value(c, p))

    # --- tokens ---

    def peek(self, ahead: int = 0) -> str | None:
        """A sign, or a word of the language in lower case."""
        if self.at + ahead >= len(self.tokens):
            return None
        kind, token = self.tokens[self.at + ahead]
        if kind == "sign":
            return token
        return token.lower() if kind == "word" and token.lower() in _WORDS else None

    def took(self, token: str) -> bool:
        found = self.peek() == token
        self.at += found
        return found

    def want(self, token: str) -> None:
        if not self.took(token):
            got = repr(self.tokens[self.at][1]) if self.at < len(self.tokens) else "the end"
            raise _Unmet(f"expected {token.upper()!r}, got {got}")

    def deeper(self, part: Callable[[], _Node]) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Unmet(f"is nested deeper than {MAX_DEPTH}")
        found = part()
        self.depth -= 1
        return found


def _tokens(text: str) -> Sequence[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Unmet(f"did not expect {text[at]!r}")
        at = match.end()
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match.group()))
    return found


# --- functions ---


def _on_texts(apply: Callable[[str], str]) -> Callable[[_Reader, list[_Node]], _Node]:
    def node(reader: _Reader, arguments: list[_Node]) -> _Node:
        value = _only(reader, arguments, "text")

        def of(c: Columns, p: Mapping[str, Parameter]) -> Value:
            texts = value(c, p)
            if not isinstance(texts, Texts):
                return np.full(len(texts), np.nan)
            return Texts([apply(t) for t in texts.values], texts.codes)

        return _Node("text", of)

    return node


def _length(reader: _Reader, arguments: list[_Node]) -> _Node:
    value = _only(reader, arguments, "text")

    def of(c: Columns, p: Mapping[str, Parameter]) -> Numbers:
        texts = value(c, p)
        if not isinstance(texts, Texts):
            return np.full(len(texts), np.nan)
        lengths: Numbers = _looked_up(texts, list(map(len, texts.values)), np.nan, np.float64)
        return lengths

    return _Node("number", of)


def _abs(reader: _Reader, arguments: list[_Node]) -> _Node:
    if len(arguments) != 1:
        raise _Unmet("abs wants one number")
    value = reader.number(arguments[0])
    return _Node("number", lambda c, p: np.abs(value(c, p)))


def _coalesce(reader: _Reader, arguments: list[_Node]) -> _Node:
    kinds = {a.kind for a in arguments} - {"any"}
    if len(arguments) != 2 or len(kinds) != 1 or kinds & {"truth"}:
        raise _Unmet("coalesce wants two numbers or two texts")
    first, second = (reader.value(a) for a in arguments)
    return _Node(kinds.pop(), lambda c, p: _first_known(first(c, p), second(c, p)))


def _only(reader: _Reader, arguments: list[_Node], kind: str) -> _Values:
    if len(arguments) != 1 or arguments[0].kind not in (kind, "any"):
        raise _Unmet(f"this function wants one {kind}")
    return reader.value(arguments[0])


_FUNCTIONS: Final[Mapping[str, Callable[[_Reader, list[_Node]], _Node]]] = {
    "abs": _abs,
    "coalesce": _coalesce,
    "length": _length,
    "lower": _on_texts(lambda t: t.translate(_LOWER)),
    "upper": _on_texts(lambda t: t.translate(_UPPER)),
}
FUNCTIONS: Final = tuple(sorted(_FUNCTIONS))
"""What a condition may call."""


# --- values and truths as arrays ---


def _constant(value: Parameter) -> _Node:
    kind = "any" if value is None else "text" if isinstance(value, str) else "number"
    return _Node(kind, lambda c, p: _spread(value, len(c)), value if isinstance(value, str) else None)


def _spread(value: Parameter, n: int) -> Value:
    if isinstance(value, str):
        return Texts([value], np.zeros(n, np.int32))
    number = float(value) if isinstance(value, bool | int | float | np.number) else np.nan
    return np.broadcast_to(np.float64(number if np.isfinite(number) else np.nan), (n,))


def _as_number(value: Value) -> Numbers:
    return np.full(len(value.codes), np.nan) if isinstance(value, Texts) else value


def _missing(value: Value) -> npt.NDArray[np.bool_]:
    return value.codes < 0 if isinstance(value, Texts) else np.isnan(value)


def _true(value: Value) -> Truth:
    number = _as_number(value)
    return np.where(np.isnan(number), 1, np.where(number != 0, 2, 0)).astype(np.int8)


def _looked_up(texts: Texts, values: list[Any], missing: Any, kind: Any) -> Any:
    """`values` of the distinct texts, for each item."""
    return np.array([*values, missing], kind)[texts.codes]  # -1 is the last: missing


def _compare(compare: Callable[[Any, Any], Any], left: Value, right: Value) -> Truth:
    if isinstance(left, Texts) and isinstance(right, Texts):
        if len(right.values) == 1:
            known = [2 if compare(t, right.values[0]) else 0 for t in left.values]
            found = _looked_up(left, known, 1, np.int8)
        elif len(left.values) == 1:
            known = [2 if compare(left.values[0], t) else 0 for t in right.values]
            found = _looked_up(right, known, 1, np.int8)
        else:
            a, b = (np.array([*t.values, ""], object)[t.codes] for t in (left, right))
            found = np.where(compare(a, b), 2, 0)
    elif isinstance(left, Texts) or isinstance(right, Texts):
        return np.ones(len(left.codes if isinstance(left, Texts) else left), np.int8)
    else:
        found = np.where(compare(left, right), 2, 0)
    return np.where(_missing(left) | _missing(right), 1, found).astype(np.int8)


def _first_known(first: Value, second: Value) -> Value:
    if isinstance(first, Texts) and isinstance(second, Texts):
        shifted = np.where(second.codes < 0, -1, second.codes + len(first.values)).astype(np.int32)
        return Texts([*first.values, *second.values], np.where(first.codes < 0, shifted, first.codes))
    if isinstance(first, Texts) or isinstance(second, Texts):
        # One is a parameter of the other kind, which counts as missing.
        return first if isinstance(first, Texts) else second
    return np.where(np.isnan(first), second, first)


def _pattern(like: str) -> Callable[[str], bool]:
    """LIKE: % any texts, _ any character. One pass: each part between % is found as early as possible."""
    parts = [
        re.compile("".join("." if c == "_" else re.escape(c) for c in part), re.DOTALL)
        for part in like.translate(_LOWER).split("%")
    ]
    lengths = [len(part) for part in like.split("%")]

    def matches(text: str) -> bool:
        text = text.translate(_LOWER)
        if len(parts) == 1:
            return parts[0].fullmatch(text) is not None
        if parts[0].match(text) is None:
            return False
        at = lengths[0]
        for part in parts[1:-1]:
            found = part.search(text, at)
            if found is None:
                return False
            at = found.end()
        end = len(text) - lengths[-1]
        return end >= at and parts[-1].match(text, end) is not None

    return matches
