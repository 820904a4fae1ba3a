"""What a bundle costs on a device, from its work alone: an analytic model fitted on points measured on this machine.

A request takes a fixed time, one for the tower's multiplications, one for what is done with each logit, and one for
reading the table; memory and start grow with what lies in the bundle and in the session. The coefficients are never
negative, so that more work never costs less.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgerec.bench.measure import Measured
from edgerec.compression.workload import Workload
from edgerec.devices import Profile
from edgerec.errors import ConfigError

FIGURES = ("p50_ms", "peak_ram_mb", "cold_start_ms")
"""What is fitted; p95 follows p50 by a factor."""
BYTES = {"fp32": 4, "u8s8": 1, "nbits8": 1}
"""Of a number of the table, in each body."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A bundle that was measured: its work, and `FIGURES` and p95_ms by name."""

    work: Workload
    measured: Mapping[str, float]

    @classmethod
    def of(cls, work: Workload, measured: Measured) -> Point:
        """From what `edgerec bench` measures; where the system does not tell the memory, it counts as 0."""
        values = measured.to_json()
        return cls(work, {name: float(values[name] or 0.0) for name in (*FIGURES, "p95_ms")})

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Point:
        """From "work" and "measured", as a correction file has them.

        Raises:
            ValueError: a figure is no number, or not above 0. KeyError, TypeError: something is missing or too much.
        """
        work = Workload.from_json(values["work"])
        measured = {name: float(values["measured"][name]) for name in (*FIGURES, "p95_ms")}
        for name, value in measured.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value}, expected a number above 0")
        return cls(work, measured)

    @classmethod
    def read(cls, path: Path) -> Point:
        """What `edgerec bench --save` wrote.

        Raises:
            ConfigError: the file is missing or holds something else.
        """
        try:
            return cls.of_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: no measurement of a device ({error}); make it there: edgerec bench BUNDLE --save {path.name}"
            ) from None


@dataclass(frozen=True)
class Costs:
    """What a bundle is expected to cost on a device, in the units of its budget."""

    bundle_mb: float
    peak_ram_mb: float
    p95_ms: float
    cold_start_ms: float

    def over(self, profile: Profile) -> dict[str, tuple[float, float]]:
        """Figures that exceed the budget: expected, and at most."""
        limits = {name: figure["limit"] for name, figure in profile.to_json()["budget"].items()}
        return {name: (value, limits[name]) for name, value in asdict(self).items() if value > limits[name]}


@dataclass(frozen=True)
class CostModel:
    """Coefficients by body and figure, of `_features`; `tail`: p95 against p50."""

    coefficients: Mapping[str, Mapping[str, Floats]]
    tail: float

    @classmethod
    def fit(cls, points: Sequence[Point]) -> CostModel:
        """Least squares of the relative errors, without negative coefficients, for each body by itself."""
        from scipy.optimize import nnls

        found: dict[str, dict[str, Floats]] = {}
        for kernel in {point.work.kernel for point in points}:
            of = [point for point in points if point.work.kernel == kernel]
            x = np.array([_features(point.work) for point in of])
            found[kernel] = {}
            for figure in FIGURES:
                y = np.maximum([point.measured[figure] for point in of], 1e-9)
                unit = x.max(axis=0)  # nnls stops early where columns differ by orders of magnitude
                found[kernel][figure] = nnls(x / unit / y[:, None], np.ones(len(y)))[0] / unit
        tails = [p.measured["p95_ms"] / p.measured["p50_ms"] for p in points if p.measured["p50_ms"] > 0]
        return cls(found, statistics.median(tails) if tails else 1.0)

    def here(self, work: Workload, other_bytes: int = 0) -> Costs:
        """On the machine whose points were fitted; `other_bytes`: of a bundle's other files."""
        of = self.coefficients[work.kernel]
        p50, ram, cold = (float(_features(work) @ of[figure]) for figure in FIGURES)
        return Costs((work.model_bytes + other_bytes) / 1e6, ram, self.tail * p50, cold)

    def on(self, work: Workload, profile: Profile, corrections: Sequence[Point] = (), other_bytes: int = 0) -> Costs:
        """On a device: by the speed of its core, no faster than its memory, as far as measurements there correct it.

        Args:
            corrections: bundles measured on the device: time and start are scaled, and memory shifted, by how far the
                model is off them in the median.
        """
        costs = self._on(work, profile, other_bytes)
        if not corrections:
            return costs
        before = [self._on(point.work, profile) for point in corrections]
        pairs = list(zip(corrections, before, strict=True))
        time = statistics.median(p.measured["p95_ms"] / b.p95_ms for p, b in pairs)
        cold = statistics.median(p.measured["cold_start_ms"] / b.cold_start_ms for p, b in pairs)
        ram = statistics.median(p.measured["peak_ram_mb"] - b.peak_ram_mb for p, b in pairs)
        return Costs(costs.bundle_mb, costs.peak_ram_mb + ram, costs.p95_ms * time, costs.cold_start_ms * cold)

    def _on(self, work: Workload, profile: Profile, other_bytes: int = 0) -> Costs:
        here, speed = self.here(work, other_bytes), profile.core_speed.value
        reading_ms = work.table * BYTES[work.kernel] / (profile.memory_bandwidth_gb_s.value * 1e6)
        computing_ms = here.p95_ms / speed
        return Costs(here.bundle_mb, here.peak_ram_mb, max(computing_ms, reading_ms), here.cold_start_ms / speed)


def _features(work: Workload) -> Floats:
    """A constant, the tower, the logits, the table, and all that lies on disk."""
    return np.array([1.0, work.macs, work.logits, work.table, work.model_bytes])
