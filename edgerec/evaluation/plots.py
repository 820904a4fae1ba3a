"""The report's plots: each as SVG inside the page, in the colours of the page, and as a PNG file."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgerec.evaluation.report import STAGES, Report
from edgerec.evaluation.summary import best_baseline
from edgerec.metrics import Estimate, TaskMetrics, main_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ablations", "plots", "write_png"]

INK: Final = "#123456"
"""A placeholder: in an SVG it is replaced by the text colour of the page."""
COLORS: Final = ("#0f8a6d", "#d9822b", "#5b6ee1", "#c2457a", "#7f8c2e", "#3a9fbf", "#9a6a4f")


def plots(report: Report) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption and figure of each plot that the report has data for."""
    for name, caption, draw in _PLOTS:
        figure = draw(report)
        if figure is not None:
            yield name, caption, figure


def ablations(content: Mapping[str, Any]) -> Figure:
    """The change of each task's metric by each ablation, with 95 % intervals; `content` as in ablations.json."""
    metrics, changes = content["metrics"], content["changes"]
    columns = min(len(metrics), 3)
    lines = -(-len(metrics) // columns)
    figure, axes = _axes(2.4 + 2.4 * columns, lines * (0.9 + 0.24 * len(changes)), columns, lines)
    for empty in axes[len(metrics) :]:
        empty.set_visible(False)
    for i, (ax, (task, metric)) in enumerate(zip(axes, metrics.items(), strict=False)):
        rows = [(at, Estimate.from_json(of[task])) for at, of in enumerate(changes.values())]
        reach = [1.96 * e.se if math.isfinite(e.se) else 0.0 for _, e in rows]
        ax.axvline(0, color=INK, alpha=0.4, linewidth=0.8)
        ax.errorbar(
            [e.value for _, e in rows], [at for at, _ in rows], xerr=reach, fmt="o", markersize=3.5, linewidth=1
        )
        ax.set_yticks(range(len(changes)), list(changes) if i % columns == 0 else [""] * len(changes), fontsize=7.5)
        ax.tick_params(axis="x", labelrotation=30, labelsize=7)
        ax.invert_yaxis()
        _titled(ax, task, x=f"change of {metric}")
    return figure


def svg(figure: Figure, label: str) -> str:
    """An inline SVG with selectable text in the colour of the page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # Ids of several plots in one page must not collide.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{label}-", text)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', rf'<svg role="img" aria-label="{label}" \1', text, count=1
    )


def write_png(figure: Figure, path: Path) -> None:
    """With a white background."""
    figure.savefig(path, dpi=150, facecolor="white")


def _axes(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many inches, and its axes, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.tick_params(colors=INK, labelsize=8)
        ax.set_prop_cycle(color=COLORS)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
            spine.set_linewidth(0.6)
        ax.grid(True, color=INK, alpha=0.12, linewidth=0.6)
        ax.set_axisbelow(True)
    return figure, axes


def _titled(ax: Axes, title: str, x: str = "", y: str = "") -> None:
    ax.set_title(title, fontsize=9, color=INK, loc="left")
    ax.set_xlabel(x, fontsize=8, color=INK)
    ax.set_ylabel(y, fontsize=8, color=INK)


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7.5, frameon=False, labelcolor=INK)


# ------------------------------------------------------------------------------------------------ plots


def _chain(report: Report) -> Figure | None:
    """Each task's quality, stage by stage, with the best baseline as a line."""
    main_of = {task: main_metric(values) for task, values in report.metrics.get("int8", {}).items()}
    shown = [(task, name) for task, name in main_of.items() if name is not None]
    if not shown:
        return None
    figure, axes = _axes(min(2.5 * len(shown), 12), 2.7, len(shown))
    for ax, (task, name) in zip(axes, shown, strict=True):
        stages = [s for s in report.metrics if s in STAGES and name in report.metrics[s].get(task, {})]
        values = [report.metrics[s][task][name] for s in stages]
        errors = [v.se if math.isfinite(v.se) else 0.0 for v in values]
        ax.errorbar(range(len(stages)), [v.value for v in values], errors, fmt="o", capsize=3, color=COLORS[0])
        best = best_baseline(report, task, name)
        if best is not None:
            ax.axhline(best[1], color=COLORS[1], linewidth=1, linestyle="--", label=best[0])
            ax.legend(fontsize=7, frameon=False, labelcolor=INK)
        ax.set_xticks(range(len(stages)), stages, fontsize=7.5, rotation=30)
        ax.set_xlim(-0.4, len(stages) - 0.6)
        _titled(ax, task, y=name)
    return figure


def _pareto(report: Report) -> Figure | None:
    """Retained quality of the teacher by size and by latency."""
    stages = [s for s in STAGES if s in report.costs and s in report.metrics]
    if len(stages) < 2:
        return None
    figure, axes = _axes(8, 3, 2)
    retained = {s: _retained(report, s) for s in stages}
    for ax, key, unit in ((axes[0], "bytes", "MB"), (axes[1], "ms", "ms per request, one thread")):
        scale = 1e6 if key == "bytes" else 1.0
        costs = [report.costs[s][key] / scale for s in stages]
        ax.plot(costs, [retained[s] for s in stages], color=INK, alpha=0.3, linewidth=1)
        for i, stage in enumerate(stages):
            ax.plot(costs[i], retained[stage], "o", color=COLORS[i])
            ax.annotate(
                stage, (costs[i], retained[stage]), xytext=(5, 5), textcoords="offset points", fontsize=8, color=INK
            )
        ax.set_xscale("log")
        ax.margins(x=0.2, y=0.3)
        _titled(ax, "", x=unit, y="quality / teacher's quality")
    return figure


def _retained(report: Report, stage: str) -> float:
    """Mean over tasks of the main metric divided by the teacher's."""
    ratios = []
    for task in report.fidelity.get("int8 ~ teacher", report.metrics["teacher"]):
        teacher = report.metrics["teacher"].get(task, {})
        name = main_metric(teacher)
        mine = report.metrics[stage].get(task, {}).get(name or "")
        if name and mine is not None and teacher[name].value and math.isfinite(mine.value):
            ratios.append(mine.value / teacher[name].value)
    return sum(ratios) / len(ratios) if ratios else math.nan


def _reliability(report: Report) -> Figure | None:
    """Observed rate by mean predicted probability, for bins of impressions."""
    tasks = list(report.reliability.get("int8", {}))
    if not tasks:
        return None
    figure, axes = _axes(min(2.8 * len(tasks), 12), 2.8, len(tasks))
    for ax, task in zip(axes, tasks, strict=True):
        most = 0.0
        for i, stage in enumerate(s for s in ("teacher", "int8") if task in report.reliability.get(s, {})):
            bins = report.reliability[stage][task]
            predicted, observed = [b[0] for b in bins], [b[1] for b in bins]
            most = max([most, *predicted, *observed])
            ax.plot(predicted, observed, "o-", markersize=3, linewidth=1, label=stage, color=COLORS[i])
        ax.plot([0, most], [0, most], color=INK, alpha=0.4, linewidth=0.8, linestyle=":")
        _legend(ax)
        _titled(ax, task, x="predicted probability", y="observed rate")
    return figure


def _learning(report: Report) -> Figure | None:
    """Losses by training step."""
    trained = [stage for stage, curves in report.curves.items() if curves]
    if not trained:
        return None
    figure, axes = _axes(5 * len(trained), 2.9, len(trained))
    for ax, stage in zip(axes, trained, strict=True):
        for i, (name, points) in enumerate(sorted(report.curves[stage].items())):
            first = abs(points[0][1])
            steps, values = [s for s, _ in points], [v / first for _, v in points]
            ax.plot(steps, values, "o-", markersize=2.5, linewidth=1, label=name, color=COLORS[i % len(COLORS)])
        ax.legend(fontsize=7, frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
        _titled(ax, stage, x="step", y="loss / first loss")
    return figure


def _segments(report: Report) -> Figure | None:
    """Teacher and bundle by segment, for the first task that has segments."""
    by_segment: dict[str, TaskMetrics] = {}
    shown: tuple[str, str] | None = None
    for name, tasks in report.segments.items():
        stage, _, segment = name.partition(", ")
        for task, values in tasks.items():
            main = main_metric(values)
            if main and (shown is None or shown == (task, main)):
                shown = (task, main)
                by_segment.setdefault(segment, {})[stage] = values[main]
    if shown is None:
        return None
    figure, (ax,) = _axes(8, 0.8 + 0.22 * len(by_segment))
    for i, stage in enumerate(("teacher", "int8")):
        rows = [(at, of[stage]) for at, of in enumerate(by_segment.values()) if stage in of]
        errors = [e.se if math.isfinite(e.se) else 0.0 for _, e in rows]
        ax.errorbar(
            [e.value for _, e in rows], [at + 0.12 * (2 * i - 1) for at, _ in rows], xerr=errors, fmt="o",
            markersize=3.5, linewidth=1, color=COLORS[i], label=stage,
        )  # fmt: skip
    ax.set_yticks(range(len(by_segment)), list(by_segment), fontsize=7.5)
    ax.invert_yaxis()
    _legend(ax)
    _titled(ax, shown[0], x=shown[1])
    return figure


def _inputs(report: Report) -> Figure | None:
    """What the bundle loses without a part of its requests."""
    metrics = {task: name for of in report.inputs.values() for task, values in of.items() for name in values}
    if not metrics:
        return None
    changes = {
        change: {task: of[task][name].to_json() for task, name in metrics.items() if task in of}
        for change, of in report.inputs.items()
    }
    return ablations({"metrics": metrics, "changes": changes})


_PLOTS: tuple[tuple[str, str, Callable[[Report], Figure | None]], ...] = (
    ("chain", "Quality by stage; bars are standard errors, the dashed line is the best baseline.", _chain),
    (
        "pareto",
        "Retained quality of the teacher by size and by latency, both on logarithmic scales.",
        _pareto,
    ),
    (
        "reliability",
        "Calibration: each point is a bin of equally many impressions; the dotted line is perfect calibration.",
        _reliability,
    ),
    ("learning", "Learning curves: losses divided by their first value.", _learning),
    ("inputs", "What the bundle loses without a part of its requests; bars are 95 % intervals.", _inputs),
    (
        "segments",
        "Quality of teacher and bundle by segment of users, items and contexts; bars are standard errors.",
        _segments,
    ),
)
