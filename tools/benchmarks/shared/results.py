"""Results of comparisons: stored with the settings that they depend on, compared on the same requests."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgerec.config import Config
from edgerec.metrics import Estimate, ModelMetrics

Metrics: TypeAlias = ModelMetrics
"""By task and name."""
Figure: TypeAlias = tuple[str, str]
"""A task and a metric."""
PAIRED = ("ndcg@10", "capped_recall@10", "auc", "gauc", "xauc", "mae")
"""Metrics whose deviations are stored, so that differences stay paired."""


def store(
    path: Path, name: str, config: Config, sections: Sequence[str], metrics: Metrics, more: Mapping[str, object]
) -> None:
    """Write a result, which depends on some sections of its settings, whole or not at all."""
    values = {
        task: {m: e.to_json(deviations=m in PAIRED) for m, e in estimates.items()}
        for task, estimates in metrics.items()
    }
    record = {"name": name, "settings": config.model_dump(mode="json", include={*sections}), **more, "metrics": values}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(path)


def read(path: Path) -> dict[str, Any]:
    """What `store` wrote."""
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return record


def finished(path: Path, config: Config) -> bool:
    """Is there a result, of these very settings as far as it depends on them?"""
    if not path.exists():
        return False
    settings = read(path)["settings"]
    return bool(settings == config.model_dump(mode="json", include={*settings}))


def metrics_of(path: Path) -> Metrics:
    """The metrics of a stored result."""
    return {
        task: {metric: Estimate.from_json(value) for metric, value in values.items()}
        for task, values in read(path)["metrics"].items()
    }


def at(metrics: Metrics, figure: Figure) -> Estimate | None:
    """One figure, if it was measured."""
    return metrics.get(figure[0], {}).get(figure[1])


def mean_of_seeds(seeds: Sequence[Metrics], figure: Figure) -> Estimate | None:
    """The mean of the seeds' values; its error is over the requests, which all seeds share."""
    each = [e for e in (at(metrics, figure) for metrics in seeds) if e is not None]
    if not each:
        return None
    deviations = [e.deviations for e in each if e.deviations is not None]
    whole = np.mean(deviations, axis=0) if len(deviations) == len(each) else None
    return Estimate(float(np.mean([e.value for e in each])), each[0].n, whole)


def spread(seeds: Sequence[Metrics], figure: Figure) -> float:
    """Standard deviation of the seeds' values; NaN for one seed."""
    values = [e.value for e in (at(metrics, figure) for metrics in seeds) if e is not None]
    return statistics.stdev(values) if len(values) > 1 else math.nan


def best_baseline(baselines: Mapping[str, Metrics], figure: Figure) -> str | None:
    """The one with the best value; of an error (mae) the lowest."""
    values = {name: e.value for name, metrics in baselines.items() if (e := at(metrics, figure)) is not None}
    if not values:
        return None
    return (min if figure[1] == "mae" else max)(values, key=lambda name: values[name])


def difference(seeds: Sequence[Metrics], other: Metrics, figure: Figure) -> Estimate | None:
    """Mean of the seeds minus another model, on the same requests."""
    ours, theirs = mean_of_seeds(seeds, figure), at(other, figure)
    return ours.minus(theirs) if ours is not None and theirs is not None else None


def gap(seeds: Sequence[Metrics], baselines: Mapping[str, Metrics], figure: Figure) -> tuple[str, str]:
    """The best baseline, and how much better the mean of the seeds is, as cells of a table."""
    best = best_baseline(baselines, figure)
    return (best, cell(difference(seeds, baselines[best], figure), signed=True)) if best else ("", "")


def title_of(figure: Figure) -> str:
    """A column's title."""
    return " ".join(figure)


def number(value: float) -> str:
    """Four decimals of a small number; an empty string for NaN."""
    return "" if math.isnan(value) else f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}"


def cell(estimate: Estimate | None, signed: bool = False) -> str:
    """Value and standard error."""
    if estimate is None:
        return ""
    sign = "+" if signed and estimate.value >= 0 else ""
    return f"{sign}{number(estimate.value)} ±{number(estimate.se)}"


def slug(name: str) -> str:
    """A name as part of a file's."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())
