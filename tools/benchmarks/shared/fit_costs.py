"""The constants of `edgerec.stages.cost`, fitted to measured runs."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from edgerec.config import Config
from edgerec.config.effort import LogSize
from edgerec.stages import cost
from edgerec.stages.pipeline import STAGES
from tools.benchmarks.shared.measured import Cost

__all__ = ["Run", "fitted", "parts_s"]

STIFFNESS = 0.1
"""Weight of a constant as it was, beside the runs: it holds constants of work that the runs have too little of."""
UNKNOWN = 0.5
"""A constant that is not known, or was 0, is held as if it made up this much of its part's time, in that run in which
such a constant is least."""
ROUNDS, MOST_OFF = 12, 4.0
"""Fits in all, each with the weights that follow from the one before; what is foretold counts as off by at most so many
times."""
LEAST_S = 0.5
"""Errors are relative to the time, but not to less than this."""


@dataclass(frozen=True)
class Run:
    """A measured run: its settings with all that was chosen, the size of its log, and how fast the machine was."""

    config: Config
    size: LogSize
    probe: Mapping[str, float]
    cores: int
    costs: Sequence[Cost]


def parts_s(costs: Sequence[Cost], known: Collection[cost.Part]) -> dict[cost.Part, float]:
    """Measured seconds of the `known` parts; all others belong to the rest of their stage."""
    names = {stage.title: stage.name for stage in STAGES}
    seconds: dict[cost.Part, float] = {}
    for c in costs:
        if c.path[0] in names:
            stage = names[c.path[0]]
            if len(c.path) == 1:
                seconds[stage, cost.REST] = seconds.get((stage, cost.REST), 0.0) + c.wall_s
            elif len(c.path) == 2 and (stage, c.path[1]) in known:
                seconds[stage, c.path[1]] = c.wall_s
                seconds[stage, cost.REST] = seconds.get((stage, cost.REST), 0.0) - c.wall_s
    return seconds


def fitted(runs: Sequence[Run], before: Mapping[str, Mapping[str, float]]) -> dict[str, object]:
    """The content of cost.json: constants with which each part's time is as measured, in the mean square of ratios.

    Args:
        before: constants as they were, which a few runs cannot tell apart.
    """
    there = {name: statistics.median(run.probe[name] for run in runs) for name in runs[0].probe}
    factors = [statistics.geometric_mean(run.probe[name] / there[name] for name in there) for run in runs]
    seconds: dict[str, dict[str, float]] = {}
    parts = cost.work(runs[0].config, runs[0].size)
    for part in parts:
        counts, measured = [], []
        for run, factor in zip(runs, factors, strict=True):
            if part in (of_run := parts_s(run.costs, parts)):
                counts.append(cost.work(run.config, run.size, run.cores)[part])
                measured.append(max(of_run[part], 0.0) / factor)
        seconds["/".join(part)] = _constants(counts, measured, before.get("/".join(part), {}))
    return {"probe": there, "seconds": seconds}


def _constants(counts: Sequence[cost.Work], measured: Sequence[float], before: Mapping[str, float]) -> dict[str, float]:
    """One part's seconds for each unit of each kind of work."""
    if not counts:
        return dict(before)
    names = list(counts[0])
    units = np.array([[work.get(name, 0.0) for name in names] for work in counts])
    seconds = np.array(measured)
    known = np.array([before.get(name, 0.0) for name in names])
    as_before = units @ known
    known = known * float(np.median(seconds / np.maximum(as_before, 1e-9))) if as_before.all() else known
    each = np.divide(seconds[:, None], units, out=np.full(units.shape, np.inf), where=units > 0).min(axis=0)
    unknown = np.where(np.isfinite(each), UNKNOWN * each, 0.0)
    hold = STIFFNESS / np.maximum(known, np.maximum(unknown, 1e-30))
    right = np.maximum(seconds, LEAST_S)
    found, scale = known, 1 / right
    # Least squares with such weights end where those of logarithms would: too long counts as much as too short.
    for _ in range(ROUNDS):
        left = np.vstack([units * scale[:, None], np.diag(hold)])
        # Columns of one size, since the numbers of rows and of snapshots lie nine powers of ten apart.
        size = np.maximum(np.linalg.norm(left, axis=0), 1e-30)
        found = nnls(left / size, np.concatenate([seconds * scale, hold * known]))[0] / size
        ratio = np.clip(units @ found / right, 1 / MOST_OFF, MOST_OFF)
        off = np.where(np.abs(ratio - 1) < 1e-6, 1.0, np.log(ratio) / np.where(ratio == 1, 1, ratio - 1))
        scale = np.sqrt(off / ratio) / right
    return {name: float(f"{value:.3g}") for name, value in zip(names, found, strict=True)}
