"""A report on one screen: quality of each task by stage, costs of each stage, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgerec.evaluation.findings import NOT_SIMPLE
from edgerec.evaluation.report import STAGES, Report, Table, figure
from edgerec.evaluation.verdict import combine
from edgerec.metrics import Estimate, main_metric

__all__ = ["best_baseline", "lines", "tables"]

OTHERS = (*STAGES, *NOT_SIMPLE)
"""Models in the tables that are no simple baselines."""


def tables(report: Report) -> Iterator[Table]:
    """Quality by task, and costs by stage."""
    stages = [stage for stage in STAGES if stage in report.metrics]
    main_of = {task: main_metric(values) for task, values in report.metrics.get("int8", {}).items()}
    rows = tuple(_row(report, task, main, stages) for task, main in main_of.items() if main is not None)
    columns = ("task", "metric", *stages, "share", "best baseline")
    yield Table(
        f"{report.name}, {report.part}; share: int8 / teacher; standard errors: --tables",
        columns,
        rows,
        len(stages) + 2,
    )
    if report.costs:
        yield Table(
            "Costs of each stage on this machine",
            ("stage", "MB", "memory, MB", "multiplications", "ms per request"),
            tuple(
                (
                    stage, f"{of['bytes'] / 1e6:,.2f}", f"{of['mb']:,.1f}" if "mb" in of else "-",
                    f"{of['macs']:,.0f}", f"{of['ms']:.2f}",
                )
                for stage, of in report.costs.items()
            ),
            numbers=4,
        )  # fmt: skip


def lines(report: Report) -> list[str]:
    """The verdict with its reasons."""
    return combine(report, None).lines()


def best_baseline(report: Report, task: str, metric: str) -> tuple[str, float] | None:
    """Name and value of the best simple baseline of a task, None without baselines."""
    baselines = {name: of[task] for name, of in report.metrics.items() if name not in OTHERS and task in of}
    known = {
        name.replace("_", " "): values[metric].value
        for name, values in baselines.items()
        if metric in values and math.isfinite(values[metric].value)
    }
    return max(known.items(), key=lambda entry: entry[1]) if known else None


def _row(report: Report, task: str, metric: str, stages: list[str]) -> tuple[str, ...]:
    values = [report.metrics[stage].get(task, {}).get(metric) for stage in stages]
    teacher = report.metrics.get("teacher", {}).get(task, {}).get(metric)
    int8 = report.metrics["int8"][task][metric]
    share = "-"
    if teacher is not None and teacher.value and math.isfinite(int8.value):
        share = f"{int8.value / teacher.value:.1%}"
    best = best_baseline(report, task, metric)
    shown = (figure(value).partition(" ±")[0] for value in values)
    return task, metric, *shown, share, "-" if best is None else figure(Estimate(best[1], 1))
