"""Writes student.bin, which the native engine maps into memory; see `devices/native` and the page on its format."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from edgerec.compression.export import ExportedStudent
from edgerec.compression.graph import ALIGNMENT, HALF_FROM
from edgerec.compression.graphs import Expectation, Int8Prior, ItemTable, Prior
from edgerec.compression.kernels import U8S8Kernel
from edgerec.compression.rows import quantize_rows
from edgerec.compression.storage import Int4Storage, Int8Storage, ProductStorage, TableStorage

Float = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

MAGIC, FORMAT = b"edgerec\n", 1
HEADER_BYTES = 128
BLOCK = 64
"""Items of a block; tables are padded to whole blocks."""
TOGETHER, GROUP = 16, 4
"""Items and dimensions that lie together in the item table."""
KINDS = {"retrieval": 0, "binary": 1, "regression": 2}
FEATURES = ("from_item.weight", "from_numbers.weight", "from_context.weight")


class Type(IntEnum):
    """Types of a section."""

    F32 = 1
    F16 = 2
    I8 = 3
    I32 = 4
    U16 = 5
    I4 = 6
    U8 = 7


class Section(IntEnum):
    """Sections, in the order of the file; `POOLING` and `REPEAT` are followed by seven more each."""

    TABLE = 1
    BOOKS = 2
    SCALES = 3
    TASK_KINDS = 4
    EXPECTATIONS = 5
    PRIOR = 6
    RELATION = 9
    RELATION_PRIOR = 10
    TRANSITIONS = 13
    TRANSITION_CODES = 14
    TRANSITION_SCALES = 15
    CATEGORY_FIRST = 16
    CATEGORY = 17
    INNER_NUMBERS = 19
    INNER_BIAS = 20
    CONTEXT = 21
    CONTEXT_BIAS = 22
    POOLING = 23
    NOTHING = 31
    REPEAT = 32
    MIX = 40
    HEAD = 41
    HEAD_BIAS = 42
    LAST = 43
    LAST_BIAS = 44


_TYPES = {np.dtype(np.float32): Type.F32, np.dtype(np.float16): Type.F16, np.dtype(np.int8): Type.I8,
          np.dtype(np.int32): Type.I32, np.dtype(np.uint16): Type.U16, np.dtype(np.uint8): Type.U8}  # fmt: skip


def engine_file(exported: ExportedStudent, items: ItemTable, expectations: Mapping[str, Expectation]) -> bytes | None:
    """The content of student.bin, whose numbers are those of the graphs that were made from the same `items`.

    Returns:
        None for another kernel than u8s8: float32 tables have no INT8 codes, and "nbits8" rounds task vectors to 8
        bits, so that engine and graphs would give different lists.
    """
    if not isinstance(items.table, U8S8Kernel):
        return None
    table = items.table.storage
    file = _File()
    file.add_table(table, exported.table.shape)
    file.add_tasks(exported, expectations)
    file.add_prior(Section.PRIOR, items.prior)
    if exported.relation is not None and items.relation_prior is not None:
        file.add_matrix(Section.RELATION, exported.relation)
        file.add_prior(Section.RELATION_PRIOR, items.relation_prior)
    if exported.transitions is not None and exported.transition_weight is not None:
        file.add_transitions(exported.transitions, exported.transition_weight)
    file.add_tower(exported)
    return file.content(_widths(exported))


def _widths(exported: ExportedStudent) -> tuple[int, ...]:
    """The numbers of the header, in their order."""
    weights, (n, dim) = exported.weights, exported.table.shape
    transitions = 0 if exported.transitions is None else exported.transitions.shape[1]
    kinds, pooling = weights["pooling.kind.weight"].shape
    return (
        n,
        dim,
        len(exported.tasks),
        exported.heads,
        transitions,
        len(exported.categories),
        weights["context.numbers.weight"].shape[1],
        kinds,
        weights["context.numbers.weight"].shape[0],
        weights["context.out.weight"].shape[0],
        pooling,
        weights["repeat.kind.weight"].shape[1],
        weights["head.first.weight"].shape[0],
        int(exported.relation is not None),
        sum(exported.categories),
    )


class _File:
    """Collects sections: id, type, rows, columns, content."""

    def __init__(self) -> None:
        self._sections: list[tuple[int, Type, int, int, bytes]] = []

    def add(self, section: int, values: Array, kind: Type | None = None) -> None:
        """Add a vector, or a matrix (rows, columns); a short type's `values` are already packed."""
        rows, columns = (1, *values.shape)[-2:]
        if kind is Type.I4:
            columns *= 2
        self._sections.append((section, kind or _TYPES[values.dtype], rows, columns, values.tobytes()))

    def add_matrix(self, section: int, values: Float) -> None:
        """Add weights or a bias, in float16 where the graphs have them so."""
        self.add(section, _half(values))

    def add_lookup(self, section: int, values: Float) -> None:
        """Add a table of which rows are looked up, in INT8 with a scale for each row where the graphs have it so."""
        if values.nbytes < HALF_FROM:
            self.add(section, values)
        else:
            codes, scales = quantize_rows(values)
            self.add(section, codes)
            self.add(section + 1, scales)

    def add_table(self, table: TableStorage, shape: tuple[int, ...]) -> None:
        """Add the item table (N, dim) with the scales of its rows."""
        n, dim = shape
        match table:
            case ProductStorage():
                self.add(Section.TABLE, _padded(table.index))
                self.add(Section.BOOKS, table.books.reshape(-1, table.books.shape[2]))
            case Int4Storage():
                wide = _blocked(_nibbles(table.packed, dim)).astype(np.int16) + table.zero
                self.add(Section.TABLE, (wide[:, ::2] | wide[:, 1::2] << 4).astype(np.uint8), Type.I4)
            case Int8Storage():
                self.add(Section.TABLE, _blocked(table.values.T))
            case _:
                raise TypeError(f"student.bin has no layout for {type(table).__name__}")
        scales = table.scales if len(table.scales) == 1 != n else _padded(table.scales[None])[0]
        self.add(Section.SCALES, scales)

    def add_tasks(self, exported: ExportedStudent, expectations: Mapping[str, Expectation]) -> None:
        """Add what each task is, and the expectations of the regression tasks."""
        place = {task.name: index for index, task in enumerate(exported.tasks)}
        kinds = [
            [KINDS[t.kind], -1 if t.after is None else place[t.after], int(t.repeats == "exclude")]
            for t in exported.tasks
        ]
        values = [
            list(vars(expectations[t.name]).values()) if t.kind == "regression" else [0.0] * 3 for t in exported.tasks
        ]
        self.add(Section.TASK_KINDS, np.array(kinds, np.int32))
        self.add(Section.EXPECTATIONS, np.array(values, np.float32).reshape(-1))

    def add_prior(self, section: int, prior: Prior) -> None:
        """Add a prior (T, N)."""
        assert isinstance(prior, Int8Prior)
        self.add(section, _padded(prior.codes))
        self.add(section + 1, prior.scale[:, 0])
        self.add(section + 2, prior.middle[:, 0])

    def add_transitions(self, item: npt.NDArray[np.int32], weight: Float) -> None:
        """Add the transitions (N, K) and their weights."""
        codes, scales = quantize_rows(weight)
        self.add(Section.TRANSITIONS, item.astype(np.uint16) if len(item) <= 1 << 16 else item)
        self.add(Section.TRANSITION_CODES, codes)
        self.add(Section.TRANSITION_SCALES, scales)

    def add_tower(self, exported: ExportedStudent) -> None:
        """Add the weights of the request tower."""
        w = exported.weights
        first = np.concatenate(([0], np.cumsum(exported.categories))).astype(np.int32)
        self.add(Section.CATEGORY_FIRST, first)
        if exported.categories:
            self.add_lookup(Section.CATEGORY, w["context.category.table.weight"])
        self.add_matrix(Section.INNER_NUMBERS, w["context.numbers.weight"])
        self.add_matrix(Section.INNER_BIAS, w["context.numbers.bias"])
        self.add_matrix(Section.CONTEXT, w["context.out.weight"])
        self.add_matrix(Section.CONTEXT_BIAS, w["context.out.bias"])
        self._add_events(Section.POOLING, "pooling", "attention", w)
        self.add_matrix(Section.NOTHING, w["pooling.nothing"])
        self._add_events(Section.REPEAT, "repeat", "out", w)
        self.add_matrix(Section.MIX, w["mix.weight"])
        self.add_matrix(Section.HEAD, w["head.first.weight"])
        self.add_matrix(Section.HEAD_BIAS, w["head.first.bias"])
        self.add_matrix(Section.LAST, w["head.last.weight"])
        self.add_matrix(Section.LAST_BIAS, w["head.last.bias"])

    def _add_events(self, section: int, name: str, out: str, w: Mapping[str, Float]) -> None:
        for at, feature in enumerate(FEATURES):
            self.add_matrix(section + at, w[f"{name}.{feature}"])
        biases = (_half(w[f"{name}.{layer}.bias"]).astype(np.float32) for layer in ("from_item", "from_numbers"))
        self.add(section + 3, sum(biases, np.zeros(1, np.float32)))
        self.add_lookup(section + 4, w[f"{name}.kind.weight"])
        self.add_matrix(section + 6, w[f"{name}.{out}.weight"])
        self.add_matrix(section + 7, w[f"{name}.{out}.bias"])

    def content(self, widths: tuple[int, ...]) -> bytes:
        """The whole file."""
        entries, body = bytearray(), bytearray()
        start = HEADER_BYTES + 32 * len(self._sections)
        for section, kind, rows, columns, values in sorted(self._sections):
            body += b"\0" * (-(start + len(body)) % ALIGNMENT)
            entries += struct.pack("<IIIIQQ", section, kind, rows, columns, start + len(body), len(values))
            body += values
        head = struct.pack("<8sIIQ", MAGIC, FORMAT, len(self._sections), start + len(body))
        head += struct.pack(f"<{len(widths)}I", *widths)
        return head.ljust(HEADER_BYTES, b"\0") + bytes(entries) + bytes(body)


def _half(values: Float) -> Array:
    """As `edgerec.compression.graph` stores a tensor: a long one in float16, if that holds all of it."""
    half = values.astype(np.float16)
    return half if values.nbytes >= HALF_FROM and np.isfinite(half).all() else values


def _padded(values: Array) -> Array:
    """(R, N) with zeros for the items up to a whole block."""
    n = values.shape[1]
    return np.pad(values, ((0, 0), (0, -n % BLOCK)))


def _blocked(codes: Array) -> Array:
    """Codes (N, dim) in the engine's order, (padded N, padded dim): 16 items' 4 dimensions are a cache line."""
    n, dim = codes.shape
    wide = np.pad(codes, ((0, -n % BLOCK), (0, -dim % GROUP)))
    rows, width = wide.shape
    lines = wide.reshape(rows // TOGETHER, TOGETHER, width // GROUP, GROUP).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(lines).reshape(rows, width)


def _nibbles(packed: Array, dim: int) -> Array:
    """Codes (N, dim) of an `Int4Storage`."""
    both = np.concatenate([packed & 15, packed >> 4])[:dim]
    return (both.astype(np.int16) - 8).astype(np.int8).T
