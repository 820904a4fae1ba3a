"""The result of a device search: the trials, the Pareto front, the choice and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from edgerec.config import Scalar
from edgerec.experiments.device_search.cost import Costs

CLOSE = 0.005
"""Bundles whose quality differs by no more than this share of the teacher's count as equally good: the smaller wins."""


@dataclass(frozen=True)
class SearchTrial:
    """Settings that were tried.

    Attributes:
        quality: share of the teacher's figures that the short bundle retains, as a mean over the tasks; None where it
            could not fit and was never trained. tasks: the share of each task.
        costs: expected on the device. over: figures that exceed its budget, each with its limit.
        front: is it on the Pareto front of quality, bytes and time?
    """

    number: int
    settings: Mapping[str, Scalar]
    quality: float | None
    tasks: Mapping[str, float]
    costs: Costs
    over: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    front: bool = False

    def on_front(self) -> SearchTrial:
        """The same, marked."""
        return replace(self, front=True)


class Check(NamedTuple):
    """What the cost model expected of the finished bundle on this machine, and what was measured."""

    expected: float
    measured: float


class Limit(NamedTuple):
    """A limit of the device's budget, and what was measured on this machine; None where it cannot be measured."""

    limit: float
    measured: float | None


@dataclass(frozen=True)
class SearchReport:
    """A search as it ended.

    Attributes:
        best: the choice; None where nothing fits.
        checked: of the finished bundle, by figure. measured: of the finished bundle, by figure of the budget.
    """

    device: str
    trials: tuple[SearchTrial, ...]
    best: SearchTrial | None
    checked: Mapping[str, Check]
    measured: Mapping[str, Limit]
    bundle: Path

    @property
    def why(self) -> str:
        """The choice in a sentence."""
        if self.best is None:
            return "nothing fits"
        trained = [row for row in self.trials if row.quality is not None]
        fitting = [row for row in trained if not row.over]
        most = max(row.quality or 0.0 for row in fitting)
        return (
            f"of {len(trained)} trained trials {len(fitting)} are inside the budget of {self.device}; the best of them "
            f"retains {most:.1%} of the teacher, and this one, with {self.best.quality:.1%}, is the smallest within "
            f"{CLOSE:.1%} of it"
        )

    def lines(self) -> Sequence[str]:
        """For the screen."""
        if self.best is None:
            return [self.why]
        settings = ", ".join(f"{key} = {value}" for key, value in self.best.settings.items())
        checks = "; ".join(f"{n} {c.expected:.3f}, measured {c.measured:.3f}" for n, c in self.checked.items())
        return [f"chosen: {settings}", f"because {self.why}", f"expected here: {checks}"]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """The trials that were trained, the Pareto front first, for the screen."""
        trained = (row for row in self.trials if row.quality is not None)
        rows = sorted(trained, key=lambda row: (not row.front, row.costs.bundle_mb))
        keys = list(rows[0].settings) if rows else []
        names = [key.partition(".")[2] + (" cut" if key.startswith("pruning.") else "") for key in keys]
        return ["front", "retained", "MB", "p95 ms", "RAM MB", "fits", *names], [
            [
                "*" if r.front else "", r.quality, r.costs.bundle_mb, r.costs.p95_ms, r.costs.peak_ram_mb,
                "no" if r.over else "yes", *(r.settings[key] for key in keys),
            ]
            for r in rows
        ]  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """The content of search.json."""
        return {
            "device": self.device,
            "why": self.why,
            "chosen": None if self.best is None else dict(self.best.settings),
            "checked": {name: check._asdict() for name, check in self.checked.items()},
            "budget": {name: limit._asdict() for name, limit in self.measured.items()},
            "trials": [asdict(row) for row in self.trials],
        }


def front(rows: Sequence[SearchTrial]) -> list[SearchTrial]:
    """The Pareto front: rows that no other row equals or beats in quality, bytes and time, and beats in one of them."""

    def figures(row: SearchTrial) -> tuple[float, float, float]:
        return (-(row.quality or 0.0), row.costs.bundle_mb, row.costs.p95_ms)

    def beaten(row: SearchTrial) -> bool:
        mine = figures(row)
        return any(
            all(a <= b for a, b in zip(figures(other), mine, strict=True)) and figures(other) != mine for other in rows
        )

    return [row for row in rows if not beaten(row)]


def chosen(rows: Sequence[SearchTrial]) -> SearchTrial | None:
    """The smallest of the rows inside the budget whose quality is as good as the best one's; None if no row fits."""
    fitting = [row for row in rows if row.quality is not None and not row.over]
    if not fitting:
        return None
    most = max(row.quality or 0.0 for row in fitting)
    close = [row for row in fitting if (row.quality or 0.0) >= most - CLOSE]
    return min(close, key=lambda row: (row.costs.bundle_mb, row.costs.p95_ms))
