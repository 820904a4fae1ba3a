"""The student of a bundle as functions over arrays, run by the native engine, by onnxruntime or by numpy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from threading import Lock
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edgerec.bundle import Bundle
from edgerec.bundle.size import STUDENT
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime.arguments import short
from edgerec.runtime.onnx_file import WEIGHTS, Array, read_graph
from edgerec.runtime.sessions import session
from edgerec.tasks import Encoded

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]
EngineName: TypeAlias = Literal["auto", "native", "onnxruntime", "numpy"]
"""auto: native where its library loads, the bundle has student.bin, and the answers are the bundle's own; else
onnxruntime where it is installed, else numpy."""
CHECKED = 8
"""Conformance requests that "auto" asks the native engine before it is used; `Recommender.check` asks all."""

CONFORMANCE = "conformance.json"
OUTPUTS = {
    "recommend.onnx": ("item", "utility", "probability", "reason"),
    "score.onnx": ("utility", "probability", "reason"),
    "similar.onnx": ("related", "score"),
    "vectors.onnx": ("vector",),
}
_TYPES: dict[str, type] = {"tensor(int64)": np.int64, "tensor(float)": np.float32}


@dataclass(eq=False, repr=False)  # not frozen: made for every request, and freezing costs as much as a numpy call
class Ranked:
    """Scored items of one request; R items, T tasks, L history events.

    Attributes:
        item: int64 (R,), item indices; best first from `Engine.recommend`, as given from `Engine.score`.
        utility: float32 (R,), weighted sum of the tasks; -inf marks an item that is not a candidate.
        probability: float32 (R, T); a regression task's expectation is in the task's unit.
        reason: float32 (R, L), how much each item of the history added to the utility.
        history: int64 (L,), item indices of the history.
    """

    item: Int
    utility: Float
    probability: Float
    reason: Float
    history: Int

    def take(self, at: Array) -> Ranked:
        """The items at these positions."""
        return Ranked(self.item[at], self.utility[at], self.probability[at], self.reason[at], self.history)


class Scoring(Protocol):
    """What scores the requests of a recommender: the bundle's `Engine`, or models in place of it."""

    def recommend(self, request: Encoded, weights: Float, exclude: Int, k: int) -> Ranked:
        """The k items of highest utility; `weights` (T,), `exclude` item indices, 1 <= k <= n_items."""

    def score(self, request: Encoded, weights: Float, candidates: Int) -> Ranked:
        """The given items, in their order."""

    def similar(self, item: int, exclude: Int, k: int) -> tuple[Int, Float]:
        """The k items that most often share a session with `item`: indices and probabilities."""


class Engine(Scoring, Protocol):
    """Runs the student of a bundle; thread-safe.

    Attributes:
        name: an `EngineName` other than "auto".
    """

    name: str

    def vectors(self, items: Int) -> Float:
        """Rows (n, dim) of the item table, for item indices (n,).

        Raises:
            BundleError: the bundle was built by an edgerec that did not write vectors.onnx.
        """

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """What the graph "recommend.onnx", "score.onnx" or "similar.onnx" gives for JSON inputs; outputs by name."""


def open_engine(bundle: Bundle, engine: EngineName = "auto") -> Engine:
    """The engine of this name for a bundle.

    With "auto" a native engine that cannot be used is left out, with one line that says why.

    Raises:
        BundleError: a part of the bundle is damaged, or was built without what the engine reads.
        ConfigError: no engine has this name. MissingExtraError: it is not installed.
    """
    if not isinstance(engine, str) or engine not in get_args(EngineName):
        raise ConfigError(f"engine: expected one of {', '.join(get_args(EngineName))}, got {short(engine)}")
    if engine == "native" or (engine == "auto" and STUDENT in bundle.manifest.files):
        from edgerec.runtime.native import NativeEngine  # loaded on use

        try:
            native = NativeEngine.of(bundle)
            if engine == "auto" and CONFORMANCE in bundle.manifest.files:
                from edgerec.runtime.conformance import check_conformance

                check_conformance(bundle, native, CHECKED)
            return native
        except (BundleError, MissingExtraError) as error:
            if engine == "native":
                raise
            say_once(f"{error}: the bundle's graphs are used instead")
    if engine == "auto":
        engine = "onnxruntime" if find_spec("onnxruntime") else "numpy"
    return GraphEngine(bundle, engine)


@cache
def say_once(line: str) -> None:
    """A line of the log, once in a process: an app may open bundles again and again."""
    logging.getLogger(__name__).warning(line)


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

    def recommend(self, request: Encoded, weights: Float, exclude: Int, k: int) -> Ranked:
        """See `Scoring`."""
        feed = {**vars(request), "task_weights": weights, "exclude": exclude, "k": np.array(k, np.int64)}
        item, utility, probability, reason = self._recommend.run(feed)
        return Ranked(item, utility, probability, reason, request.history)

    def score(self, request: Encoded, weights: Float, candidates: Int) -> Ranked:
        """See `Scoring`."""
        with self._lock:
            graph = self._score
        feed = {**vars(request), "task_weights": weights, "candidates": candidates}
        utility, probability, reason = graph.run(feed)
        return Ranked(candidates, utility, probability, reason, request.history)

    def similar(self, item: int, exclude: Int, k: int) -> tuple[Int, Float]:
        """See `Scoring`.

        Raises:
            BundleError: the bundle was built without a "related" task.
        """
        with self._lock:
            graph = self._similar
        items, score = graph.run({"item": np.array(item, np.int64), "exclude": exclude, "k": np.array(k, np.int64)})
        return items, score

    def vectors(self, items: Int) -> Float:
        """See `Engine`."""
        with self._lock:
            graph = self._vectors
        return graph.run({"item": items})[0]

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """See `Engine`."""
        if name not in OUTPUTS:
            raise KeyError(name)
        graph = self._recommend if name == "recommend.onnx" else self._load(name)
        return dict(zip(OUTPUTS[name], graph.run(graph.cast(inputs)), strict=True))

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
        self._inputs = list(self._types)
        self._outputs = list(outputs)
        missing = set(outputs) - set(opened.outputs)
        if missing or not set(self._types.values()) <= set(_TYPES.values()):
            raise BundleError(f"{source}: not a graph of this format (no {', '.join(missing)}); build the bundle again")

    def run(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        if len(inputs) > len(self._inputs):
            inputs = {name: inputs[name] for name in self._inputs}
        try:
            return self._session.run(self._outputs, inputs)
        except BundleError:
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common root
            raise BundleError(f"{self._source}: cannot be run ({_first_line(error)}); build it again") from error

    def cast(self, inputs: Mapping[str, object]) -> dict[str, Array]:
        """JSON values as the arrays that the graph takes."""
        return {name: np.asarray(inputs[name], dtype) for name, dtype in self._types.items()}


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
