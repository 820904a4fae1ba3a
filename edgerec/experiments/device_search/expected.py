"""What the bundle of some settings is expected to cost on the device, before it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edgerec.bench.measure import Measured
from edgerec.config import Config
from edgerec.devices import Profile
from edgerec.experiments.device_search.calibrate import engine_of, to_json
from edgerec.experiments.device_search.context import SearchContext
from edgerec.experiments.device_search.cost import CostModel, Costs, Point
from edgerec.experiments.device_search.report import Check, SearchTrial
from edgerec.experiments.device_search.space import Space
from edgerec.experiments.device_search.trials import Untrained
from edgerec.files import read_json, write_json
from edgerec.progress import Progress
from edgerec.tasks import RequestEncoder

SLACK = {"bundle_mb": 1.0, "peak_ram_mb": 1.1, "p95_ms": 1.3, "cold_start_ms": 1.3}
"""Settings cannot fit if they are expected to cost more than so many times the limit.

Sizes are known exactly, memory nearly, times roughly.
"""
Calibration: TypeAlias = Callable[[Untrained, RequestEncoder, Profile, Sequence[str], Progress], list[Point]]
"""Measures bundles on this machine, such as `edgerec.experiments.device_search.calibrate.calibrate`."""


class ExpectedCosts:
    """A cost model that was fitted on this machine, for the settings of one search."""

    def __init__(
        self, context: SearchContext, space: Space, corrections: Sequence[Point], calibration: Calibration
    ) -> None:
        """`corrections`: bundles that were measured on the device itself."""
        self.context, self.corrections = context, corrections
        kernels = sorted({*map(str, space["quantization.kernel"]), context.profile.kernel})
        self.model = CostModel.fit(_points(context, kernels, calibration))

    def of(self, settings: Config, other_bytes: int) -> Costs:
        """Costs on the device; `other_bytes` are those of a bundle's files beside model and catalog."""
        work = self.context.untrained.work(settings, self.context.n_items)
        return self.model.on(work, self.context.profile, self.corrections, other_bytes)

    def excess(self, costs: Costs) -> str | None:
        """Why a bundle of these costs cannot fit, whatever its quality; None where it may."""
        over = {
            name: (value, limit)
            for name, (value, limit) in costs.over(self.context.profile).items()
            if value > SLACK[name] * limit
        }
        return "; ".join(f"{name} {value:.3g}, at most {limit:.3g}" for name, (value, limit) in over.items()) or None

    def checked(
        self, settings: Config, measured: Measured, other: Measured, other_ms: float, model_bytes: int
    ) -> dict[str, Check]:
        """What the model expects of a finished bundle on this machine, beside what was measured.

        Args:
            other, other_ms: another bundle, measured in turn with this one, and its p50 by the model. They show how
                fast the machine is now, which changes where other processes use it too.
        """
        work = self.context.untrained.work(settings, self.context.n_items)
        point, costs, slowdown = Point.of(work, measured).measured, self.model.here(work), other.p50_ms / other_ms
        return {
            "model_mb": Check(work.model_bytes / 1e6, model_bytes / 1e6),
            "peak_ram_mb": Check(costs.peak_ram_mb, point["peak_ram_mb"]),
            "p50_ms": Check(slowdown * costs.p95_ms / self.model.tail, point["p50_ms"]),
        }


def _points(context: SearchContext, kernels: Sequence[str], calibration: Calibration) -> list[Point]:
    """Measurements of this machine, made once for each engine, number of threads and set of kernels."""
    profile = context.profile
    path = context.shared / f"machine-{engine_of(profile)}-{profile.threads}-{'-'.join(kernels)}.json"
    if not path.exists():
        points = calibration(context.untrained, context.data.encoder, profile, kernels, context.progress)
        write_json(path, {"points": to_json(points)})
    return [Point.of_json(values) for values in read_json(path)["points"]]


def nothing_fits(context: SearchContext, rows: Sequence[SearchTrial]) -> str:
    """What the settings that come nearest to the budget need, and what would have to change."""

    def excess(row: SearchTrial) -> float:
        return max((value / limit for value, limit in row.over.values()), default=0.0)

    nearest, device = min(rows, key=excess), context.profile.name
    needed = "; ".join(
        f"{name} must be at least {value:.3g}, the budget has {limit:.3g}"
        for name, (value, limit) in nearest.over.items()
    )
    settings = ", ".join(f"{key} = {value}" for key, value in nearest.settings.items())
    return (
        f"nothing fits {device}: of {len(rows)} settings the nearest ({settings}) exceed its budget: {needed}; "
        f"raise these limits of the profile, or have fewer items ({context.n_items:,} now) or tasks"
    )
