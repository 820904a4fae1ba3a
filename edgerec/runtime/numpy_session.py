"""Runs a bundle's graphs with numpy alone, where onnxruntime cannot be installed: the same results, slower.

It knows the operators that edgerec's graphs are made of, and refuses others when a graph is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from edgerec.errors import BundleError
from edgerec.runtime.onnx_file import TYPES, Array, Attributes, OnnxNode, read_graph

Operator: TypeAlias = Callable[..., Array | tuple[Array, ...]]
"""From the attributes of a node and its inputs, None where one is left out, to its outputs."""
AT_ONCE = 1 << 15
"""Items of a table that are converted to float32 at a time."""


class NumpySession:
    """One graph; thread-safe, since nothing is kept between two runs.

    Attributes:
        inputs: numpy type by name. outputs: names.
    """

    def __init__(self, content: bytes, weights: bytes, source: str) -> None:
        """Read a graph and compute what depends on constants only.

        Args:
            content, weights: of the graph's file and of weights.bin. source: names the graph in errors.

        Raises:
            BundleError: it is not an ONNX file, or has an operator that is not known here.
        """
        graph = read_graph(content, weights, source)
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._constants, self._nodes = dict(graph.constants), []
        try:
            for node in graph.nodes:
                if all(name in self._constants for name in node.inputs if name):
                    self._constants.update(zip(node.outputs, _apply(node, self._constants), strict=True))
                else:
                    self._nodes.append(node)
        except Exception as error:  # whatever an operator says of what it was given
            raise BundleError(f"{source}: does not load ({error!r}); build the bundle again"[:400]) from error
        used = {name for node in self._nodes for name in node.inputs} | set(self.outputs)
        self._constants = {name: value for name, value in self._constants.items() if name in used}
        # A value is dropped after its last use: a large catalogue's scores are kept once.
        last = {name: i for i, node in enumerate(self._nodes) for name in node.inputs}
        kept = self._constants.keys() | set(self.outputs)
        self._done: list[list[str]] = [[] for _ in self._nodes]
        for name, i in last.items():
            if name and name not in kept:
                self._done[i].append(name)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """The named outputs."""
        values = {**self._constants, **inputs}
        for node, done in zip(self._nodes, self._done, strict=True):
            values.update(zip(node.outputs, _apply(node, values), strict=False))
            for name in done:
                values.pop(name, None)
        return [values[name] for name in outputs]


def _apply(node: OnnxNode, values: Mapping[str, Array]) -> Sequence[Array]:
    with np.errstate(all="ignore"):
        result = OPERATORS[node.op](node.attributes, *(values[n] if n else None for n in node.inputs))
    return result if isinstance(result, tuple) else (result,)


def _axes(a: Attributes, axes: Array | None) -> tuple[int, ...] | None:
    given = a.get("axes") if axes is None else axes.tolist()
    return tuple(given) if given is not None and len(given) else None


def _reduce(function: Callable[..., Array]) -> Operator:
    def reduce(a: Attributes, x: Array, axes: Array | None = None) -> Array:
        return function(x, axis=_axes(a, axes), keepdims=bool(a.get("keepdims", 1))).astype(x.dtype)

    return reduce


def _unsqueeze(a: Attributes, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, _axes(a, axes) or ())


def _squeeze(a: Attributes, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, _axes(a, axes))


def _reshape(a: Attributes, x: Array, shape: Array) -> Array:
    wanted = shape.tolist()
    if not a.get("allowzero"):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


def _expand(a: Attributes, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _gemm(a: Attributes, x: Array, w: Array, b: Array | None = None) -> Array:
    product = (x.T if a.get("transA") else x) @ (w.T if a.get("transB") else w)
    product = product * np.float32(a.get("alpha", 1.0))
    return product if b is None else product + b * np.float32(a.get("beta", 1.0))


def _softmax(a: Attributes, x: Array) -> Array:
    axis = a.get("axis", -1)
    exponential = np.exp(x - x.max(axis=axis, keepdims=True)) if x.size else x
    share: Array = exponential / exponential.sum(axis=axis, keepdims=True)
    return share


def _slice(
    a: Attributes, x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    cut: list[slice] = [slice(None)] * x.ndim
    on = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, step in zip(on, starts.tolist(), ends.tolist(), by, strict=True):
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _scatter(a: Attributes, x: Array, index: Array, update: Array) -> Array:
    scattered, axis = np.array(x), a.get("axis", 0)
    if a.get("reduction", "none") == "none":
        np.put_along_axis(scattered, index, update.astype(x.dtype), axis)
    else:
        grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
        grid[axis] = index
        np.add.at(scattered, tuple(grid), update)
    return scattered


def _split(a: Attributes, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis = a.get("axis", 0)
    if sizes is None:
        return tuple(np.split(x, a["num_outputs"], axis))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _top_k(a: Attributes, x: Array, count: Array) -> tuple[Array, Array]:
    """Along the only axis, best first; of equal values the one with the lower index."""
    k = int(count.reshape(-1)[0])
    if k == 0:
        return x[:0], np.zeros(0, np.int64)
    at = np.arange(len(x))
    if k < len(x):
        least = np.partition(x, len(x) - k)[len(x) - k]
        above = np.flatnonzero(x > least)
        at = np.concatenate([above, np.flatnonzero(x == least)[: k - len(above)]])
    best = at[np.lexsort((at, -x[at]))][:k]
    return x[best], best.astype(np.int64)


def _integer_product(a: Attributes, x: Array, w: Array, *rest: Array) -> Array:
    """uint8 times int8: integers below 2 ** 24, which float32 adds up exactly, and fast."""
    scale_x, scale_w, zero_x, zero_w = rest[:4]
    codes = x.astype(np.float32) - np.float32(zero_x)
    product = np.empty((*x.shape[:-1], w.shape[1]), np.float32)
    for start in range(0, w.shape[1], AT_ONCE):
        part = w[:, start : start + AT_ONCE].astype(np.float32)
        product[..., start : start + AT_ONCE] = codes @ (part - np.float32(zero_w) if zero_w.any() else part)
    scaled: Array = product * (scale_x * scale_w)
    return scaled


def _blocks_product(a: Attributes, x: Array, codes: Array, scales: Array, *_: Array) -> Array:
    """MatMulNBits with one block per row: task vectors are quantized to INT8, as onnxruntime's kernel does."""
    if codes.shape[1] != 1 or a.get("accuracy_level") != 4:
        raise ValueError("MatMulNBits: expected one block per row and accuracy level 4")
    step = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    rounded = np.rint(x / np.where(step > 0, step, np.float32(1)))
    product = np.empty((len(x), len(codes)), np.float32)
    for start in range(0, len(codes), AT_ONCE):
        part = codes[start : start + AT_ONCE, 0]
        if a["bits"] == 4:
            part = np.stack([part & 15, part >> 4], axis=2).reshape(len(part), -1)
        wide = part.astype(np.float32) - np.float32(1 << (a["bits"] - 1))
        product[:, start : start + AT_ONCE] = rounded @ wide.T
    scaled: Array = product * step * scales
    return scaled


