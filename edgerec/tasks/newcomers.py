"""A table row for an item that training never saw, from its text and attributes: hashed words, no language model.

One encoder for training and device, like that of requests. It is a table of hashed tokens in INT8, small enough to
live in the bundle.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Float, Int

BUCKETS = 2048
"""Rows of the table that tokens are hashed into."""
GRAM = 3
"""Letters of a piece of a word."""
_WORD = re.compile(r"\w+")


def tokens(text: str | None, attributes: Mapping[str, str | None]) -> Iterator[str]:
    """Words of a text, pieces of each word, and an attribute's value under its name.

    >>> list(tokens("Red mug", {"shop": "a", "size": None}))
    ['red', '<re', 'red', 'ed>', 'mug', '<mu', 'mug', 'ug>', 'shop=a']
    """
    for word in _WORD.findall((text or "").lower()):
        yield word
        marked = f"<{word}>"
        yield from (marked[i : i + GRAM] for i in range(len(marked) - GRAM + 1))
    yield from (f"{name}={value}" for name, value in attributes.items() if value is not None)


def buckets(text: str | None, attributes: Mapping[str, str | None]) -> Int:
    """The rows of the table that an item's tokens fall into, each once, ascending."""
    return np.unique([zlib.crc32(token.encode()) % BUCKETS for token in tokens(text, attributes)]).astype(np.int64)


@dataclass(frozen=True)
class Newcomers:
    """What gives new items a row.

    Attributes:
        codes: int8 (BUCKETS, W), W = dim of the item table + priors. scales: float32 (W,), of its columns.
        numbers: float32 (M, W), of the standardised numbers of an item. start: float32 (W,), of an item without any
            token.
        names: of the M numbers. mean, std: float64 (M,), which standardise them.
        dim: of the item table.
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
        attributes: Sequence[Mapping[str, str | None]],
        numbers: Sequence[Mapping[str, float | None]],
    ) -> tuple[Float, Float]:
        """Vectors (n, dim) and priors (n, tasks + 1) of n items; what is unknown of an item is None or left out."""
        found = np.tile(self.start, (len(texts), 1))
        for row, text, named in zip(found, texts, attributes, strict=True):
            at = buckets(text, named)
            if len(at):
                row += self.codes[at].astype(np.float32).sum(axis=0) * self.scales / np.float32(np.sqrt(len(at)))
        found += self.standardized(numbers) @ self.numbers
        return found[:, : self.dim], found[:, self.dim :]

    def standardized(self, numbers: Sequence[Mapping[str, float | None]]) -> Float:
        """(n, M); 0 where a number is unknown."""
        found = np.zeros((len(numbers), len(self.names)), np.float32)
        for row, given in zip(found, numbers, strict=True):
            for m, name in enumerate(self.names):
                value = given.get(name)
                if value is not None and np.isfinite(value):
                    row[m] = np.clip((value - self.mean[m]) / self.std[m], -5, 5)
        return found

    def to_bytes(self) -> bytes:
        """The content of newcomers.npz: plain arrays, and equal ones give equal bytes."""
        stream = io.BytesIO()
        arrays = {name: getattr(self, name) for name in ("codes", "scales", "numbers", "start", "mean", "std")}
        names = np.frombuffer("\n".join(self.names).encode(), np.uint8)
        np.savez(stream, **arrays, names=names, dim=np.array(self.dim))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Newcomers:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            names = bytes(arrays.pop("names")).decode()
            return cls(**arrays | {"names": tuple(names.split("\n")) if names else (), "dim": int(arrays["dim"])})
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"no table of newcomers: {error}") from error
