"""The report's plots as small panels, one a task or stage: as SVG in the page, in its colours, and as PNG files.

Panels are small so that a page lays them out side by side on a desk and one below the other on a phone, where their
text keeps its size.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from edgerec.evaluation.report import STAGES, Report, segments_in_order
from edgerec.evaluation.summary import best_baseline
from edgerec.metrics import Estimate, TaskMetrics, main_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plot", "ablations", "plots", "svg", "write_png"]

INK: Final = "#123456"
"""A placeholder: in an SVG it is replaced by the text colour of the page."""
COLORS: Final = ("#0f8a6d", "#d9822b", "#5b6ee1", "#c2457a", "#7f8c2e", "#3a9fbf", "#9a6a4f")


WIDTH, HEIGHT = 3.9, 2.7
"""Of a panel, in inches; on a phone an inch is about 90 pixels, and 9 points are about 11."""
SMALL, TEXT = 8.5, 9.0
CUT = " An axis with two strokes across it does not begin at zero."
SMOOTHED = 12
"""A smoothed loss is the mean over this part of the curve."""


@dataclass(frozen=True)
class Plot:
    """Panels with one caption, by the task or stage that each is of; `folded`: under which title, if at all."""

    name: str
    caption: str
    panels: Mapping[str, Figure]
    folded: str = ""


def plots(report: Report) -> Iterator[Plot]:
    """Each plot that the report has data for."""
    for name, caption, draw in _PLOTS:
        panels = dict(draw(report))
        if panels:
            yield Plot(name, caption, panels, FOLDED.get(name, ""))


def ablations(content: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The change of each task's metric by each ablation, with 95 % intervals; `content` as in ablations.json."""
    changes = content["changes"]
    for task, metric in content["metrics"].items():
        figure, ax = _panel(0.95 + 0.24 * len(changes))
        rows = [(at, Estimate.from_json(of[task])) for at, of in enumerate(changes.values()) if task in of]
        reach = [1.96 * e.se if math.isfinite(e.se) else 0.0 for _, e in rows]
        ax.axvline(0, color=INK, alpha=0.4, linewidth=0.8)
        ax.errorbar(
            [e.value for _, e in rows], [at for at, _ in rows], xerr=reach, fmt="o", markersize=3.5, linewidth=1
        )
        _rows(ax, list(changes))
        _titled(ax, task, x=f"change of {metric}")
        yield task, figure


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


