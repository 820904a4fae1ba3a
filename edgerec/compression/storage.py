"""How the codes of an item table are stored in weights.bin: one in a byte, two in a byte, or as indices of a codebook.

The graph unpacks a short storage when a session is opened, with operators that every runtime has, and then multiplies
INT8: it saves bytes, not time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgerec.compression.graph import GraphBuilder
from edgerec.compression.rows import LEVELS, quantize_rows

Float = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Byte = npt.NDArray[np.uint8]

LEVELS_OF_4 = 7
"""The largest code of 4 bits: codes lie between -7 and 7."""
OFFSET_OF_4 = 8
"""A stored nibble is its code plus this."""
CENTROIDS = 256
"""Entries of a codebook: as many as a byte can index."""
TOGETHER = 2
"""Neighbouring dimensions of a row that share a byte."""
KMEANS_ROWS = 20_000
"""Most rows from which a codebook is learned."""


class TableStorage(Protocol):
    """The codes of a table on disk.

    Attributes:
        scales: float32, of each row (N,), or one of all rows (1,).
        zero: zero point, which is subtracted from each code.
    """

    @property
    def scales(self) -> Float: ...
    @property
    def zero(self) -> int: ...
    def codes(self, g: GraphBuilder) -> str:
        """The name of the codes in a graph, int8 (dim, N)."""


@dataclass(frozen=True)
class Int8Storage:
    """A byte for each dimension: `values` int8 (dim, N), with a scale for each row."""

    values: Int8
    scales: Float
    zero: int = 0

    @classmethod
    def of(cls, table: Float, scales: Float) -> Int8Storage:
        """Quantize a table (N, dim)."""
        codes, scales = quantize_rows(table, scales)
        return cls(np.ascontiguousarray(codes.T), scales)

    def codes(self, g: GraphBuilder) -> str:
        """See `TableStorage`."""
        return g.constant("item_table", self.values)


@dataclass(frozen=True)
class Int4Storage:
    """Four bits for each dimension, with a scale for each row.

    Attributes:
        packed: uint8 (ceil(dim / 2), N): the first half of a row in the low bits, the second in the high bits.
        dim: dimensions of a row.
    """

    packed: Byte
    scales: Float
    dim: int
    zero: int = OFFSET_OF_4

    @classmethod
    def of(cls, table: Float, scales: Float) -> Int4Storage:
        """Quantize a table (N, dim)."""
        codes, scales = quantize_rows(table, scales, LEVELS_OF_4)
        n, dim = codes.shape
        half = -(-dim // 2)
        wide = np.full((2 * half, n), OFFSET_OF_4, np.uint8)
        wide[:dim] = codes.T + OFFSET_OF_4
        return cls(wide[:half] | (wide[half:] << 4), scales, dim)

    def codes(self, g: GraphBuilder) -> str:
        """See `TableStorage`."""
        packed = g.constant("item_table", self.packed)
        four = g.constant("four", np.array(4, np.uint8))
        low = g.add("BitwiseAnd", packed, g.constant("low_bits", np.array(15, np.uint8)))
        both = g.add("Concat", low, g.add("BitShift", packed, four, direction="RIGHT"), axis=0)
        codes = g.add("Cast", both, to=TensorProto.INT8)
        return codes if self.dim % 2 == 0 else g.add("Slice", codes, g.ints(0), g.ints(self.dim), g.ints(0))


@dataclass(frozen=True)
class ProductStorage:
    """Product quantization: a byte for every `TOGETHER` dimensions, the index of one of 256 pairs.

    All rows have one scale.
    Attributes:
        index: uint8 (P, N). books: int8 (P, TOGETHER, CENTROIDS). dim: dimensions of a row.
    Source: Jégou et al., TPAMI 2011.
    """

    index: Byte
    books: Int8
    scales: Float
    dim: int
    zero: int = 0

    @classmethod
    def of(cls, table: Float, scales: Float) -> ProductStorage:
        """Quantize a table (N, dim); the `scales` of INT8 rows are not used."""
        from sklearn.cluster import KMeans

        n, dim = table.shape
        parts = -(-dim // TOGETHER)
        wide = np.zeros((n, parts * TOGETHER), np.float32)
        wide[:, :dim] = table
        scale = np.float32(max(float(np.abs(table).max()), 1e-30) / LEVELS)
        some = np.linspace(0, n - 1, min(n, KMEANS_ROWS)).astype(np.int64)
        index, books = np.empty((parts, n), np.uint8), np.zeros((parts, TOGETHER, CENTROIDS), np.int8)
        for p in range(parts):
            pairs = wide[:, p * TOGETHER : (p + 1) * TOGETHER]
            distinct = len(np.unique(pairs[some], axis=0))
            means = KMeans(min(CENTROIDS, distinct), n_init=1, max_iter=50, random_state=0).fit(pairs[some])
            codes = np.rint(means.cluster_centers_ / scale).clip(-LEVELS, LEVELS).astype(np.int8)
            books[p, :, : len(codes)] = codes.T
            index[p] = means.predict(np.ascontiguousarray(pairs)).astype(np.uint8)
        return cls(index, books, np.array([scale]), dim)

    def codes(self, g: GraphBuilder) -> str:
        """See `TableStorage`."""
        index = g.add("Cast", g.constant("item_table", self.index), to=TensorProto.INT32)
        books = g.constant("item_books", self.books)
        parts = [g.add("Gather", self._of(g, books, p), self._of(g, index, p), axis=1) for p in range(len(self.index))]
        codes = g.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        whole = self.dim == TOGETHER * len(parts)
        return codes if whole else g.add("Slice", codes, g.ints(0), g.ints(self.dim), g.ints(0))

    @staticmethod
    def _of(g: GraphBuilder, values: str, part: int) -> str:
        return g.add("Gather", values, g.constant(f"index_{part}", np.array(part, np.int64)), axis=0)


STORAGES: dict[str, Callable[[Float, Float], TableStorage]] = {
    "int8": Int8Storage.of,
    "int4": Int4Storage.of,
    "pq": ProductStorage.of,
}
"""By name in ``[quantization]``: makes a storage of a table (N, dim) and the scales (N,) of its rows."""
