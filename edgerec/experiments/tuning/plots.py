"""A search as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgerec.experiments.tuning.report import TrialRow, TuningReport

INK, BLUE, LIGHT, ORANGE, GREY = "#222222", "#2f6db3", "#a9c6e8", "#d1702a", "#9a9a9a"


def plot_history(report: TuningReport, path: Path) -> Path:
    """The metric of every trial in the order of the trials, with standard errors, and the best value so far."""
    done = sorted((row for row in report.trials if row.value is not None), key=lambda row: row.trial)
    early = [row.trial for row in report.trials if row.state == "ended early"]
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    numbers, values = [row.trial for row in done], [_value(row) for row in done]
    errors = [row.se or 0.0 for row in done]
    axes.errorbar(numbers, values, errors, fmt="none", ecolor=LIGHT, elinewidth=2, zorder=1, label="± standard error")
    so_far = _best_so_far(values, report.higher_is_better)
    end = max(row.trial for row in report.trials)
    axes.step([*numbers, end], [*so_far, so_far[-1]], where="post", color=BLUE, label="best so far")
    axes.scatter(numbers, values, s=28, color=BLUE, zorder=3, label="trial")
    best, baseline = report.best, report.baseline
    if best is not None:
        axes.scatter([best.trial], [_value(best)], s=120, facecolor="none", edgecolor=ORANGE, linewidth=2, zorder=4)
        place, away = ((0, 14), "bottom") if report.higher_is_better else ((0, -14), "top")
        axes.annotate(
            f"{_value(best):.4f}", (best.trial, _value(best)), place, textcoords="offset points",
            ha="center", va=away, color=ORANGE,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    if baseline is not None:
        axes.axhline(_value(baseline), color=INK, linestyle=":", linewidth=1, zorder=0, label="current settings")
    if early:
        axes.plot(
            early, [0.02] * len(early), "x", color=GREY, transform=axes.get_xaxis_transform(), label="ended early"
        )
    better = "higher" if report.higher_is_better else "lower"
    axes.set(xlabel="trial (number)", ylabel=f"{report.metric}\non valid ({better} is better)")
    axes.margins(y=0.18)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(figure, f"Search: {len(done)} trials finished, {len(early)} ended early")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    figure.savefig(path)
    return path


def plot_importance(report: TuningReport, path: Path) -> Path:
    """How much of the metric's variance each key explains."""
    keys = sorted(report.importance, key=lambda key: report.importance[key])
    shares = [100 * report.importance[key] for key in keys]
    figure = Figure(figsize=(8, 1.6 + 0.4 * len(keys)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(keys, shares, color=BLUE, height=0.6)
    axes.bar_label(bars, fmt="%.0f %%", padding=4, color=INK)
    axes.set(xlabel=f"share of the variance of {report.metric} over the space (%, fANOVA)", xlim=(0, 112))
    axes.set_xticks(range(0, 101, 20))
    done = sum(row.state == "done" for row in report.trials)
    _finish(figure, f"Importance of settings, from {done} finished trials", "x")
    figure.savefig(path)
    return path


def _value(row: TrialRow) -> float:
    assert row.value is not None
    return row.value


def _best_so_far(values: list[float], higher: bool) -> list[float]:
    return [(max if higher else min)(values[: place + 1]) for place in range(len(values))]


def _finish(figure: Figure, title: str, lines: Literal["both", "x"] = "both") -> None:
    (axes,) = figure.axes
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(axis=lines, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
