"""What a bundle costs on a device, predicted from its work alone by a model that is fitted on this machine.

The time of a request is a constant plus terms for the multiplications of the tower, for the logits and for reading the
item table. Memory and cold start grow with the same terms and with the bytes of the model. No coefficient is negative,
so more work never costs less.
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
"""Figures that are fitted; p95 is p50 times a factor."""
BYTES = {"fp32": 4, "u8s8": 1, "nbits8": 1}
"""Bytes of one number of the item table, by kernel."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A bundle that was measured: its work, and `FIGURES` and p95_ms by name."""

    work: Workload
    measured: Mapping[str, float]

    @classmethod
    def of(cls, work: Workload, measured: Measured) -> Point:
        """From what `edgerec bench` measures; memory counts as 0 on a system that does not report it."""
        values = measured.to_json()
        return cls(work, {name: float(values[name] or 0.0) for name in (*FIGURES, "p95_ms")})

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Point:
        """From "work" and "measured", as a correction file has them.

        Raises:
            ValueError: a figure is not a number above 0. KeyError, TypeError: something is missing or too much.
        """
        work = Workload.from_json(values["work"])
        measured = {name: float(values["measured"][name]) for name in (*FIGURES, "p95_ms")}
        for name, value in measured.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value}, expected a number above 0")
        return cls(work, measured)

    @classmethod
    def read(cls, path: Path, runtime: str = "") -> Point:
        """What `edgerec bench --save` wrote on a device with this runtime.

        Raises:
            ConfigError: the file is missing or holds something else, or another engine ran the bundle.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            point, used = cls.of_json(values), values["measured"].get("engine", runtime)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: is not a measurement of a device ({error}); make one on the device: "
                f"edgerec bench BUNDLE --save {path.name}"
            ) from None
        if runtime in ("native", "onnxruntime") and used != runtime:
            raise ConfigError(
                f"{path}: measured with the engine {used}, and the device's runtime is {runtime}; measure again: "
                f"edgerec bench BUNDLE --engine {runtime} --save {path.name}"
            )
        return point


@dataclass(frozen=True)
class Costs:
    """What a bundle is expected to cost on a device, in the units of its budget."""

    bundle_mb: float
    peak_ram_mb: float
    p95_ms: float
    cold_start_ms: float

    def over(self, profile: Profile) -> dict[str, tuple[float, float]]:
        """Figures that exceed the budget: the expected value and the limit."""
        limits = {name: figure["limit"] for name, figure in profile.to_json()["budget"].items()}
        return {name: (value, limits[name]) for name, value in asdict(self).items() if value > limits[name]}


@dataclass(frozen=True)
class CostModel:
    """Coefficients of `_features`, by kernel and figure; `tail` is the ratio of p95 to p50."""

    coefficients: Mapping[str, Mapping[str, Floats]]
    tail: float

    @classmethod
    def fit(cls, points: Sequence[Point]) -> CostModel:
        """Least squares of the relative errors, without negative coefficients, for each kernel by itself."""
        from scipy.optimize import nnls

        coefficients: dict[str, dict[str, Floats]] = {}
        for kernel in {point.work.kernel for point in points}:
            own = [point for point in points if point.work.kernel == kernel]
            x = np.array([_features(point.work) for point in own])
            coefficients[kernel] = {}
            for figure in FIGURES:
                y = np.maximum([point.measured[figure] for point in own], 1e-9)
                unit = x.max(axis=0)  # nnls stops early where columns differ by orders of magnitude
                coefficients[kernel][figure] = nnls(x / unit / y[:, None], np.ones(len(y)))[0] / unit
        tails = [p.measured["p95_ms"] / p.measured["p50_ms"] for p in points if p.measured["p50_ms"] > 0]
        return cls(coefficients, statistics.median(tails) if tails else 1.0)

    def here(self, work: Workload, other_bytes: int = 0) -> Costs:
        """On the machine whose points were fitted; `other_bytes`: of a bundle's other files."""
        coefficients = self.coefficients[work.kernel]
        p50, ram, cold = (float(_features(work) @ coefficients[figure]) for figure in FIGURES)
        return Costs((work.model_bytes + other_bytes) / 1e6, ram, self.tail * p50, cold)

    def on(self, work: Workload, profile: Profile, corrections: Sequence[Point] = (), other_bytes: int = 0) -> Costs:
        """On a device: scaled by the speed of its core, limited by its memory, corrected by measurements made there.

        Args:
            corrections: bundles measured on the device. The median ratio of measured to predicted scales both times,
                and the median difference shifts the memory.
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
    """A constant, multiplications of the tower, logits, numbers of the item table, and bytes on disk."""
    return np.array([1.0, work.macs, work.logits, work.table, work.model_bytes])
