"""The three graphs of a bundle as functions over arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgerec.bundle import Bundle
from edgerec.errors import BundleError
from edgerec.tasks import Encoded

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]


OUTPUTS = {
    "recommend.onnx": ("item", "utility", "probability", "reason"),
    "score.onnx": ("utility", "probability", "reason"),
    "similar.onnx": ("related", "score"),
}
_TYPES: dict[str, type] = {"tensor(int64)": np.int64, "tensor(float)": np.float32}


@dataclass  # not frozen: made for every request, and freezing costs as much as a numpy call
class Ranked:
    """Scored items of one request; R items, T tasks, L history events.

    Attributes:
        item: int64 (R,), item indices; best first from `Engine.recommend`, as given from `Engine.score`.
        utility: float32 (R,), weighted sum of the tasks; -inf marks an item that is no candidate.
        probability: float32 (R, T); a regression task's expectation is in the task's unit.
        reason: float32 (R, L), how much each item of the history added to the utility.
        history: int64 (L,), item indices of the history.
    """

    item: Int
    utility: Float
    probability: Float
    reason: Float
    history: Int


class Scoring(Protocol):
    """What scores the requests of a `Recommender`: the bundle's `Engine`, or a stand-in for it."""

    def recommend(self, request: Encoded, weights: Float, exclude: Int, k: int) -> Ranked:
        """The k items of highest utility; `weights` (T,), `exclude` item indices, 1 <= k <= n_items."""

    def score(self, request: Encoded, weights: Float, candidates: Int) -> Ranked:
        """The given items, in their order."""

    def similar(self, item: int, exclude: Int, k: int) -> tuple[Int, Float]:
        """The k items that most often share a session with `item`: indices and probabilities."""


class Engine:
    """Runs recommend.onnx, score.onnx and similar.onnx; thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        """Load recommend.onnx; the other graphs are loaded when first used.

        Raises:
            BundleError: the graph does not load.
        """
        self._bundle = bundle
        self._lock = Lock()
        self._recommend = self._load("recommend.onnx")

    @cached_property
    def _score(self) -> _Graph:
        return self._load("score.onnx")

    @cached_property
    def _similar(self) -> _Graph:
        return self._load("similar.onnx")

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
        found, score = graph.run({"item": np.array(item, np.int64), "exclude": exclude, "k": np.array(k, np.int64)})
        return found, score

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Run "recommend.onnx", "score.onnx" or "similar.onnx" on JSON inputs; outputs by name."""
        graph = self._recommend if name == "recommend.onnx" else self._load(name)
        return dict(zip(OUTPUTS[name], graph.run(graph.cast(inputs)), strict=True))

    def _load(self, name: str) -> _Graph:
        return _Graph(self._bundle, name, OUTPUTS[name])


class _Graph:
    """One session, fed and read by names."""

    def __init__(self, bundle: Bundle, name: str, outputs: Sequence[str]) -> None:
        path = bundle.path(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(bundle.manifest.device.get("threads", 1))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # By path, not by bytes: weights.bin is then memory-mapped and shared by the graphs.
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common root
            raise BundleError(f"{path}: does not load ({_first_line(error)}); build the bundle again") from error
        # A bundle without categorical context has no such input: feed only what the graph takes.
        self._types = {i.name: _TYPES.get(i.type) for i in self._session.get_inputs()}
        self._inputs = list(self._types)
        self._outputs = list(outputs)
        missing = set(outputs) - {o.name for o in self._session.get_outputs()}
        if missing or None in self._types.values():
            raise BundleError(f"{path}: not a graph of this format (no {', '.join(missing)}); build the bundle again")

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if len(inputs) > len(self._inputs):
            inputs = {name: inputs[name] for name in self._inputs}
        return self._session.run(self._outputs, inputs)  # type: ignore[no-any-return]

    def cast(self, inputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """JSON values as the arrays that the graph takes."""
        return {name: np.asarray(inputs[name], dtype) for name, dtype in self._types.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
