"""The engines that read a bundle's graphs, by onnxruntime or by numpy; both need numpy."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, Protocol

import numpy as np

from edgerec.bundle import Bundle
from edgerec.errors import BundleError, MissingExtraError
from edgerec.runtime.engine import OUTPUTS, Ranked
from edgerec.runtime.onnx_file import WEIGHTS, Array, read_graph
from edgerec.runtime.sessions import session
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, Matrix

_TYPES: dict[str, type] = {"tensor(int64)": np.int64, "tensor(float)": np.float32}


class GraphEngine:
    """Runs the graphs of a bundle with onnxruntime or numpy; thread-safe."""

    def __init__(self, bundle: Bundle, engine: str) -> None:
        """Read and check all graphs, and load recommend.onnx; the others are loaded from memory when first used.

        So nothing that happens to the bundle's files afterwards is noticed: they may be exchanged, cut off, or deleted.
        Raises:
            BundleError: a graph is damaged, has an operator that no graph of ours has, or does not load.
            MissingExtraError: onnxruntime is requested and not installed.
        """
        self.name = engine
        self._bundle, self._threads = bundle, int(bundle.manifest.device.get("threads", 1))
        self._weights = bundle.read(WEIGHTS)
        self._graphs = {name: bundle.read(name) for name in OUTPUTS if name in bundle.manifest.files}
        for name, content in self._graphs.items():
            read_graph(content, self._weights, str(bundle.folder / name))
        self._lock = Lock()
        self._recommend = self._load("recommend.onnx")

    @cached_property
    def _score(self) -> _Graph:
        return self._load("score.onnx")

    @cached_property
    def _similar(self) -> _Graph:
        return self._load("similar.onnx")

    @cached_property
    def _vectors(self) -> _Graph:
        return self._load("vectors.onnx")

    def recommend(self, request: Encoded, weights: Floats, exclude: Ints, k: int) -> Ranked:
        """See `Scoring`."""
        feed = {**vars(request), "task_weights": weights, "exclude": exclude, "k": k}
        item, utility, probability, reason = self._recommend.run(feed)
        return Ranked(_ints(item), _floats(utility), _rows(probability), _rows(reason), request.history)

    def score(self, request: Encoded, weights: Floats, candidates: Ints) -> Ranked:
        """See `Scoring`."""
        with self._lock:
            graph = self._score
        utility, probability, reason = graph.run({**vars(request), "task_weights": weights, "candidates": candidates})
        return Ranked(candidates, _floats(utility), _rows(probability), _rows(reason), request.history)

    def similar(self, item: int, exclude: Ints, k: int) -> tuple[Ints, Floats]:
        """See `Scoring`.

        Raises:
            BundleError: the bundle was built without a "related" task.
        """
        with self._lock:
            graph = self._similar
        items, score = graph.run({"item": item, "exclude": exclude, "k": k})
        return _ints(items), _floats(score)

    def vectors(self, items: Ints) -> Matrix:
        """See `Engine`."""
        with self._lock:
            graph = self._vectors
        return _rows(graph.run({"item": items})[0])

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See `Engine`."""
        if name not in OUTPUTS:
            raise KeyError(name)
        graph = self._recommend if name == "recommend.onnx" else self._load(name)
        return dict(zip(OUTPUTS[name], map(_buffer, graph.run(inputs)), strict=True))

    def _load(self, name: str) -> _Graph:
        opened: _Session
        source = str(self._bundle.path(name))
        if self.name == "numpy":
            from edgerec.runtime.numpy_session import NumpySession  # loaded on use

            opened = NumpySession(self._graphs[name], self._weights, source)
        else:
            opened = _OnnxruntimeSession(self._graphs[name], self._weights, source, self._threads)
        return _Graph(opened, OUTPUTS[name], source)


class _Session(Protocol):
    """A graph as an engine loads it.

    Attributes:
        inputs: numpy type by name. outputs: names.
    """

    inputs: dict[str, type]
    outputs: list[str]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        """The named outputs."""


class _Graph:
    """One session, fed and read by names."""

    def __init__(self, opened: _Session, outputs: Sequence[str], source: str) -> None:
        # A bundle without categorical context has no such input: feed only what the graph takes.
        self._source, self._session, self._types = source, opened, opened.inputs
        self._outputs = list(outputs)
        missing = set(outputs) - set(opened.outputs)
        if missing or not set(self._types.values()) <= set(_TYPES.values()):
            raise BundleError(f"{source}: not a graph of this format (no {', '.join(missing)}); build the bundle again")

    def run(self, inputs: Mapping[str, Any]) -> Sequence[Array]:
        """From buffers or JSON values, by name."""
        arrays: dict[str, Array] = {name: np.asarray(inputs[name], kind) for name, kind in self._types.items()}
        try:
            return self._session.run(self._outputs, arrays)
        except BundleError:
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common root
            raise BundleError(f"{self._source}: cannot be run ({_first_line(error)}); build it again") from error


class _OnnxruntimeSession:
    """As `NumpySession`, by onnxruntime."""

    def __init__(self, graph: bytes, weights: bytes, source: str, threads: int) -> None:
        try:
            opened = session(graph, threads, weights)
        except MissingExtraError:
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common root
            raise BundleError(f"{source}: does not load ({_first_line(error)}); build the bundle again") from error
        self.inputs: dict[str, type] = {i.name: _TYPES.get(i.type, object) for i in opened.get_inputs()}
        self.outputs = [o.name for o in opened.get_outputs()]
        self.run = opened.run


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


def _ints(values: Array) -> Ints:
    return array("q", values.astype(np.int64, copy=False).tobytes())


def _floats(values: Array) -> Floats:
    return array("f", values.astype(np.float32, copy=False).tobytes())


def _rows(values: Array) -> Matrix:
    return Matrix(_floats(values), values.shape[1], len(values))


def _buffer(values: Array) -> Ints | Floats | Matrix:
    return _ints(values) if values.dtype.kind in "iu" else _rows(values) if values.ndim == 2 else _floats(values)
