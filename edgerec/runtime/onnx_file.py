"""Reads an ONNX file without onnx: its graph, its constants, and whether it points outside its bundle.

Only what a bundle's graphs use is known: tensors, nodes, attributes. Large constants stay in weights.bin. It is strict,
since readers differ in what they make of a field that occurs twice or has another type: such a file is refused.
Source: onnx.proto of ONNX 1.18, whose field numbers these are.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.errors import BundleError

Array: TypeAlias = npt.NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
"""Of a node, by name: numbers, strings, lists of integers, arrays; which of them, the operator says."""

TYPES: Final = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
_EXTERNAL = 1
WEIGHTS: Final = "weights.bin"
MAX_NODES: Final = 10_000
OPERATORS: Final = frozenset((
    "Abs", "Add", "And", "BitShift", "BitwiseAnd", "Cast", "Concat", "Constant", "Div", "Einsum", "Equal", "Exp",
    "Expand", "Gather", "Gemm", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "MatMul",
    "MatMulIntegerToFloat", "MatMulNBits", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "ReduceMax",
    "ReduceMean", "ReduceSum", "Relu", "Reshape", "Round", "ScatterElements", "Shape", "Sigmoid", "Slice", "Softmax",
    "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
"""Those that edgerec's graphs are made of: no loops, no graphs in graphs, nothing that reads a file."""


