"""What a search for a device found: the trials, the front, the choice and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgerec.experiments.device_search.cost import Costs

CLOSE = 0.005
"""Quality that is not told apart: within half a percent of the teacher the smaller bundle is the better one."""


@dataclass(frozen=True)
class TrialRow:
    """Settings that were tried.

    Attributes:
        quality: share of the teacher's figures that the short bundle keeps, the mean of the tasks; None where it was
            hopeless and never trained. tasks: the same of each task.
        costs: expected on the device. over: what exceeds its budget, and the limit. front: nothing is better in
            quality, bytes and time alike.
    """

    number: int
    settings: Mapping[str, Any]
    quality: float | None
    tasks: Mapping[str, float]
    costs: Costs
    over: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    front: bool = False

    def on_front(self) -> TrialRow:
        """The same, marked."""
        return replace(self, front=True)


@dataclass(frozen=True)
class FitReport:
    """A search as it ended.

    Attributes:
        best: the choice; None where nothing fits.
        checked: of the finished bundle, what the cost model expected here, and what was measured.
        measured: by figure of the budget: the limit, and what was measured here.
    """

    device: str
    trials: tuple[TrialRow, ...]
    best: TrialRow | None
    checked: dict[str, tuple[float, float]]
    measured: dict[str, tuple[float, float | None]]
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
            f"keeps {most:.1%} of the teacher, and this one, with {self.best.quality:.1%}, is the smallest within "
            f"{CLOSE:.1%} of it"
        )

    def lines(self) -> Sequence[str]:
        """For the screen."""
        if self.best is None:
            return [self.why]
        said = ", ".join(f"{key} = {value}" for key, value in self.best.settings.items())
        checked = "; ".join(f"{n} {want:.3f}, measured {got:.3f}" for n, (want, got) in self.checked.items())
        return [f"chosen: {said}", f"because {self.why}", f"expected here: {checked}"]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """The trials that were trained, the front first, for the screen."""
        trained = (row for row in self.trials if row.quality is not None)
        rows = sorted(trained, key=lambda row: (not row.front, row.costs.bundle_mb))
        keys = list(rows[0].settings) if rows else []
        columns = [
            "front",
            "kept",
            "MB",
            "p95 ms",
            "RAM MB",
            "fits",
            *(key.partition(".")[2] + _of(key) for key in keys),
        ]
        return columns, [
            [
                "*" if r.front else "", r.quality, r.costs.bundle_mb, r.costs.p95_ms, r.costs.peak_ram_mb,
                "no" if r.over else "yes", *(r.settings[key] for key in keys),
            ]
            for r in rows
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The content of fit.json."""
        return {
            "device": self.device,
            "why": self.why,
            "chosen": None if self.best is None else dict(self.best.settings),
            "checked": {name: {"expected": a, "measured": b} for name, (a, b) in self.checked.items()},
            "budget": {name: {"limit": a, "measured": b} for name, (a, b) in self.measured.items()},
            "trials": [asdict(row) for row in self.trials],
        }


def _of(key: str) -> str:
    """Tells keys of one name apart: hidden units, and the share of them that is cut."""
    return " cut" if key.startswith("pruning.") else ""


def front(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The rows that no other one is at least as good as in quality, bytes and time, and better in one."""

    def figures(row: TrialRow) -> tuple[float, float, float]:
        return (-(row.quality or 0.0), row.costs.bundle_mb, row.costs.p95_ms)

    def beaten(row: TrialRow) -> bool:
        mine = figures(row)
        return any(
            all(a <= b for a, b in zip(figures(other), mine, strict=True)) and figures(other) != mine for other in rows
        )

    return [row for row in rows if not beaten(row)]


def chosen(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Of the trained rows inside the budget, the smallest one whose quality is as good as the best; None: none is."""
    fitting = [row for row in rows if row.quality is not None and not row.over]
    if not fitting:
        return None
    most = max(row.quality or 0.0 for row in fitting)
    close = [row for row in fitting if (row.quality or 0.0) >= most - CLOSE]
    return min(close, key=lambda row: (row.costs.bundle_mb, row.costs.p95_ms))
