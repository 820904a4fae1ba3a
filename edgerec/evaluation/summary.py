"""A report on one screen: each task from stage to stage beside the best of the rest, costs of a stage, the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgerec.evaluation.report import STAGES, Report, Table, figure, main_figure
from edgerec.evaluation.verdict import combine

__all__ = ["lines", "tables"]


def tables(report: Report) -> Iterator[Table]:
    """Quality by task, and costs by stage."""
    stages = [stage for stage in STAGES if stage in report.metrics]
    rows = tuple(_row(report, task, stages) for task in _tasks(report))
    columns = ("task", "figure", *stages, "int8 / teacher", "best of the rest")
    yield Table(f"{report.name}, {report.part}: value ± standard error", columns, rows, len(stages) + 1)
    if report.costs:
        yield Table(
            "What a stage costs here",
            ("stage", "MB", "memory, MB", "multiplications", "ms a request"),
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


def _tasks(report: Report) -> Iterator[str]:
    for task, figures in report.metrics.get("int8", {}).items():
        if main_figure(figures):
            yield task


def _row(report: Report, task: str, stages: list[str]) -> tuple[str, ...]:
    name = main_figure(report.metrics["int8"][task]) or ""
    values = [report.metrics[stage].get(task, {}).get(name) for stage in stages]
    first, last = report.metrics[stages[0]].get(task, {}).get(name), report.metrics["int8"][task][name]
    known = "teacher" in stages and first is not None and first.value and math.isfinite(last.value)
    share = f"{last.value / first.value:.1%}" if known and first is not None else "-"
    return task, name, *map(figure, values), share, _best_other(report, task, name)


def _best_other(report: Report, task: str, name: str) -> str:
    others = {s: of[task][name] for s, of in report.metrics.items() if s not in STAGES and name in of.get(task, {})}
    known = {s: e.value for s, e in others.items() if math.isfinite(e.value)}
    if not known:
        return "-"
    best = max(known, key=lambda s: known[s])
    return f"{best.replace('_', ' ')} {known[best]:.4f}"
