"""Quality gates: which metrics of a student or a bundle are lower than the settings allow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgerec.config import EvaluationConfig
from edgerec.evaluation.fidelity import DIFFERENCES, OVERLAP, RETAINED
from edgerec.metrics import MetricTable, ModelMetrics

__all__ = ["MIN_OVERLAP", "broken_gates", "float32_failures", "teacher_failures"]

MIN_OVERLAP = {"int8": 0.95, "int4": 0.8, "pq": 0.8}
"""Gate on the overlap of the ten best with float32 weights, by kind of table, where the settings give none."""
ONE_SIDED = 1.645
"""Standard errors of a one-sided interval of 95 %."""


def broken_gates(fidelity: MetricTable, gates: EvaluationConfig, table: str) -> tuple[str, ...]:
    """Gates of ``[evaluation]`` that a bundle breaks, one line each.

    `fidelity` holds "int8 ~ teacher" and "int8 ~ pruned"; `table` is the kind of the bundle's item table.
    """
    min_overlap = MIN_OVERLAP[table] if gates.min_overlap is None else gates.min_overlap
    of_teacher, of_float32 = fidelity.get("int8 ~ teacher", {}), fidelity.get("int8 ~ pruned", {})
    return (
        *teacher_failures(of_teacher, gates.min_ndcg_retained, gates.max_auc_drop),
        *float32_failures(of_float32, min_overlap, gates.max_auc_drop),
    )


def teacher_failures(metrics: ModelMetrics, min_ndcg_retained: float, max_auc_drop: float) -> list[str]:
    """Metrics of a model compared with its teacher, see `edgerec.evaluation.fidelity`, that break a gate: a line each.

    A gate is broken where the one-sided 95 % interval lies below it, so that a few requests alone do not break it.
    """
    gates = {RETAINED: (min_ndcg_retained, "of the teacher's quality is retained")}
    gates |= {
        name: (-max_auc_drop, f"is the difference of its {name} to the teacher's") for name in DIFFERENCES.values()
    }
    return _below(metrics, gates)


def float32_failures(metrics: ModelMetrics, min_overlap: float, max_auc_drop: float) -> list[str]:
    """The same for a graph compared with the float32 weights that it was made of."""
    lists = {OVERLAP: (min_overlap, "of the ten best are those of the same weights in float32")}
    rows = {
        name: (-max_auc_drop, f"is the difference of its {name} to that of the same weights in float32")
        for name in DIFFERENCES.values()
    }
    return [
        line
        for task, values in metrics.items()
        for line in _below({task: values}, lists if OVERLAP in values else rows)
    ]


def _below(metrics: ModelMetrics, gates: Mapping[str, tuple[float, str]]) -> list[str]:
    lines = []
    for task, values in metrics.items():
        for name, (gate, what) in gates.items():
            estimate = values.get(name)
            if estimate is None or not np.isfinite(estimate.value):
                continue
            error = estimate.se if np.isfinite(estimate.se) else 0.0
            if estimate.value + ONE_SIDED * error < gate:
                lines.append(f"{task}: {estimate.value:.4f} ±{error:.4f} {what}, the gate is {gate:g}")
    return lines
