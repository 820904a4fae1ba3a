"""The words, signs and values that a condition is written with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_LENGTH: Final = 4096
"""Characters of a condition."""
KEYWORDS: Final = frozenset(("and", "between", "false", "in", "is", "like", "not", "null", "or", "true"))
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


class InvalidCondition(Exception):
    """A part of a condition is not what the language allows."""


class Token(NamedTuple):
    """A piece of a condition; `kind` is the name of a group of the pattern above."""

    kind: str
    text: str

    @property
    def keyword(self) -> str | None:
        """A sign, or a word of the language in lower case; None for everything else."""
        if self.kind == "sign":
            return self.text
        lower = self.text.lower()
        return lower if self.kind == "word" and lower in KEYWORDS else None


class TokenStream:
    """The tokens of one condition, read from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokenize(text))
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether all tokens were read."""
        return self._at >= len(self._tokens)

    def next(self) -> Token:
        """Read one token."""
        if self.ended:
            raise InvalidCondition("ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def peek(self, ahead: int = 0) -> str | None:
        """The keyword of a token that is not read yet."""
        at = self._at + ahead
        return self._tokens[at].keyword if at < len(self._tokens) else None

    def accept(self, keyword: str) -> bool:
        """Read the next token if it is this sign or word; says whether it was."""
        accepted = self.peek() == keyword
        self._at += accepted
        return accepted

    def expect(self, keyword: str) -> None:
        """Read this sign or word, which must come next."""
        if not self.accept(keyword):
            got = "the end" if self.ended else repr(self._tokens[self._at].text)
            raise InvalidCondition(f"expected {keyword.upper()!r}, got {got}")

    def expect_end(self) -> None:
        """Refuse what is left."""
        if not self.ended:
            raise InvalidCondition(f"did not expect {self.next().text!r}")


def _tokenize(text: str) -> Iterator[Token]:
    if len(text) > MAX_LENGTH:
        raise InvalidCondition(f"is longer than {MAX_LENGTH} characters")
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidCondition(f"did not expect {text[at]!r}")
        at = match.end()
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match.group())
