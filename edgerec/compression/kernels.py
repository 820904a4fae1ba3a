"""How a graph holds the item table and multiplies it with the task vectors; a device's profile names one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgerec.compression.graph import GraphBuilder
from edgerec.compression.rows import LEVELS, quantize_rows
from edgerec.compression.stored import LEVELS_OF_4, STORED, Stored

Float = npt.NDArray[np.float32]

F32 = TensorProto.FLOAT
DIGIT = 128
"""Base of the two digits of a task vector."""
ZERO_POINT = 64
LARGEST = 63 * DIGIT + 63
"""Code of a task vector's largest entry: its digits are 63 and 63."""
SMALLEST_BLOCK = 16
"""Numbers that MatMulNBits has a scale for, at least; a power of two."""


class Body(Protocol):
    """An item table (N, dim) in a graph."""

    def rows(self, g: GraphBuilder, index: str) -> str:
        """Item vectors (n, dim) of `index` (n,), from the one table there is."""

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        """Dot products of task vectors (T, dim) with every item's, (T, N)."""


@dataclass(frozen=True)
class TwoDigits:
    """INT8, one `MatMulIntegerToFloat` of the s8 table with the task vectors, each split into two 7-bit digits.

    Two digits make the rounding of the task vectors vanish (14 bits), and since a digit never exceeds 128, a pair of
    products stays below 2 ** 15: processors without VNNI, whose u8 x s8 kernel saturates at 16 bits, compute the same
    as all others.

    Attributes:
        stored: the table's codes.
    """

    stored: Stored

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Cast", g.add("Gather", self._codes(g), index, axis=1), to=F32)
        if self.stored.zero:
            columns = g.add("Sub", columns, g.scalar(float(self.stored.zero)))
        rows, scales = g.add("Transpose", columns, perm=[1, 0]), self._scales(g)
        if len(self.stored.scales) > 1:
            scales = g.add("Unsqueeze", g.add("Gather", scales, index), g.ints(1))
        return g.add("Mul", rows, scales)

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        largest = g.add("ReduceMax", g.add("Abs", user), g.ints(1), keepdims=1)
        scale = g.add("Div", g.add("Max", largest, g.scalar(1e-12)), g.scalar(float(LARGEST)))
        code = g.add("Round", g.add("Div", user, scale))
        high = g.add("Round", g.add("Div", code, g.scalar(float(DIGIT))))
        low = g.add("Sub", code, g.add("Mul", high, g.scalar(float(DIGIT))))
        digits = g.add("Add", g.add("Concat", high, low, axis=0), g.scalar(float(ZERO_POINT)))
        raw = g.add(
            "MatMulIntegerToFloat",
            g.add("Cast", digits, to=TensorProto.UINT8),
            self._codes(g),
            g.constant("one", np.array(1.0, np.float32)),
            g.constant("one", np.array(1.0, np.float32)),
            g.constant("zero_point", np.array(ZERO_POINT, np.uint8)),
            g.constant("table_zero_point", np.array(self.stored.zero, np.int8)),
            domain="com.microsoft",
        )
        # (T, 2T): puts the two digits of each task together and brings in its scale.
        digit_values = np.concatenate([np.eye(tasks) * DIGIT, np.eye(tasks)], axis=1).astype(np.float32)
        join = g.add("Mul", g.constant(f"digits_{tasks}", digit_values), scale)
        return g.add("Mul", g.add("MatMul", join, raw), self._scales(g))

    def _codes(self, g: GraphBuilder) -> str:
        """Unpacked once a graph."""
        return g.once("codes", lambda: self.stored.codes(g))

    def _scales(self, g: GraphBuilder) -> str:
        return g.constant("item_scales", self.stored.scales, exact=True)


@dataclass(frozen=True)
class Blocks:
    """INT8 or INT4, one `MatMulNBits`, which rounds the task vectors to 8 bits by itself: fastest for large tables.

    Not for browsers, where its kernel is slow.

    Attributes:
        codes: uint8 (N, 1, bytes of a row), each above the signed code by half of the range. With 4 bits a byte holds
            two neighbours, the first one in its low bits.
        scales: float32 (N,). dim: numbers of a row. block: the same, up to the next power of two. bits: 8 or 4.
    """

    codes: npt.NDArray[np.uint8]
    scales: Float
    dim: int
    block: int
    bits: int

    @classmethod
    def of(cls, table: Float, scales: Float, bits: int) -> Blocks:
        """Of a table (N, dim); a row is padded to a power of two, which is one block."""
        codes, scales = quantize_rows(table, scales, LEVELS if bits == 8 else LEVELS_OF_4)
        n, dim = codes.shape
        block = max(SMALLEST_BLOCK, 1 << (dim - 1).bit_length())
        middle = 1 << (bits - 1)
        padded = np.full((n, 1, block), middle, np.uint8)
        padded[:, 0, :dim] = codes.astype(np.int16) + middle
        if bits == 4:
            padded = padded[:, :, ::2] | (padded[:, :, 1::2] << 4)
        return cls(padded, scales, dim, block, bits)

    def rows(self, g: GraphBuilder, index: str) -> str:
        found = g.add("Gather", g.constant("item_table", self.codes), index)
        if self.bits == 4:
            low = g.add("BitwiseAnd", found, g.constant("low_bits", np.array(15, np.uint8)))
            high = g.add("BitShift", found, g.constant("four", np.array(4, np.uint8)), direction="RIGHT")
            # (n, 1, bytes, 2): neighbours stand together again.
            found = g.add("Concat", *(g.add("Unsqueeze", part, g.ints(3)) for part in (low, high)), axis=3)
        middle = g.scalar(float(1 << (self.bits - 1)))
        rows = g.add("Reshape", g.add("Sub", g.add("Cast", found, to=F32), middle), g.ints(-1, self.block))
        rows = g.add("Slice", rows, g.ints(0), g.ints(self.dim), g.ints(1))
        scales = g.add("Gather", g.constant("item_scales", self.scales, exact=True), index)
        return g.add("Mul", rows, g.add("Unsqueeze", scales, g.ints(1)))

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        wide = g.add("Pad", user, g.ints(0, 0, 0, self.block - self.dim)) if self.block > self.dim else user
        return g.add(
            "MatMulNBits",
            wide,
            g.constant("item_table", self.codes),
            g.constant("item_scales", self.scales, exact=True),
            domain="com.microsoft",
            K=self.block,
            N=len(self.scales),
            bits=self.bits,
            block_size=self.block,
            accuracy_level=4,
        )


@dataclass(frozen=True)
class Full:
    """float32, one `MatMul`: what INT8 is compared with, and kept where INT8 is no better.

    Attributes:
        table: float32 (dim, N).
    """

    table: Float

    @classmethod
    def of(cls, table: Float) -> Full:
        """Of a table (N, dim)."""
        return cls(np.ascontiguousarray(table.T))

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Gather", g.constant("item_table", self.table, exact=True), index, axis=1)
        return g.add("Transpose", columns, perm=[1, 0])

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        return g.add("MatMul", user, g.constant("item_table", self.table, exact=True))


def kernel_of(kernel: str, stored: str, table: Float, scales: Float) -> Body:
    """A table (N, dim) with the scales (N,) of its rows.

    Args:
        body: one of `edgerec.devices.KERNELS`. stored: a name in `STORED`; codebooks always go with "u8s8", since
            `MatMulNBits` knows none, and "fp32" knows nothing but float32.
    """
    if kernel == "fp32":
        return Full.of(table)
    if kernel == "nbits8" and stored in BITS:
        return Blocks.of(table, scales, BITS[stored])
    return TwoDigits(STORED[stored](table, scales))


BITS = {"int8": 8, "int4": 4}
"""What `MatMulNBits` reads."""
