"""A table row for a cold-start item from its text and attributes: hashed words, no language model.

Training and device use the same encoder. Its table of hashed tokens is INT8, small enough for the bundle.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Float, Int

BUCKETS = 2048
"""Rows of the table; tokens are hashed into them."""
GRAM = 3
"""Letters in each piece of a word."""
Attribute: TypeAlias = "str | Sequence[str] | None"
"""One value, several, or none."""
_WORD = re.compile(r"\w+")


def tokens(text: str | None, attributes: Mapping[str, Attribute]) -> Iterator[str]:
    """The words of a text, the pieces of each word, and ``name=value`` for each attribute and each of its values.

    >>> list(tokens("Red mug", {"shop": "a", "size": None, "for": ["tea", "milk"]}))
    ['red', '<re', 'red', 'ed>', 'mug', '<mu', 'mug', 'ug>', 'shop=a', 'for=tea', 'for=milk']
    """
    for word in _WORD.findall((text or "").lower()):
        yield word
        marked = f"<{word}>"
        yield from (marked[i : i + GRAM] for i in range(len(marked) - GRAM + 1))
    for name, given in attributes.items():
        yield from (f"{name}={value}" for value in ([given] if isinstance(given, str) else given or ()))


def buckets(text: str | None, attributes: Mapping[str, Attribute]) -> Int:
    """The rows of the table that an item's tokens are hashed into, without repeats, ascending."""
    return np.unique([zlib.crc32(token.encode()) % BUCKETS for token in tokens(text, attributes)]).astype(np.int64)


@dataclass(frozen=True)
class ColdStartTable:
    """Gives cold-start items a row.

    Attributes:
        codes: int8 (BUCKETS, W), W = dim of the item table + priors. scales: float32 (W,), one for each column.
        numbers: float32 (M, W), weights of an item's standardised numbers. start: float32 (W,), the row of an item
            without tokens and numbers.
        names: of the M numbers. mean, std: float64 (M,), which standardise them.
        dim: width of the item table.
    """

    codes: npt.NDArray[np.int8]
    scales: Float
    numbers: Float
    start: Float
    names: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    dim: int

    def rows(
        self,
        texts: Sequence[str | None],
        attributes: Sequence[Mapping[str, Attribute]],
        numbers: Sequence[Mapping[str, float | None]],
    ) -> tuple[Float, Float]:
        """Vectors (n, dim) and priors (n, tasks + 1) of n items; an unknown value is None or left out."""
        rows = np.tile(self.start, (len(texts), 1))
        for row, text, named in zip(rows, texts, attributes, strict=True):
            at = buckets(text, named)
            if len(at):
                row += self.codes[at].astype(np.float32).sum(axis=0) * self.scales / np.float32(np.sqrt(len(at)))
        rows += self.standardized(numbers) @ self.numbers
        return rows[:, : self.dim], rows[:, self.dim :]

    def standardized(self, numbers: Sequence[Mapping[str, float | None]]) -> Float:
        """Standardised numbers (n, M); 0 where a number is unknown."""
        standard = np.zeros((len(numbers), len(self.names)), np.float32)
        for row, given in zip(standard, numbers, strict=True):
            for m, name in enumerate(self.names):
                value = given.get(name)
                if value is not None and np.isfinite(value):
                    row[m] = np.clip((value - self.mean[m]) / self.std[m], -5, 5)
        return standard

    def to_bytes(self) -> bytes:
        """The content of newcomers.npz: plain arrays; equal tables give equal bytes."""
        stream = io.BytesIO()
        arrays = {name: getattr(self, name) for name in ("codes", "scales", "numbers", "start", "mean", "std")}
        names = np.frombuffer("\n".join(self.names).encode(), np.uint8)
        np.savez(stream, **arrays, names=names, dim=np.array(self.dim))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ColdStartTable:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: the content is not such a table.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            names = bytes(arrays.pop("names")).decode()
            return cls(**arrays | {"names": tuple(names.split("\n")) if names else (), "dim": int(arrays["dim"])})
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"not a table for cold-start items: {error}") from error
