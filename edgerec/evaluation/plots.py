"""The report's plots: each as SVG inside the page, which takes the page's colours, and as PNG beside it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgerec.evaluation.report import STAGES, Report, main_figure
from edgerec.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ablations", "plots", "write_png"]

INK: Final = "#123456"
"""Stands for the page's text colour, by which it is replaced in an SVG."""
COLORS: Final = ("#0f8a6d", "#d9822b", "#5b6ee1", "#c2457a", "#7f8c2e", "#3a9fbf", "#9a6a4f")


def plots(report: Report) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption and figure of each plot that the report has data for."""
    for name, caption, draw in _PLOTS:
        figure = draw(report)
        if figure is not None:
            yield name, caption, figure


def ablations(found: Mapping[str, Any]) -> Figure:
    """What each change adds to each task with its interval of 95 %, of one part of ablations.json."""
    metrics, changes = found["metrics"], found["changes"]
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
    """An inline SVG; its text is text, in the page's colour."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # Ids of several plots in one page must not meet.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{label}-", text)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', rf'<svg role="img" aria-label="{label}" \1', text, count=1
    )


def write_png(figure: Figure, path: Path) -> None:
    """On white."""
    figure.savefig(path, dpi=150, facecolor="white")


def _axes(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many inches, and its axes row by row."""
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
    tasks = [t for t in report.metrics.get("int8", {}) if main_figure(report.metrics["int8"][t])]
    if not tasks:
        return None
    figure, axes = _axes(min(2.5 * len(tasks), 12), 2.7, len(tasks))
    for ax, task in zip(axes, tasks, strict=True):
        name = main_figure(report.metrics["int8"][task]) or ""
        stages = [s for s in report.metrics if s in STAGES and name in report.metrics[s].get(task, {})]
        others = {s: m[task][name] for s, m in report.metrics.items() if s not in STAGES and name in m.get(task, {})}
        values = [report.metrics[s][task][name] for s in stages]
        errors = [v.se if math.isfinite(v.se) else 0.0 for v in values]
        ax.errorbar(range(len(stages)), [v.value for v in values], errors, fmt="o", capsize=3, color=COLORS[0])
        known = {s: e.value for s, e in others.items() if math.isfinite(e.value)}
        if known:
            best = max(known, key=lambda s: known[s])
            ax.axhline(known[best], color=COLORS[1], linewidth=1, linestyle="--", label=best.replace("_", " "))
            ax.legend(fontsize=7, frameon=False, labelcolor=INK)
        ax.set_xticks(range(len(stages)), stages, fontsize=7.5, rotation=30)
        ax.set_xlim(-0.4, len(stages) - 0.6)
        _titled(ax, task, y=name)
    return figure


def _pareto(report: Report) -> Figure | None:
    """Quality kept of the teacher against bytes and time."""
    stages = [s for s in STAGES if s in report.costs and s in report.metrics]
    if len(stages) < 2:
        return None
    figure, axes = _axes(8, 3, 2)
    kept = {s: _share_of_teacher(report, s) for s in stages}
    for ax, key, unit in ((axes[0], "bytes", "MB"), (axes[1], "ms", "ms a request, one thread")):
        scale = 1e6 if key == "bytes" else 1.0
        costs = [report.costs[s][key] / scale for s in stages]
        ax.plot(costs, [kept[s] for s in stages], color=INK, alpha=0.3, linewidth=1)
        for i, stage in enumerate(stages):
            ax.plot(costs[i], kept[stage], "o", color=COLORS[i])
            ax.annotate(
                stage, (costs[i], kept[stage]), xytext=(5, 5), textcoords="offset points", fontsize=8, color=INK
            )
        ax.set_xscale("log")
        ax.margins(x=0.2, y=0.3)
        _titled(ax, "", x=unit, y="share of the teacher's quality")
    return figure


def _share_of_teacher(report: Report, stage: str) -> float:
    """Mean over tasks of the main figure over the teacher's."""
    ratios = []
    for task in report.fidelity.get("int8 ~ teacher", report.metrics["teacher"]):
        figures = report.metrics["teacher"].get(task, {})
        name = main_figure(figures)
        mine = report.metrics[stage].get(task, {}).get(name or "")
        if name and mine is not None and figures[name].value and math.isfinite(mine.value):
            ratios.append(mine.value / figures[name].value)
    return sum(ratios) / len(ratios) if ratios else math.nan


def _reliability(report: Report) -> Figure | None:
    """Rate of each bin of rows against the mean probability that was said."""
    tasks = list(report.reliability.get("int8", {}))
    if not tasks:
        return None
    figure, axes = _axes(min(2.8 * len(tasks), 12), 2.8, len(tasks))
    for ax, task in zip(axes, tasks, strict=True):
        most = 0.0
        for i, stage in enumerate(s for s in ("teacher", "int8") if task in report.reliability.get(s, {})):
            bins = report.reliability[stage][task]
            said, found = [b[0] for b in bins], [b[1] for b in bins]
            most = max([most, *said, *found])
            ax.plot(said, found, "o-", markersize=3, linewidth=1, label=stage, color=COLORS[i])
        ax.plot([0, most], [0, most], color=INK, alpha=0.4, linewidth=0.8, linestyle=":")
        _legend(ax)
        _titled(ax, task, x="probability said", y="rate found")
    return figure


def _learning(report: Report) -> Figure | None:
    """Losses by epoch."""
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
        _titled(ax, stage, x="step", y="of the first value")
    return figure


def _segments(report: Report) -> Figure | None:
    """Teacher and bundle for each part, for the first task that has parts."""
    by_part: dict[str, dict[str, Estimate]] = {}
    shown: tuple[str, str] | None = None
    for name, tasks in report.segments.items():
        stage, _, part = name.partition(", ")
        for task, figures in tasks.items():
            main = main_figure(figures)
            if main and (shown is None or shown == (task, main)):
                shown = (task, main)
                by_part.setdefault(part, {})[stage] = figures[main]
    if shown is None:
        return None
    figure, (ax,) = _axes(8, 0.8 + 0.22 * len(by_part))
    for i, stage in enumerate(("teacher", "int8")):
        rows = [(at, of[stage]) for at, of in enumerate(by_part.values()) if stage in of]
        errors = [e.se if math.isfinite(e.se) else 0.0 for _, e in rows]
        ax.errorbar(
            [e.value for _, e in rows], [at + 0.12 * (2 * i - 1) for at, _ in rows], xerr=errors, fmt="o",
            markersize=3.5, linewidth=1, color=COLORS[i], label=stage,
        )  # fmt: skip
    ax.set_yticks(range(len(by_part)), list(by_part), fontsize=7.5)
    ax.invert_yaxis()
    _legend(ax)
    _titled(ax, shown[0], x=shown[1])
    return figure


def _inputs(report: Report) -> Figure | None:
    """What the bundle loses when it is not told a part of a request."""
    told = report.inputs
    metrics = {task: name for of in told.values() for task, figures in of.items() for name in figures}
    if not metrics:
        return None
    changes = {
        change: {task: of[task][name].to_json() for task, name in metrics.items() if task in of}
        for change, of in told.items()
    }
    return ablations({"metrics": metrics, "changes": changes})


_PLOTS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("chain", "Quality from stage to stage; bars are standard errors, the dashed line is the best baseline.", _chain),
    (
        "pareto",
        "What is kept of the teacher's quality against what it costs; both scales of costs are logarithmic.",
        _pareto,
    ),
    (
        "reliability",
        "Are probabilities true? Each point is a bin of equally many rows; the dotted line is the truth.",
        _reliability,
    ),
    ("learning", "Losses while learning, as shares of their first value.", _learning),
    ("inputs", "What the bundle loses when it is not told all; bars are intervals of 95 %.", _inputs),
    ("segments", "For whom: teacher and bundle by part of the users, items and contexts.", _segments),
)
