"""Shapes in which metrics travel: of one task, of one model, and of all that a report compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from edgerec.metrics.estimate import Estimate

__all__ = ["MetricTable", "ModelMetrics", "TaskMetrics", "main_metric", "metrics_from_json", "metrics_to_json"]

TaskMetrics: TypeAlias = dict[str, Estimate]
"""Metrics of one task, by name: "ndcg@10", "auc", ..."""
ModelMetrics: TypeAlias = dict[str, TaskMetrics]
"""Metrics of one model, by task."""
MetricTable: TypeAlias = dict[str, ModelMetrics]
"""Metrics by what is compared: a stage, a baseline, a difference of two stages, or a part of the users or items."""

MAIN = ("ndcg@10", "auc", "xauc", "capped_recall@10")


def main_metric(names: Iterable[str]) -> str | None:
    """The metric by which a task is shown where there is room for one only.

    >>> main_metric({"mrr": 0.3, "ndcg@10": 0.2})
    'ndcg@10'
    """
    known = set(names)
    return next((name for name in MAIN if name in known), None)


def metrics_to_json(table: MetricTable) -> dict[str, dict[str, dict[str, Any]]]:
    """As plain values: `{STAGE: {TASK: {METRIC: {"value", "se", "n"}}}}`."""
    return {
        stage: {task: {name: estimate.to_json() for name, estimate in of.items()} for task, of in tasks.items()}
        for stage, tasks in table.items()
    }


def metrics_from_json(values: Mapping[str, Any]) -> MetricTable:
    """What `metrics_to_json` gave."""
    return {
        stage: {task: {name: Estimate.from_json(e) for name, e in of.items()} for task, of in tasks.items()}
        for stage, tasks in values.items()
    }