def _pad(a: Attributes, x: Array, pads: Array, value: Array | None = None) -> Array:
    half = len(pads) // 2
    width = list(zip(pads[:half].tolist(), pads[half:].tolist(), strict=True))
    return np.pad(x, width, constant_values=0 if value is None else value)


def _shift(a: Attributes, x: Array, by: Array) -> Array:
    shifted: Array = np.right_shift(x, by) if a["direction"] == "RIGHT" else np.left_shift(x, by)
    return shifted


def _divided(a: Attributes, x: Array, y: Array) -> Array:
    quotient: Array = np.floor_divide(x, y) if x.dtype.kind in "iu" else np.divide(x, y)
    return quotient


def _sigmoid(a: Attributes, x: Array) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-x))


def _joined(function: Callable[..., Array]) -> Operator:
    def join(a: Attributes, *values: Array) -> Array:
        joined = values[0]
        for value in values[1:]:
            joined = function(joined, value)
        return joined

    return join


def _plain(function: Callable[..., Array]) -> Operator:
    def apply(a: Attributes, *values: Array) -> Array:
        return np.asarray(function(*values))

    return apply


OPERATORS: Mapping[str, Operator] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "BitShift": _shift,
    "BitwiseAnd": _plain(np.bitwise_and),
    "Cast": lambda a, x: x.astype(TYPES[a["to"]]),
    "Concat": lambda a, *x: np.concatenate(x, axis=a["axis"]),
    "Constant": lambda a: next(iter(a.values())),
    "Div": _divided,
    "Einsum": lambda a, *x: np.einsum(a["equation"].replace(" ", ""), *x),
    "Equal": _plain(np.equal),
    "Exp": _plain(np.exp),
    "Expand": _expand,
    "Gather": lambda a, x, index: np.take(x, index, axis=a.get("axis", 0)),
    "Gemm": _gemm,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": lambda a, x: x,
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Log": _plain(np.log),
    "MatMul": _plain(np.matmul),
    "MatMulIntegerToFloat": _integer_product,
    "MatMulNBits": _blocks_product,
    "Max": _joined(np.maximum),
    "Min": _joined(np.minimum),
    "Mod": lambda a, x, y: np.fmod(x, y) if a.get("fmod") else np.mod(x, y),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pad": _pad,
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "Relu": lambda a, x: np.maximum(x, x.dtype.type(0)),
    "Reshape": _reshape,
    "Round": _plain(np.rint),
    "ScatterElements": _scatter,
    "Shape": lambda a, x: np.array(x.shape[a.get("start", 0) : a.get("end")], np.int64),
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Tanh": _plain(np.tanh),
    "TopK": _top_k,
    "Transpose": lambda a, x: np.transpose(x, a.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(np.where),
}
