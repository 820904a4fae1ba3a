"""Kernels: how a graph holds the item table and multiplies it by the task vectors. A device profile names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgerec.compression.graph import GraphBuilder
from edgerec.compression.rows import LEVELS, quantize_rows
from edgerec.compression.storage import LEVELS_OF_4, STORAGES, TableStorage

Float = npt.NDArray[np.float32]

F32 = TensorProto.FLOAT
DIGIT = 128
"""Base of the two digits of a task vector."""
ZERO_POINT = 64
"""Added to a digit, so that it is not negative."""
LARGEST = 63 * DIGIT + 63
"""Code of the largest entry of a task vector: both digits are 63."""
SMALLEST_BLOCK = 16
"""Least block size of MatMulNBits, a power of two."""


class Kernel(Protocol):
    """An item table (N, dim) in a graph."""

    def rows(self, g: GraphBuilder, index: str) -> str:
        """Item vectors (n, dim) of `index` (n,), looked up in the table that `scan` multiplies."""

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        """Dot products of task vectors (T, dim) with every item's, (T, N)."""


@dataclass(frozen=True)
class U8S8Kernel:
    """INT8: one `MatMulIntegerToFloat` of the s8 table and the task vectors, each split into two 7-bit digits.

    With two digits (14 bits) the rounding error of the task vectors is negligible. A digit never exceeds 128, so that a
    pair of products stays below 2 ** 15: processors without VNNI, whose u8 x s8 kernel saturates at 16 bits, compute
    the same as all others.

    Attributes:
        storage: the codes of the table.
    """

    storage: TableStorage

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Cast", g.add("Gather", self._codes(g), index, axis=1), to=F32)
        if self.storage.zero:
            columns = g.add("Sub", columns, g.scalar(float(self.storage.zero)))
        rows, scales = g.add("Transpose", columns, perm=[1, 0]), self._scales(g)
        if len(self.storage.scales) > 1:
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
            g.constant("table_zero_point", np.array(self.storage.zero, np.int8)),
            domain="com.microsoft",
        )
        # (T, 2T): joins the two digits of each task and multiplies by its scale.
        digit_values = np.concatenate([np.eye(tasks) * DIGIT, np.eye(tasks)], axis=1).astype(np.float32)
        join = g.add("Mul", g.constant(f"digits_{tasks}", digit_values), scale)
        return g.add("Mul", g.add("MatMul", join, raw), self._scales(g))

    def _codes(self, g: GraphBuilder) -> str:
        """The codes (dim, N), unpacked once in a graph."""
        return g.once("codes", lambda: self.storage.codes(g))

    def _scales(self, g: GraphBuilder) -> str:
        return g.constant("item_scales", self.storage.scales, exact=True)


@dataclass(frozen=True)
class NBitsKernel:
    """INT8 or INT4: one `MatMulNBits`, which rounds the task vectors to 8 bits: fastest for large tables.

    It is slow in browsers.

    Attributes:
        codes: uint8 (N, 1, bytes of a row): signed codes plus half of the range. With 4 bits a byte holds two
            neighbours, the first one in its low bits.
        scales: float32 (N,). dim: dimensions of a row. block: the next power of two. bits: 8 or 4.
    """

    codes: npt.NDArray[np.uint8]
    scales: Float
    dim: int
    block: int
    bits: int

    @classmethod
    def of(cls, table: Float, scales: Float, bits: int) -> NBitsKernel:
        """Quantize a table (N, dim); a row is padded to a power of two, which is one block."""
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
        codes = g.add("Gather", g.constant("item_table", self.codes), index)
        if self.bits == 4:
            low = g.add("BitwiseAnd", codes, g.constant("low_bits", np.array(15, np.uint8)))
            high = g.add("BitShift", codes, g.constant("four", np.array(4, np.uint8)), direction="RIGHT")
            # (n, 1, bytes, 2): neighbours are next to each other again.
            codes = g.add("Concat", *(g.add("Unsqueeze", part, g.ints(3)) for part in (low, high)), axis=3)
        middle = g.scalar(float(1 << (self.bits - 1)))
        rows = g.add("Reshape", g.add("Sub", g.add("Cast", codes, to=F32), middle), g.ints(-1, self.block))
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
class FloatKernel:
    """float32: one `MatMul`. INT8 is compared with it, and it is used where INT8 is no better.

    Attributes:
        table: float32 (dim, N).
    """

    table: Float

    @classmethod
    def of(cls, table: Float) -> FloatKernel:
        """Transpose a table (N, dim)."""
        return cls(np.ascontiguousarray(table.T))

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Gather", g.constant("item_table", self.table, exact=True), index, axis=1)
        return g.add("Transpose", columns, perm=[1, 0])

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        return g.add("MatMul", user, g.constant("item_table", self.table, exact=True))


def make_kernel(kernel: str, storage: str, table: Float, scales: Float) -> Kernel:
    """The kernel for a table (N, dim) with the scales (N,) of its rows.

    Args:
        kernel: one of `edgerec.devices.KERNELS`.
        storage: a name in `STORAGES`. Codebooks always use "u8s8", since `MatMulNBits` has none; "fp32" is always
            float32.
    """
    if kernel == "fp32":
        return FloatKernel.of(table)
    if kernel == "nbits8" and storage in BITS:
        return NBitsKernel.of(table, scales, BITS[storage])
    return U8S8Kernel(STORAGES[storage](table, scales))


BITS = {"int8": 8, "int4": 4}
"""Storages that `MatMulNBits` reads, and their bits."""
