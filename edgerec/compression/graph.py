"""Writes ONNX graphs: a small builder, and one file with the weights of several graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgerec.compression.rows import quantize_rows

Array = npt.NDArray[Any]

OPSET = 18
IR_VERSION = 10
"""Loads in every onnxruntime since 1.18."""
EXTERNAL_FROM = 64
"""Bytes from which an initializer is stored in weights.bin; shorter ones stay in the graph."""
HALF_FROM = 1024
"""Bytes from which a float32 tensor is stored as float16; a session casts it back once, when it is opened."""
HALF = ".half"
"""Suffix of the name of such a tensor in the graph."""
ALIGNMENT = 64
"""Alignment in bytes of tensors in weights.bin, so that mapped rows start on a cache line."""


class ManifestTensor(TypedDict):
    """A tensor of weights.bin, as the manifest lists it; `type` is numpy's name, `offset` and `bytes` count bytes."""

    name: str
    type: str
    shape: list[int]
    offset: int
    bytes: int


@dataclass
class GraphBuilder:
    """Collects nodes and constants; every method returns the name of what it added."""

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """A graph input; a string in `shape` is a dynamic dimension."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: int, shape: Sequence[int | str]) -> None:
        """Make `value` the graph output `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def constant(self, name: str, value: Array, exact: bool = False) -> str:
        """An initializer; a name stands for one value. `exact`: never stored as float16."""
        if exact:
            self.exact.add(name)
        known = self.constants.setdefault(name, np.asarray(value, order="C"))  # without copying a long one
        if known is not value and not np.array_equal(known, value, equal_nan=True):
            raise ValueError(f"{self.name}: constant {name} is given twice with different values")
        return name

    def once(self, what: str, make: Callable[[], str]) -> str:
        """The value that `make` adds; `make` is called once for each `what`."""
        if what not in self.known:
            self.known[what] = make()
        return self.known[what]

    def ints(self, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.constant("ints_" + "_".join(str(v).replace("-", "m") for v in values), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A float32 scalar constant."""
        return self.constant(f"float_{value!r}", np.array(value, np.float32))

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        return self.add_many(op, 1, *inputs, domain=domain, **attributes)[0]

    def add_many(self, op: str, count: int, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """A node with `count` outputs."""
        number = len(self.nodes)
        outputs = [f"{op}_{number}" + (f"_{i}" if count > 1 else "") for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, f"{op}_{number}", domain=domain, **attributes))
        return outputs

    def inline(self, graph: onnx.GraphProto, prefix: str, feeds: dict[str, str]) -> list[str]:
        """Copy the nodes of another graph; `feeds` maps its inputs to our values. Returns its outputs.

        Tables in which rows are looked up are quantized to INT8, with a scale for each row.
        """
        rename, tables = dict(feeds), dict[str, Array]()
        looked_up = _lookup_tables(graph)
        for tensor in graph.initializer:
            if tensor.name in looked_up:
                tables[tensor.name] = numpy_helper.to_array(tensor)
            else:
                rename[tensor.name] = self.constant(f"{prefix}{tensor.name}", numpy_helper.to_array(tensor))

        def renamed(name: str) -> str:
            return rename.get(name, f"{prefix}{name}") if name else name

        for node in graph.node:
            if node.op_type == "Gather" and node.input[0] in tables:
                rows = self._quantized_rows(f"{prefix}{node.input[0]}", tables[node.input[0]], renamed(node.input[1]))
                rename[node.output[0]] = rows
                continue
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{node.name}"
            copy.input[:] = [renamed(n) for n in node.input]
            copy.output[:] = [f"{prefix}{n}" if n else n for n in node.output]
            del copy.metadata_props[:]
            copy.ClearField("doc_string")
            self.nodes.append(copy)
        return [renamed(o.name) for o in graph.output]

    def _quantized_rows(self, name: str, table: Array, index: str) -> str:
        """Rows `index` of a table (R, H), from INT8 codes."""
        codes, scales = quantize_rows(table)
        rows = self.add("Cast", self.add("Gather", self.constant(name, codes), index), to=TensorProto.FLOAT)
        steps = self.add("Gather", self.constant(f"{name}_scales", scales[:, None], exact=True), index)
        return self.add("Mul", rows, steps)


def _lookup_tables(graph: onnx.GraphProto) -> set[str]:
    """Large float32 tables that are only read by look-ups of rows."""
    large = {
        t.name
        for t in graph.initializer
        if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and 4 * t.dims[0] * t.dims[1] >= HALF_FROM
    }
    for node in graph.node:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        by_row = node.op_type == "Gather" and axis == 0
        large -= {name for i, name in enumerate(node.input) if not (by_row and i == 0)}
    return large & {node.input[0] for node in graph.node if node.op_type == "Gather"}


def pack(builders: Sequence[GraphBuilder], weights: Path) -> tuple[list[bytes], list[ManifestTensor]]:
    """Serialize graphs that share one file of weights; a tensor that several of them use is stored once.

    Args:
        weights: the file to write; graphs expect it in their own folder.
    Returns:
        The graphs, and the tensors in the order of the file.
    """
    tensors: list[ManifestTensor] = []
    placed: dict[str, ManifestTensor] = {}
    with weights.open("wb") as file:

        def place(name: str, value: Array) -> ManifestTensor:
            data = value.reshape(-1).view(np.uint8).data
            # Without the shape: a matrix that a graph also reads in another shape is stored once.
            key = hashlib.sha256(str(value.dtype).encode())
            key.update(data)
            if key.hexdigest() not in placed:
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                entry = ManifestTensor(
                    name=name,
                    type=str(value.dtype),
                    shape=list(value.shape),
                    offset=file.tell(),
                    bytes=value.nbytes,
                )
                placed[key.hexdigest()] = entry
                tensors.append(entry)
                file.write(data)
            return placed[key.hexdigest()]

        models = [_serialized(builder, place, weights.name) for builder in builders]
    return models, tensors


def _serialized(builder: GraphBuilder, place: Callable[[str, Array], ManifestTensor], file_name: str) -> bytes:
    """One graph, whose long constants are stored where `place` puts them."""
    initializers, widened = [], []
    for name, value in builder.constants.items():
        if value.dtype == np.float32 and value.nbytes >= HALF_FROM and name not in builder.exact:
            half = value.astype(np.float16)
            if np.isfinite(half).sum() == np.isfinite(value).sum():
                widened.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
                name, value = name + HALF, half
        if value.nbytes < EXTERNAL_FROM:
            initializers.append(numpy_helper.from_array(value, name))
            continue
        entry = place(name.removesuffix(HALF), value)
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=value.shape, data_location=TensorProto.EXTERNAL)
        for key, text in (("location", file_name), ("offset", str(entry["offset"])), ("length", str(entry["bytes"]))):
            tensor.external_data.add(key=key, value=text)
        initializers.append(tensor)
    graph = helper.make_graph([*widened, *builder.nodes], builder.name, builder.inputs, builder.outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edgerec")
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized
