"""How a graph holds the item table and multiplies it with the task vectors; a device's profile names one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgerec.compression.graph import GraphBuilder

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
        codes: int8 (dim, N). scales: float32 (N,).
    """

    codes: npt.NDArray[np.int8]
    scales: Float

    @classmethod
    def of(cls, codes: npt.NDArray[np.int8], scales: Float) -> TwoDigits:
        """From codes (N, dim)."""
        return cls(np.ascontiguousarray(codes.T), scales)

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Gather", g.constant("item_table", self.codes), index, axis=1)
        rows = g.add("Transpose", g.add("Cast", columns, to=F32), perm=[1, 0])
        scales = g.add("Gather", g.constant("item_scales", self.scales, exact=True), index)
        return g.add("Mul", rows, g.add("Unsqueeze", scales, g.ints(1)))

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
            g.constant("item_table", self.codes),
            g.constant("one", np.array(1.0, np.float32)),
            g.constant("one", np.array(1.0, np.float32)),
            g.constant("zero_point", np.array(ZERO_POINT, np.uint8)),
            g.constant("table_zero_point", np.array(0, np.int8)),
            domain="com.microsoft",
        )
        # (T, 2T): puts the two digits of each task together and brings in its scale.
        digit_values = np.concatenate([np.eye(tasks) * DIGIT, np.eye(tasks)], axis=1).astype(np.float32)
        join = g.add("Mul", g.constant(f"digits_{tasks}", digit_values), scale)
        return g.add("Mul", g.add("MatMul", join, raw), g.constant("item_scales", self.scales, exact=True))


@dataclass(frozen=True)
class Blocks:
    """INT8, one `MatMulNBits`, which rounds the task vectors to 8 bits by itself: fastest where the table is large.

    Not for browsers, where its kernel is slow.

    Attributes:
        codes: uint8 (N, blocks, block), 128 above the signed codes. scales: float32 (N,). dim: numbers of a row.
    """

    codes: npt.NDArray[np.uint8]
    scales: Float
    dim: int

    @classmethod
    def of(cls, codes: npt.NDArray[np.int8], scales: Float) -> Blocks:
        """From codes (N, dim); a row is padded to a power of two, which is one block."""
        n, dim = codes.shape
        block = max(SMALLEST_BLOCK, 1 << (dim - 1).bit_length())
        padded = np.full((n, 1, block), 128, np.uint8)
        padded[:, 0, :dim] = codes.astype(np.int16) + 128
        return cls(padded, scales, dim)

    def rows(self, g: GraphBuilder, index: str) -> str:
        found = g.add("Cast", g.add("Gather", g.constant("item_table", self.codes), index), to=F32)
        rows = g.add("Reshape", g.add("Sub", found, g.scalar(128.0)), g.ints(-1, self.codes.shape[2]))
        rows = g.add("Slice", rows, g.ints(0), g.ints(self.dim), g.ints(1))
        scales = g.add("Gather", g.constant("item_scales", self.scales, exact=True), index)
        return g.add("Mul", rows, g.add("Unsqueeze", scales, g.ints(1)))

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        block = self.codes.shape[2]
        wide = g.add("Pad", user, g.ints(0, 0, 0, block - self.dim)) if block > self.dim else user
        return g.add(
            "MatMulNBits",
            wide,
            g.constant("item_table", self.codes),
            g.constant("item_scales", self.scales, exact=True),
            domain="com.microsoft",
            K=block,
            N=len(self.scales),
            bits=8,
            block_size=block,
            accuracy_level=4,
        )


@dataclass(frozen=True)
class Full:
    """32-bit numbers, one `MatMul`: what INT8 is held against.

    Attributes:
        table: float32 (dim, N).
    """

    table: Float

    @classmethod
    def of(cls, codes: npt.NDArray[np.int8], scales: Float) -> Full:
        """The numbers that codes (N, dim) and scales (N,) stand for."""
        return cls(np.ascontiguousarray(codes.T * scales))

    def rows(self, g: GraphBuilder, index: str) -> str:
        columns = g.add("Gather", g.constant("item_table", self.table, exact=True), index, axis=1)
        return g.add("Transpose", columns, perm=[1, 0])

    def scan(self, g: GraphBuilder, user: str, tasks: int) -> str:
        return g.add("MatMul", user, g.constant("item_table", self.table, exact=True))


BODIES: dict[str, Callable[[npt.NDArray[np.int8], Float], Body]] = {
    "u8s8": TwoDigits.of,
    "nbits8": Blocks.of,
    "fp32": Full.of,
}
"""From the codes (N, dim) and scales (N,) of a table, by the name in a device's profile."""
