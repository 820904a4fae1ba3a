"""The grammar of conditions: recursive descent over the tokens of one condition."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from edgerec.bundle.conditions import arrays, nodes
from edgerec.bundle.conditions.arrays import Truth
from edgerec.bundle.conditions.nodes import Calculation, ColumnReader, Node, Truths
from edgerec.bundle.conditions.tokens import InvalidCondition, TokenStream

MAX_DEPTH: Final = 40
"""Parentheses and signs inside each other."""


class Parser:
    """Reads one condition; a method for each rule of the grammar, from what binds least to what binds most.

    Attributes:
        parameters: names of those that were read.
    """

    def __init__(self, text: str, columns: ColumnReader) -> None:
        self._columns = columns
        self._tokens = TokenStream(text)
        self._depth = 0
        self.parameters: set[str] = set()

    def parse(self) -> Truths:
        """The whole condition."""
        truths = self._any_of().truths()
        self._tokens.expect_end()
        return truths

    # --- truths ---

    def _any_of(self) -> Node:
        return self._joined("or", self._all_of, arrays.any_of)

    def _all_of(self) -> Node:
        return self._joined("and", self._negation, arrays.all_of)

    def _joined(self, word: str, part: Callable[[], Node], join: Callable[[Sequence[Truth]], Truth]) -> Node:
        first = part()
        if not self._tokens.accept(word):
            return first
        parts = [first.truths(), part().truths()]
        while self._tokens.accept(word):
            parts.append(part().truths())
        return nodes.joined(join, parts)

    def _negation(self) -> Node:
        if not self._tokens.accept("not"):
            return self._comparison()
        with self._deeper():
            return nodes.negated(self._negation())

    def _comparison(self) -> Node:
        left, tokens = self._sum(), self._tokens
        sign = tokens.peek()
        if sign is not None and sign in nodes.COMPARISONS:
            tokens.next()
            return nodes.comparison(sign, left, self._sum())
        if tokens.accept("is"):
            inverted = tokens.accept("not")
            tokens.expect("null")
            return nodes.null_test(left, inverted)
        inverted = tokens.peek() == "not" and tokens.peek(1) in ("in", "between", "like")
        if inverted:
            tokens.next()
        if tokens.accept("in"):
            node = self._in(left)
        elif tokens.accept("between"):
            node = self._between(left)
        elif tokens.accept("like"):
            node = nodes.like(nodes.strings(left), self._sum())
        else:
            return left
        return nodes.negated(node) if inverted else node

    def _in(self, left: Node) -> Node:
        self._tokens.expect("(")
        parts = [nodes.comparison("=", left, self._sum()).of]
        while self._tokens.accept(","):
            parts.append(nodes.comparison("=", left, self._sum()).of)
        self._tokens.expect(")")
        return nodes.joined(arrays.any_of, parts)

    def _between(self, left: Node) -> Node:
        low = self._sum()
        self._tokens.expect("and")
        bounds = [nodes.comparison(">=", left, low).of, nodes.comparison("<=", left, self._sum()).of]
        return nodes.joined(arrays.all_of, bounds)

    # --- values ---

    def _sum(self) -> Node:
        return self._calculated(self._product, nodes.SUMS)

    def _product(self) -> Node:
        return self._calculated(self._signed, nodes.PRODUCTS)

    def _calculated(self, part: Callable[[], Node], signs: Mapping[str, Calculation]) -> Node:
        node = part()
        while (sign := self._tokens.peek()) is not None and sign in signs:
            self._tokens.next()
            node = nodes.calculation(signs[sign], node, part())
        return node

    def _signed(self) -> Node:
        if not self._tokens.accept("-"):
            return self._atom()
        with self._deeper():
            return nodes.minus(self._signed())

    def _atom(self) -> Node:
        token = self._tokens.next()
        match token.kind, token.keyword:
            case "sign", "(":
                with self._deeper():
                    node = self._any_of()
                self._tokens.expect(")")
                return node
            case "number", _:
                return nodes.constant(float(token.text))
            case "text", _:
                return nodes.constant(token.text[1:-1].replace("''", "'"))
            case "parameter", _:
                self.parameters.add(token.text[1:])
                return nodes.parameter(token.text[1:])
            case "quoted", _:
                return self._column(token.text[1:-1].replace('""', '"'))
            case "word", ("true" | "false" | "null") as word:
                return nodes.constant({"true": 1.0, "false": 0.0, "null": None}[word])
            case "word", None:
                return self._call(token.text) if self._tokens.peek() == "(" else self._column(token.text)
        raise InvalidCondition(f"did not expect {token.text!r}")

    def _column(self, name: str) -> Node:
        names = self._columns.names()
        known = name if name in names else next((n for n in names if n.lower() == name.lower()), None)
        kind = None if known is None else self._columns.kind_of(known)
        if known is None or kind is None:
            near = difflib.get_close_matches(name, names, 1)
            guess = f", did you mean {near[0]!r}?" if near else ""
            said = name if name.isprintable() else repr(name)
            raise InvalidCondition(f"no such column: {said}{guess} (the catalogue has {', '.join(names)})")
        return Node(kind, lambda c, p: c.column(known))

    def _call(self, name: str) -> Node:
        arguments = []
        self._tokens.expect("(")
        while True:
            with self._deeper():
                arguments.append(self._sum())
            if not self._tokens.accept(","):
                break
        self._tokens.expect(")")
        return nodes.call(name, arguments)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidCondition(f"is nested deeper than {MAX_DEPTH}")
        yield
        self._depth -= 1
