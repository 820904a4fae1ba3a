"""The student of a bundle as functions over arrays, run by the native engine, by onnxruntime or by numpy."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, Protocol, TypeAlias, get_args

from edgerec.bundle import Bundle
from edgerec.bundle.size import STUDENT
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime.arguments import short
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, Matrix

EngineName: TypeAlias = Literal["auto", "native", "onnxruntime", "numpy"]
"""auto: native where its library loads, the bundle has student.bin, and the answers are the bundle's own; else
onnxruntime where it is installed, else numpy."""
CHECKED = 8
"""Conformance requests that "auto" asks the native engine before it is used; `Recommender.check` asks all."""

INSTALL = 'pip install "edgerec[onnx]"'
"""What brings the engines that read a bundle's graphs."""
CONFORMANCE = "conformance.json"
OUTPUTS = {
    "recommend.onnx": ("item", "utility", "probability", "reason"),
    "score.onnx": ("utility", "probability", "reason"),
    "similar.onnx": ("related", "score"),
    "vectors.onnx": ("vector",),
}


@dataclass(eq=False, repr=False)  # not frozen: made for every request, and freezing takes time
class Ranked:
    """Scored items of one request; R items, T tasks, L history events. numpy reads each part by ``np.asarray``.

    Attributes:
        item: int64 (R,), item indices; best first from `Engine.recommend`, as given from `Engine.score`.
        utility: float32 (R,), weighted sum of the tasks; -inf marks an item that is not a candidate.
        probability: float32 (R, T); a regression task's expectation is in the task's unit.
        reason: float32 (R, L), how much each item of the history added to the utility.
        history: int64 (L,), item indices of the history.
    """

    item: Ints
    utility: Floats
    probability: Matrix
    reason: Matrix
    history: Ints

    def take(self, at: Sequence[int]) -> Ranked:
        """The items at these positions."""
        item, utility = array("q", [self.item[i] for i in at]), array("f", [self.utility[i] for i in at])
        return Ranked(item, utility, self.probability.take(at), self.reason.take(at), self.history)


class Scoring(Protocol):
    """What scores the requests of a recommender: the bundle's `Engine`, or models in place of it."""

    def recommend(self, request: Encoded, weights: Floats, exclude: Ints, k: int) -> Ranked:
        """The k items of highest utility; `weights` (T,), `exclude` item indices, 1 <= k <= n_items."""

    def score(self, request: Encoded, weights: Floats, candidates: Ints) -> Ranked:
        """The given items, in their order."""

    def similar(self, item: int, exclude: Ints, k: int) -> tuple[Ints, Floats]:
        """The k items that most often share a session with `item`: indices and probabilities."""


class Engine(Scoring, Protocol):
    """Runs the student of a bundle; thread-safe.

    Attributes:
        name: an `EngineName` other than "auto".
    """

    name: str

    def vectors(self, items: Ints) -> Matrix:
        """Rows (n, dim) of the item table, for item indices (n,).

        Raises:
            BundleError: the bundle was built by an edgerec that did not write vectors.onnx.
        """

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
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
    if not find_spec("numpy"):
        raise MissingExtraError(f"{bundle.folder}: its graphs need onnxruntime, or numpy at least: {INSTALL}")
    from edgerec.runtime.graphs import GraphEngine  # loaded on use: it needs numpy

    return GraphEngine(bundle, engine)


@cache
def say_once(line: str) -> None:
    """A line of the log, once in a process: an app may open bundles again and again."""
    import logging  # loaded on use, since it takes time that most starts can do without

    logging.getLogger(__name__).warning(line)