def _panel(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A panel of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    ax = figure.subplots()
    ax.tick_params(colors=INK, labelsize=SMALL)
    ax.locator_params(nbins=5)
    ax.set_prop_cycle(color=COLORS)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
        spine.set_linewidth(0.6)
    ax.grid(True, color=INK, alpha=0.12, linewidth=0.6)
    ax.set_axisbelow(True)
    return figure, ax


def _rows(ax: Axes, names: Sequence[str]) -> None:
    """Named rows instead of a y axis, the first one above, each with the same room."""
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    ax.set_ylim(len(names) - 0.4, -0.6)


def _titled(ax: Axes, title: str, x: str = "", y: str = "") -> None:
    ax.set_title(title, fontsize=TEXT + 1, color=INK, loc="left")
    ax.set_xlabel(x, fontsize=TEXT, color=INK)
    ax.set_ylabel(y, fontsize=TEXT, color=INK)


def _legend(ax: Axes, columns: int = 3) -> None:
    """Below the axes, where no data are."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.figure.legend(  # type: ignore[union-attr, unused-ignore]
            handles, labels, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False, labelcolor=INK,
            handlelength=1.4, columnspacing=1.0,
        )  # fmt: skip


def _mark_cut(ax: Axes, axis: str) -> None:
    """Two short strokes across the beginning of an axis that does not begin at zero."""
    low, high = ax.get_ylim() if axis == "y" else ax.get_xlim()
    if min(low, high) <= 0:
        return
    for shift in (0.03, 0.055):
        slanted = ([-0.018, 0.018], [shift - 0.012, shift + 0.012])
        x, y = slanted if axis == "y" else (slanted[1], slanted[0])
        ax.plot(x, y, transform=ax.transAxes, color=INK, linewidth=0.9, clip_on=False, label="_cut")


# ------------------------------------------------------------------------------------------------ plots

Panels: TypeAlias = Iterator[tuple[str, "Figure"]]


def _chain(report: Report) -> Panels:
    """Each task's quality, stage by stage, with the best baseline as a line."""
    for task, values in report.metrics.get("int8", {}).items():
        name = main_metric(values)
        if name is None:
            continue
        figure, ax = _panel()
        stages = [s for s in report.metrics if s in STAGES and name in report.metrics[s].get(task, {})]
        found = [report.metrics[s][task][name] for s in stages]
        errors = [v.se if math.isfinite(v.se) else 0.0 for v in found]
        ax.errorbar(range(len(stages)), [v.value for v in found], errors, fmt="o", capsize=3, color=COLORS[0])
        best = best_baseline(report, task, name)
        if best is not None:
            ax.axhline(best[1], color=COLORS[1], linewidth=1.2, linestyle="--", label=f"best baseline: {best[0]}")
        ax.set_xticks(range(len(stages)), stages, fontsize=SMALL)
        ax.set_xlim(-0.4, len(stages) - 0.6)
        ax.margins(y=0.1)
        _mark_cut(ax, "y")
        _legend(ax, 1)
        _titled(ax, task, y=name)
        yield task, figure


def _pareto(report: Report) -> Panels:
    """Retained quality of the teacher by size and by latency."""
    stages = [s for s in STAGES if s in report.costs and s in report.metrics]
    if len(stages) < 2:
        return
    retained = {s: 100 * _retained(report, s) for s in stages}
    for key, title, unit, scale in (("bytes", "size", "MB", 1e6), ("ms", "latency", "ms per request, one thread", 1.0)):
        figure, ax = _panel()
        costs = [report.costs[s][key] / scale for s in stages]
        ax.plot(costs, [retained[s] for s in stages], color=INK, alpha=0.3, linewidth=1)
        for i, stage in enumerate(stages):
            ax.plot(costs[i], retained[stage], "o", color=COLORS[i], label=stage)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.margins(x=0.12, y=0.2)
        _mark_cut(ax, "y")
        _legend(ax, 4)
        _titled(ax, title, x=unit, y="% of the teacher")
        yield title, figure


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


def _reliability(report: Report) -> Panels:
    """Observed rate by mean predicted probability, for bins of impressions."""
    for task in report.reliability.get("int8", {}):
        figure, ax = _panel()
        most = 0.0
        for i, stage in enumerate(s for s in ("teacher", "int8") if task in report.reliability.get(s, {})):
            bins = report.reliability[stage][task]
            predicted, observed = [b[0] for b in bins], [b[1] for b in bins]
            most = max([most, *predicted, *observed])
            ax.plot(predicted, observed, "o-", markersize=3, linewidth=1, label=stage, color=COLORS[i])
        ax.plot([0, most], [0, most], color=INK, alpha=0.4, linewidth=0.8, linestyle=":")
        _legend(ax)
        _titled(ax, task, x="predicted probability", y="observed rate")
        yield task, figure


def _learning(report: Report) -> Panels:
    """Losses by training step: smoothed, with the raw ones behind."""
    for stage, curves in report.curves.items():
        if not curves:
            continue
        figure, ax = _panel(HEIGHT + 0.22 * (-(-len(curves) // 2)))
        for i, (name, points) in enumerate(sorted(curves.items())):
            first = abs(points[0][1])
            steps, values = [s for s, _ in points], [v / first for _, v in points]
            color = COLORS[i % len(COLORS)]
            ax.plot(steps, values, linewidth=0.7, color=color, alpha=0.3)
            ax.plot(steps, smoothed(values), linewidth=1.6, color=color, label=name)
        ax.set_ylim(bottom=0)
        _legend(ax, 2)
        _titled(ax, stage, x="step", y="loss / first loss")
        yield stage, figure


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours on both sides, fewer at the ends.

    >>> smoothed([3.0, 0.0, 3.0])
    [1.5, 2.0, 1.5]
    """
    reach = max(1, len(values) // SMOOTHED)
    kept = np.asarray(values)
    return [float(kept[max(at - reach, 0) : at + reach + 1].mean()) for at in range(len(kept))]


def _segments(report: Report) -> Panels:
    """Teacher and bundle by segment, for each task that has segments."""
    by_task: dict[tuple[str, str], dict[str, TaskMetrics]] = {}
    for key in segments_in_order(report.segments):
        stage, _, segment = key.partition(", ")
        for task, values in report.segments[key].items():
            main = main_metric(values)
            if main:
                by_task.setdefault((task, main), {}).setdefault(segment, {})[stage] = values[main]
    for (task, metric), of_segment in by_task.items():
        figure, ax = _panel(1.1 + 0.24 * len(of_segment))
        for i, stage in enumerate(("teacher", "int8")):
            rows = [(at, of[stage]) for at, of in enumerate(of_segment.values()) if stage in of]
            errors = [e.se if math.isfinite(e.se) else 0.0 for _, e in rows]
            ax.errorbar(
                [e.value for _, e in rows], [at + 0.12 * (2 * i - 1) for at, _ in rows], xerr=errors, fmt="o",
                markersize=3.5, linewidth=1, color=COLORS[i], label=stage,
            )  # fmt: skip
        _rows(ax, [report.segment_title(segment) for segment in of_segment])
        _mark_cut(ax, "x")
        _legend(ax)
        _titled(ax, task, x=metric)
        yield task, figure


def _inputs(report: Report) -> Panels:
    """What the bundle loses without a part of its requests."""
    metrics = {task: name for of in report.inputs.values() for task, values in of.items() for name in values}
    changes = {
        change: {task: of[task][name].to_json() for task, name in metrics.items() if task in of}
        for change, of in report.inputs.items()
    }
    yield from ablations({"metrics": metrics, "changes": changes})


FOLDED = {"segments": "Plots of the segments, by task"}
_PLOTS: tuple[tuple[str, str, Callable[[Report], Panels]], ...] = (
    ("chain", "Quality by stage. Bars are standard errors." + CUT, _chain),
    ("pareto", "Quality that is left of the teacher's, by size and by latency on logarithmic scales." + CUT, _pareto),
    (
        "reliability",
        "Calibration: each point is a bin of equally many impressions; the dotted line is perfect calibration.",
        _reliability,
    ),
    ("inputs", "What the bundle loses without a part of its requests. Bars are 95 % intervals.", _inputs),
    (
        "segments",
        "Quality of teacher and bundle by segment of users, items and contexts. Bars are standard errors." + CUT,
        _segments,
    ),
    ("learning", "Losses divided by their first value: smoothed, the raw ones behind.", _learning),
)
