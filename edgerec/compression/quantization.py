"""Writes the graphs of a student with their weights, and the requests with answers by which runtimes check
themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgerec.bundle.size import STUDENT, WEIGHTS
from edgerec.compression.engine_file import engine_file
from edgerec.compression.export import ExportedStudent
from edgerec.compression.graph import ManifestTensor, pack
from edgerec.compression.graphs import (
    Expectation,
    ItemTable,
    recommend_graph,
    score_graph,
    similar_graph,
    vectors_graph,
)
from edgerec.examples.load import LearningData
from edgerec.runtime.sessions import session
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import floats, ints

K = 10
"""Length of the lists in conformance.json."""
COLD_ONE_IN = 10
"""One conformance request in this many has no history."""
RELATED = 32
"""Most items whose related items are in conformance.json."""


@dataclass(frozen=True)
class WrittenGraphs:
    """Graphs in a folder with their weights.bin, and student.bin.

    Attributes:
        names: of the graphs. files: names of all files.
        tensors: of weights.bin, as the manifest lists them.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    tensors: list[ManifestTensor]


def write_graphs(
    exported: ExportedStudent, kernel: str, table: str, expectations: Mapping[str, Expectation], folder: Path
) -> WrittenGraphs:
    """Write all graphs of a student and their weights into `folder`, and the same for the native engine.

    Args:
        kernel, table: names as for `make_kernel`.
    """
    items = ItemTable.of(exported, kernel, table)
    builders = [recommend_graph(exported, items, expectations), score_graph(exported, items, expectations)]
    if exported.relation is not None:
        builders.append(similar_graph(exported, items))
    builders.append(vectors_graph(items, exported.table.shape[1]))
    models, tensors = pack(builders, folder / WEIGHTS)
    for builder, model in zip(builders, models, strict=True):
        (folder / f"{builder.name}.onnx").write_bytes(model)
    names = tuple(f"{builder.name}.onnx" for builder in builders)
    engine = engine_file(exported, items, expectations)
    if engine is None:
        return WrittenGraphs(names, (*names, WEIGHTS), tensors)
    (folder / STUDENT).write_bytes(engine)
    return WrittenGraphs(names, (*names, WEIGHTS, STUDENT), tensors)


def conformance(
    n_items: int, tasks: int, folder: Path, encoded: Sequence[Encoded], with_related: bool
) -> dict[str, Any]:
    """Requests with the answers of this machine, the content of conformance.json.

    Args:
        folder: of the graphs. encoded: requests of the training split.
        with_related: also ask for related items.
    """
    requests: list[dict[str, Any]] = []
    recommend = session(folder / "recommend.onnx")
    known = {i.name for i in recommend.get_inputs()}
    k = min(K, n_items)
    for number, warm in enumerate(encoded):
        request = _cold(warm) if number % COLD_ONE_IN == COLD_ONE_IN - 1 else warm
        # All tasks, then each alone, in turn.
        weights = np.ones(tasks, np.float32) if number % (tasks + 1) == 0 else np.eye(tasks, dtype=np.float32)[
            number % (tasks + 1) - 1
        ]  # fmt: skip
        exclude = warm.history[: number % 4]
        inputs = {**vars(request), "task_weights": weights, "exclude": exclude, "k": np.array(k, np.int64)}
        feed = {name: np.asarray(value) for name, value in inputs.items() if name in known}
        item, utility, probability, _ = recommend.run(None, feed)
        if np.isfinite(utility).all():
            expect = {"item": item.tolist(), "utility": _short(utility, 7), "probability": _short(probability, 7)}
            requests.append({"inputs": {n: _short(v, 9) for n, v in feed.items()}, "expect": expect})
    if with_related and n_items > k:
        similar = session(folder / "similar.onnx")
        for item in range(min(len(encoded), n_items, RELATED)):
            feed = {"item": np.array(item), "exclude": np.zeros(0, np.int64), "k": np.array(k, np.int64)}
            related, score = similar.run(None, feed)
            if np.isfinite(score).all():
                requests.append({"graph": "similar.onnx", "inputs": {n: _short(v, 9) for n, v in feed.items()},
                                 "expect": {"related": related.tolist(), "score": _short(score, 7)}})  # fmt: skip
    return {"requests": requests}


def _short(values: npt.NDArray[Any], digits: int) -> Any:
    """For JSON, with this many significant digits; nine represent a float32 exactly."""
    if values.dtype.kind != "f":
        return values.tolist()
    return [_short(v, digits) for v in values] if values.ndim else float(f"{float(values):.{digits}g}")


def _cold(request: Encoded) -> Encoded:
    """The same request without a history."""
    nothing = {name: value[:0] for name, value in vars(request).items() if name.startswith("history")}
    return replace(request, **nothing, context_numeric=floats([0.0] * len(request.context_numeric)))


def some_requests(data: LearningData, count: int) -> Iterator[Encoded]:
    """Requests evenly spread over the training split; some have no history."""
    source = data.train.sessions or data.train.impressions
    assert source is not None
    requests = source.requests
    for r in np.linspace(0, len(requests) - 1, min(count, len(requests))).astype(np.int64):
        batch = requests.batch(np.array([r]))
        length = int(batch.present.sum())
        yield Encoded(
            history=ints(batch.item[0, :length]),
            history_kind=ints(batch.kind[0, :length]),
            history_count=floats(batch.count[0, :length]),
            history_age_h=floats(batch.age_h[0, :length]),
            history_interval_h=floats(batch.interval_h[0, :length]),
            context_categorical=ints(batch.categorical[0]),
            context_numeric=floats(batch.numeric[0]),
        )
