"""A small, total language for conditions over the catalogue, such as ``price < :most AND colour IN ('red', 'blue')``.

It reads like SQL, but no database evaluates it, so that every runtime gives the same answer. Values of parameters never
become part of the text. Evaluating a condition cannot fail or loop, and passes over its columns once.

`tokens` splits the text, `parser` reads the grammar, `nodes` checks each part and `arrays` evaluates it.

    condition   a OR b   a AND b   NOT a   (a)
    comparison  = == != <> < <= > >=   [NOT] IN (a, b)   [NOT] BETWEEN a AND b   [NOT] LIKE 'a%_'   IS [NOT] NULL
    value       12.5  'text'  :parameter  column  "column"  TRUE  FALSE  NULL  + - * /  abs length lower upper coalesce

Values are float64 numbers and strings; TRUE is 1. As in SQL, a missing value makes a comparison unknown, AND, OR and
NOT pass this on, and a condition that is unknown in the end is not met. Comparing a number with a string is refused
where both kinds are known when the condition is read, and unknown otherwise. A division by zero is missing. Strings
are ordered by code point. LIKE ignores case, and `lower` and `upper` change it, in ASCII only.

A column with several values in a cell, such as genres, equals each of them: ``genres = 'Drama'`` holds where one is,
``!=`` and NOT IN where none is, LIKE where one is like it; only IS NULL may be asked beside these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Final

from edgerec.bundle.columns import Parameter
from edgerec.bundle.conditions.arrays import TRUE
from edgerec.bundle.conditions.nodes import FUNCTIONS, ColumnReader, Truths
from edgerec.bundle.conditions.parser import Parser
from edgerec.bundle.conditions.tokens import InvalidCondition
from edgerec.errors import ConfigError
from edgerec.tasks.buffers import Ints, ints

__all__ = ["FUNCTIONS", "ColumnReader", "Condition"]

_NOT_MET: Final = bytes(truth != TRUE for truth in range(256))


@dataclass(frozen=True)
class Condition:
    """A condition that was read and checked against a catalogue's columns.

    Attributes:
        text: as it was written. parameters: names of what ``:name`` stands for.
    """

    text: str
    parameters: tuple[str, ...]
    _truths: Truths

    @classmethod
    def parse(cls, text: str, columns: ColumnReader) -> Condition:
        """Read a condition.

        Raises:
            ConfigError: it is not a valid condition; one line says where.
        """
        if not isinstance(text, str):
            raise ConfigError(f"condition: expected a string, got {text!r}")
        try:
            parser = Parser(text, columns)
            truths = parser.parse()
        except InvalidCondition as error:
            raise ConfigError(f"condition {text[:80]!r}: {error}") from None
        return cls(text, tuple(sorted(parser.parameters)), truths)

    def failing(self, columns: ColumnReader, parameters: Mapping[str, Parameter]) -> Ints:
        """Indices of the items for which the condition is not true; a parameter that is not given is NULL."""
        truths = self._truths(columns, parameters)
        return ints(compress(range(len(truths)), truths.translate(_NOT_MET)))
