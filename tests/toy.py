"""A tiny bundle whose scores are dot products, with the graphs' real signature.

The logit of item i is its prior plus, for each item h of the history, ``count_h / (1 + age_h) * V[h] . V[i]``; task t
adds a bias. So everything that the runtime does around a graph can be checked by hand, without a trained model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgerec.bundle import write_bundle, write_catalog
from edgerec.devices import load_profile
from edgerec.tasks import Categorical, Multi, Numeric, RequestEncoder, Task

TASKS = (
    Task("next", "retrieval"),
    Task("click", "binary", "is_click"),
    Task("like", "binary", "is_like"),
    Task("watch", "regression", "watched"),
)
SETTINGS = {
    "name": "toy",
    "data": {
        "interactions": "log.csv",
        "user": "customer",
        "item": "product",
        "time": "when",
        "context": {"categorical": ["tab"], "from_time": ["hour"]},
        "users": {"categorical": ["country"], "numeric": ["age"], "multi": ["tastes"]},
    },
    "task": [task.to_json() for task in TASKS],
}
BIAS = np.array([0.0, -1.0, -2.0, 1.0], np.float32)
NOW_MS = 1_700_000_000_000


def table(n_items: int, dim: int) -> np.ndarray:
    """Item vectors: neighbours i and i + 1 are alike."""
    angle = np.arange(n_items)[:, None] * np.linspace(0.1, 1.0, dim)
    return np.cos(angle).astype(np.float32) / np.float32(dim)


def prior(n_items: int) -> np.ndarray:
    """Falls with the index: without a history item 0 is first."""
    return np.linspace(0.5, -0.5, n_items, dtype=np.float32)


def encoder(with_context: bool = True) -> RequestEncoder:
    """Binary tasks "click" and "like"; context "tab" and "hour", user "country", "age" and "tastes" (several in a cell)
    if `with_context`."""
    columns = (
        Categorical("tab", "context", ("home", "search")),
        Categorical("country", "user", ("DE", "FR")),
        Categorical("hour", "time", tuple(map(str, range(24)))),
    )
    return RequestEncoder(
        binary=("click", "like"),
        rates=(0.2, 0.05),
        max_history=16,
        categorical=columns if with_context else (),
        numeric=(Numeric("age", "user", 40.0, 10.0),) if with_context else (),
        multi=(Multi("tastes", "user", ("sweet", "sour"), "|"),) if with_context else (),
    )


def _external(name: str, shape: Sequence[int], offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _int64(name: str, values: Any) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], constants: list[TensorProto]
) -> bytes:
    def value(name: str, shape: Any) -> onnx.ValueInfoProto:
        whole = ("history", "history_kind", "context_categorical", "exclude", "k", "item", "related", "candidates")
        kind = TensorProto.INT64 if name in whole else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "toy",
        [value(*i) for i in inputs.items()],
        [value(*o) for o in outputs.items()],
        initializer=constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(deterministic=True)


def _request_inputs(with_context: bool) -> dict[str, Any]:
    history = ("history", "history_kind", "history_count", "history_age_h", "history_interval_h")
    inputs: dict[str, Any] = {name: ["L"] for name in history}
    if with_context:
        inputs["context_categorical"] = ["C"]
    return {**inputs, "context_numeric": ["M"], "task_weights": ["T"]}


def _scores() -> list[onnx.NodeProto]:
    """all_utility [N], all_probability [N, T], all_reason [N, L]."""
    node = helper.make_node
    return [
        node("Add", ["history_age_h", "one"], ["aged"]),
        node("Div", ["history_count", "aged"], ["strength"]),
        node("Gather", ["table", "history"], ["past"]),
        node("Transpose", ["past"], ["past_t"]),
        node("MatMul", ["table", "past_t"], ["alike"]),
        node("Mul", ["alike", "strength"], ["all_reason"]),
        node("ReduceSum", ["all_reason", "axis_1"], ["pull"], keepdims=1),
        node("Unsqueeze", ["prior", "axis_1"], ["prior_column"]),
        node("Add", ["pull", "prior_column"], ["logit"]),
        node("Add", ["logit", "bias"], ["logits"]),
        node("Sigmoid", ["logits"], ["all_probability"]),
        node("MatMul", ["all_probability", "task_weights"], ["all_utility"]),
    ]


def _topk(scores: str, values: str, found: str) -> list[onnx.NodeProto]:
    """Leaves `exclude` out and takes the k best."""
    node = helper.make_node
    return [
        node("Shape", ["exclude"], ["n_exclude"]),
        node("Expand", ["minus_inf", "n_exclude"], ["minus_infs"]),
        node("ScatterElements", [scores, "exclude", "minus_infs"], ["allowed"]),
        node("Reshape", ["k", "shape_1"], ["k_1"]),
        node("TopK", ["allowed", "k_1"], [values, found]),
    ]


def graphs(n_items: int, dim: int, with_context: bool) -> dict[str, bytes]:
    """The graphs over one weights.bin: table, then prior, then bias."""
    size = 4 * n_items * dim
    weights = [
        _external("table", (n_items, dim), 0, size),
        _external("prior", (n_items,), size, 4 * n_items),
        _external("bias", (len(BIAS),), size + 4 * n_items, 4 * len(BIAS)),
    ]
    constants = [
        *weights,
        numpy_helper.from_array(np.float32(1), "one"),
        numpy_helper.from_array(np.float32(-np.inf), "minus_inf"),
        _int64("axis_1", [1]),
        _int64("shape_1", [1]),
    ]
    node = helper.make_node
    per_item = {"utility": ["R"], "probability": ["R", "T"], "reason": ["R", "L"]}
    take = [node("Gather", [f"all_{n}", "chosen"], [n]) for n in ("probability", "reason")]
    recommend = [*_scores(), *_topk("all_utility", "utility", "item"), node("Identity", ["item"], ["chosen"]), *take]
    score = [
        *_scores(),
        node("Identity", ["candidates"], ["chosen"]),
        *take,
        node("Gather", ["all_utility", "candidates"], ["utility"]),
    ]
    similar = [
        node("Gather", ["table", "item"], ["row"]),
        node("MatMul", ["table", "row"], ["alike"]),
        node("Reshape", ["item", "shape_1"], ["item_1"]),
        node("ScatterElements", ["alike", "item_1", "minus_inf_1"], ["others"]),
        *_topk("others", "score", "related"),
    ]
    request = _request_inputs(with_context)
    ranked = {"exclude": ["E"], "k": []}
    files = {
        "recommend.onnx": _model(recommend, {**request, **ranked}, {"item": ["R"], **per_item}, constants),
        "score.onnx": _model(score, {**request, "candidates": ["R"]}, per_item, constants),
    }
    minus_inf_1 = numpy_helper.from_array(np.array([-np.inf], np.float32), "minus_inf_1")
    outputs = {"related": ["R"], "score": ["R"]}
    files["similar.onnx"] = _model(similar, {"item": [], **ranked}, outputs, [*constants, minus_inf_1])
    vectors = [node("Gather", ["table", "item"], ["vector"])]
    files["vectors.onnx"] = _model(vectors, {"item": ["M"]}, {"vector": ["M", dim]}, constants)
    return files


def items(n_items: int) -> list[dict[str, Any]]:
    """Item i is "i<i>", costs i, is red or blue in turn, and has the tags "two" and "three" if these divide i; item 0
    has no colour and no tags."""
    return [
        {
            "id": f"i{i}",
            "title": f"Item {i}",
            "price": float(i),
            "colour": ("red", "blue")[i % 2] if i else None,
            "tags": [name for name, n in (("two", 2), ("three", 3)) if i % n == 0] or None if i else None,
        }
        for i in range(n_items)
    ]


def manifest(n_items: int, dim: int, with_context: bool = True) -> dict[str, Any]:
    """All of manifest.json but "format" and "files"."""
    size = 4 * n_items * dim
    return {
        "name": "toy",
        "version": 1,
        "created": "2024-01-01T00:00:00+00:00",
        "tasks": [{**task.to_json(), "index": i} for i, task in enumerate(TASKS)],
        "n_items": n_items,
        "dim": dim,
        "inputs": encoder(with_context).to_json(),
        "tensors": [
            {"name": "table", "type": "float32", "shape": [n_items, dim], "offset": 0, "bytes": size},
            {"name": "prior", "type": "float32", "shape": [n_items], "offset": size, "bytes": 4 * n_items},
            {"name": "bias", "type": "float32", "shape": [4], "offset": size + 4 * n_items, "bytes": 16},
        ],
        "settings": SETTINGS,
        "metrics": {},
        "device": load_profile("kiosk-x86").to_json(),
    }


def files(folder: Path, n_items: int, dim: int, with_context: bool = True) -> dict[str, bytes | Path]:
    """All files of the bundle but the manifest; `folder` takes the catalogue."""
    write_catalog(folder / "toy-catalog.sqlite", items(n_items), ["price", "colour", "tags"])
    weights = [table(n_items, dim), prior(n_items), BIAS]
    request = {
        "history": [],
        "history_kind": [],
        "history_count": [],
        "history_age_h": [],
        "history_interval_h": [],
        "context_categorical": [0, 0, 1],
        "context_numeric": [0.0] * 13,
        "task_weights": [1.0, 0.0, 0.0, 0.0],
        "exclude": [],
        "k": 2,
    }
    best = prior(n_items)[:2]
    expect = {"item": [0, 1], "utility": (1 / (1 + np.exp(-best))).tolist()}
    return {
        **graphs(n_items, dim, with_context),
        "weights.bin": b"".join(w.tobytes() for w in weights),
        "catalog.sqlite": folder / "toy-catalog.sqlite",
        "policy.json": b'{"weights": {"next": 1.0}, "where": null}',
        "conformance.json": json.dumps({"requests": [{"inputs": request, "expect": expect}]}).encode(),
        "report.json": b"{}",
    }


def write(
    folder: Path,
    n_items: int = 8,
    dim: int = 4,
    with_context: bool = True,
    version: int = 1,
    policy: dict[str, Any] | None = None,
) -> Path:
    """Write the toy bundle to ``folder/bundle``."""
    with TemporaryDirectory() as scratch:
        content = files(Path(scratch), n_items, dim, with_context)
        if policy is not None:
            content["policy.json"] = json.dumps(policy).encode()
        write_bundle(folder / "bundle", content, manifest(n_items, dim, with_context) | {"version": version})
    return folder / "bundle"
