"""Boosted trees as an ONNX graph: ONNX Runtime asks them in half of LightGBM's time.

A re-ranker answers for every label that a student learns from: that was an eighth of a run's CPU time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgerec.runtime.sessions import session
from edgerec.tasks.history import Float

if TYPE_CHECKING:
    import lightgbm

ZERO = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold."""


class Trees:
    """The trees of a booster with numeric features, and the answers of LightGBM but for the order of float32 sums."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        # One thread: several requests' candidates are asked for side by side.
        self._session = session(_graph(booster), threads=1)

    def __call__(self, features: Float) -> Float:
        """The scores (S,) of rows of features (S, F)."""
        scores: Float = self._session.run(None, {"features": features})[0][:, 0]
        return scores


def _graph(booster: lightgbm.Booster) -> bytes:
    from onnx import TensorProto, helper

    nodes: dict[str, list[Any]] = {f"nodes_{name}": [] for name in _OF_NODE}
    leaves: dict[str, list[Any]] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        _add(tree["tree_structure"], number, nodes, leaves)
    attributes: dict[str, Any] = {"domain": "ai.onnx.ml", "n_targets": 1, **nodes, **leaves}
    trees = helper.make_node("TreeEnsembleRegressor", ["features"], ["scores"], **attributes)
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, booster.num_feature()])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([trees], "trees", [features], [scores])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


_OF_NODE = (
    "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true"
)  # fmt: skip


def _add(node: dict[str, Any], tree: int, nodes: dict[str, list[Any]], leaves: dict[str, list[Any]]) -> int:
    """Add a node of LightGBM's dump and all below it; returns its number."""
    number = len(nodes["nodes_nodeids"])
    is_leaf = "split_feature" not in node
    row = (0, 0.0, "LEAF", 0, 0, 0) if is_leaf else _split(node)
    for column, value in zip(nodes.values(), (tree, number, *row), strict=True):
        column.append(value)
    if is_leaf:
        for column, value in zip(leaves.values(), (tree, number, 0, float(node["leaf_value"])), strict=True):
            column.append(value)
    else:
        nodes["nodes_truenodeids"][number] = _add(node["left_child"], tree, nodes, leaves)
        nodes["nodes_falsenodeids"][number] = _add(node["right_child"], tree, nodes, leaves)
    return number


def _split(node: dict[str, Any]) -> tuple[object, ...]:
    """A node that compares a number; where it did not learn from missing ones, they count as 0."""
    assert node["decision_type"] == "<=" and node["missing_type"] in ("None", "NaN")
    missing_goes_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
    threshold = _rounded_down(node["threshold"])
    return node["split_feature"], threshold, "BRANCH_LEQ", 0, 0, int(missing_goes_left)


def _rounded_down(value: float) -> float:
    """The largest float32 that goes left of a threshold `value`; LightGBM takes what is no larger than `ZERO` for 0."""
    if abs(value) <= ZERO:
        return ZERO if value >= 0 else float(np.nextafter(np.float32(-ZERO), np.float32(-np.inf)))
    most = float(np.finfo(np.float32).max)
    rounded = np.float32(np.clip(value, -most, most))
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > value else rounded)