@dataclass(frozen=True)
class OnnxNode:
    """One operator."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes


@dataclass
class OnnxGraph:
    """A graph: nodes in an order in which each can be run, types of the inputs, names of the outputs."""

    nodes: list[OnnxNode] = field(default_factory=list)
    inputs: dict[str, type] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)


def read_graph(content: bytes, weights: bytes, source: str) -> OnnxGraph:
    """Read a graph; its large constants are views of `weights`, the content of weights.bin.

    Args:
        source: names the graph in errors.
    Raises:
        BundleError: it is not an ONNX file, its constants lie elsewhere, or an operator is none of ours.
    """
    try:
        parts = {f.number: f for f in _fields(memoryview(content), once=(1, 2, 3, 4, 5, 6, 7))}
        if unknown := parts.keys() - {1, 2, 3, 4, 5, 6, 7, 8, 14}:
            raise ValueError(f"a model with field {min(unknown)}")
        graph = _graph(parts[7].content, np.frombuffer(weights, np.uint8))
        if strange := sorted({node.op for node in graph.nodes} - OPERATORS):
            raise ValueError(f"no graph of edgerec has the operator {strange[0][:40]!r}")
        if len(graph.nodes) > MAX_NODES:
            raise ValueError(f"{len(graph.nodes)} operators")
        return graph
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error, RecursionError) as error:
        raise BundleError(f"{source}: does not load ({error}); build the bundle again") from error


def _graph(content: memoryview, weights: Array) -> OnnxGraph:
    graph = OnnxGraph()
    for part in _fields(content, once=(2, 10)):
        if part.number == 1:
            graph.nodes.append(_node(part.content, weights))
        elif part.number == 5:
            name, array = _tensor(part.content, weights)
            graph.constants[name] = array
        elif part.number == 11:
            name, kind = _input(part.content)
            graph.inputs[name] = kind
        elif part.number == 12:
            graph.outputs.append(_only(part.content, 1).text())
        elif part.number == 15:
            raise ValueError("sparse constants")
    for name in graph.constants.keys() & graph.inputs.keys():
        del graph.inputs[name]
    return graph


def _node(content: memoryview, weights: Array) -> OnnxNode:
    inputs, outputs, attributes, op, domain = [], [], {}, "", ""
    for part in _fields(content, once=(3, 4, 6, 7, 8)):
        if part.number == 1:
            inputs.append(part.text())
        elif part.number == 2:
            outputs.append(part.text())
        elif part.number == 4:
            op = part.text()
        elif part.number == 5:
            name, attribute = _attribute(part.content, weights)
            if name in attributes:
                raise ValueError(f"attribute {name[:40]} twice")
            attributes[name] = attribute
        elif part.number == 7:
            domain = part.text()
    if domain not in ("", "ai.onnx", "com.microsoft"):
        raise ValueError(f"operator {domain[:40]}.{op[:40]}")
    return OnnxNode(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(content: memoryview, weights: Array) -> tuple[str, object]:
    name, many = "", []
    single: object = None
    for part in _fields(content, once=(1, 2, 3, 4, 5, 20)):
        if part.number == 1:
            name = part.text()
        elif part.number == 2:
            single = struct.unpack("<f", part.content)[0]
        elif part.number == 3:
            single = _signed(part.integer)
        elif part.number == 4:
            single = part.text()
        elif part.number == 5:
            single = _tensor(part.content, weights)[1]
        elif part.number == 8:
            many += part.integers()
        elif part.number in (6, 10, 11, 22, 23):
            raise ValueError(f"attribute {name}: a graph in a graph, or lists of tensors")
    return name, many if single is None else single


def _tensor(content: memoryview, weights: Array) -> tuple[str, Array]:
    dims: list[int] = []
    numbers: list[float] = []
    external: dict[str, str] = {}
    raw: memoryview | None = None
    name, kind, location = "", 0, 0
    for part in _fields(content, once=(2, 3, 8, 9, 14)):
        if part.number == 1:
            dims += part.integers()
        elif part.number == 2:
            kind = part.integer
        elif part.number in (5, 7):
            numbers += part.integers()
        elif part.number == 4:
            numbers += np.frombuffer(part.content, "<f4").tolist()
        elif part.number == 8:
            name = part.text()
        elif part.number == 9:
            raw = part.content
        elif part.number == 13:
            entry = {field.number: field.text() for field in _fields(part.content, once=(1, 2))}
            if entry.keys() != {1, 2} or entry[1] in external:
                raise ValueError("external data that is told twice")
            external[entry[1]] = entry[2]
        elif part.number == 14:
            location = part.integer
    dtype = np.dtype(TYPES[kind])
    size = int(np.prod(dims, dtype=np.int64)) * dtype.itemsize
    if location == _EXTERNAL or external:
        if external.get("location") != WEIGHTS:
            raise ValueError(f"its constants lie in {external.get('location')!r}, not in {WEIGHTS}")
        start = int(external.get("offset", "0"))
        if int(external.get("length", size)) != size or not 0 <= start <= start + size <= len(weights):
            raise ValueError(f"constant {name!r} lies outside {WEIGHTS}")
        return name, weights[start : start + size].view(dtype).reshape(dims)
    if raw is not None:
        return name, np.frombuffer(raw, dtype).reshape(dims)
    return name, np.array(numbers, dtype).reshape(dims)


def _input(content: memoryview) -> tuple[str, type]:
    name, kind = "", 0
    for part in _fields(content, once=(1, 2)):
        if part.number == 1:
            name = part.text()
        elif part.number == 2:
            kind = _only(_only(part.content, 1).content, 1).integer
    return name, TYPES[kind]


# --- protocol buffers ---


class _Field(NamedTuple):
    """One field: an integer of 64 bits without sign, or bytes; `integer` is -1 then."""

    number: int
    integer: int
    bytes_: memoryview | None = None

    @property
    def content(self) -> memoryview:
        """Of a field that holds bytes."""
        if self.bytes_ is None:
            raise ValueError(f"field {self.number} of another type")
        return self.bytes_

    def text(self) -> str:
        return bytes(self.content).decode()

    def integers(self) -> list[int]:
        """Of a field that holds one or, packed, several."""
        return [_signed(value) for value in ([self.integer] if self.integer >= 0 else _packed(self.content))]


def _fields(content: memoryview, once: Collection[int] = ()) -> Iterator[_Field]:
    """The fields of a message; a number of `once` that occurs again is refused."""
    at, end = 0, len(content)
    seen = set()
    while at < end:
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if number in once:
            if number in seen:
                raise ValueError(f"field {number} twice")
            seen.add(number)
        if wire == 0:
            value, at = _varint(content, at)
            yield _Field(number, value)
            continue
        if wire == 2:
            length, at = _varint(content, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("not a protocol buffer")
        if at + length > end:
            raise ValueError("it ends too early")
        yield _Field(number, -1, content[at : at + length])
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = content[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for shift in range(7, 70, 7):
        at += 1
        byte = content[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
    raise ValueError("not a protocol buffer")


def _packed(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _only(content: memoryview, wanted: int) -> _Field:
    for part in _fields(content):
        if part.number == wanted:
            return part
    raise ValueError(f"no field {wanted}")
