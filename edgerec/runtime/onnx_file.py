"""Reads an ONNX file without onnx: its graph, its constants, and whether it points outside its bundle.

Only what a bundle's graphs use is known: tensors, nodes, attributes. Constants stay in weights.bin and are mapped.
Source: onnx.proto of ONNX 1.18, whose field numbers these are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgerec.errors import BundleError
from edgerec.runtime.external import WEIGHTS

Array = npt.NDArray[Any]

TYPES: Final = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
_EXTERNAL = 1


@dataclass(frozen=True)
class Node:
    """One operator; `attributes` hold numbers, strings, lists and arrays."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """A graph: nodes in an order in which each can be run, types of the inputs, names of the outputs."""

    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, type] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Read a graph; its large constants are mapped from weights.bin beside it.

    Raises:
        BundleError: it is not an ONNX file, or its constants lie elsewhere.
    """
    weights = path.with_name(WEIGHTS)
    try:
        mapped = np.memmap(weights, np.uint8, "r") if weights.stat().st_size else np.zeros(0, np.uint8)
        return _graph(dict(_fields(memoryview(path.read_bytes())))[7], mapped)
    except (ValueError, KeyError, IndexError, OverflowError, struct.error, RecursionError) as error:
        raise BundleError(f"{path}: does not load ({error}); build the bundle again") from error


def _graph(content: memoryview, weights: Array) -> Graph:
    graph = Graph()
    for number, value in _fields(content):
        if number == 1:
            graph.nodes.append(_node(value, weights))
        elif number == 5:
            name, array = _tensor(value, weights)
            graph.constants[name] = array
        elif number == 11:
            name, kind = _input(value)
            graph.inputs[name] = kind
        elif number == 12:
            graph.outputs.append(_text(_only(value, 1)))
        elif number == 15:
            raise ValueError("sparse constants")
    for name in graph.constants.keys() & graph.inputs.keys():
        del graph.inputs[name]
    return graph


def _node(content: memoryview, weights: Array) -> Node:
    inputs, outputs, attributes, op, domain = [], [], {}, "", ""
    for number, value in _fields(content):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 5:
            name, attribute = _attribute(value, weights)
            attributes[name] = attribute
        elif number == 7:
            domain = _text(value)
    if domain not in ("", "ai.onnx", "com.microsoft"):
        raise ValueError(f"operator {domain}.{op}")
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(content: memoryview, weights: Array) -> tuple[str, Any]:
    name, single, many = "", None, []
    for number, value in _fields(content):
        if number == 1:
            name = _text(value)
        elif number == 2:
            single = struct.unpack("<f", value)[0]
        elif number == 3:
            single = _signed(value)
        elif number == 4:
            single = _text(value)
        elif number == 5:
            single = _tensor(value, weights)[1]
        elif number == 8:
            many += [_signed(v) for v in (_packed(value) if isinstance(value, memoryview) else [value])]
        elif number in (6, 10, 11, 22, 23):
            raise ValueError(f"attribute {name}: a graph in a graph, or lists of tensors")
    return name, many if single is None else single


def _tensor(content: memoryview, weights: Array) -> tuple[str, Array]:
    dims: list[int] = []
    name, kind, raw, numbers, external, location = "", 0, None, [], {}, 0
    for number, value in _fields(content):
        if number == 1:
            dims += [_signed(v) for v in (_packed(value) if isinstance(value, memoryview) else [value])]
        elif number == 2:
            kind = int(value)
        elif number in (5, 7):
            numbers += [_signed(v) for v in (_packed(value) if isinstance(value, memoryview) else [value])]
        elif number == 4:
            numbers += np.frombuffer(value, "<f4").tolist()
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = value
        elif number == 13:
            entry = {n: _text(v) for n, v in _fields(value)}
            external[entry.get(1, "")] = entry.get(2, "")
        elif number == 14:
            location = int(value)
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
    for number, value in _fields(content):
        if number == 1:
            name = _text(value)
        elif number == 2:
            kind = int(_only(_only(value, 1), 1))
    return name, TYPES[kind]


# --- protocol buffers ---


def _fields(content: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int of 64 bits without sign, or its bytes."""
    at, end = 0, len(content)
    while at < end:
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(content, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(content, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("not a protocol buffer")
        if at + length > end:
            raise ValueError("it ends too early")
        yield number, content[at : at + length]
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


def _only(content: memoryview, wanted: int) -> Any:
    for number, value in _fields(content):
        if number == wanted:
            return value
    raise ValueError(f"no field {wanted}")


def _text(content: Any) -> str:
    return bytes(content).decode()
