"""Measures bundles in fresh processes, as an app uses them, and compares times and memory with a device's budget."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgerec.bundle import Bundle
from edgerec.bundle.size import bundle_size
from edgerec.devices import Budget
from edgerec.errors import BundleError, ConfigError

__all__ = ["CALLS", "COLD_CALLS", "PROCESSES", "Measured", "Target", "correction", "measure", "verdicts"]

PROCESSES = 5
"""Processes for each bundle; bundles take turns, so that a disturbance of the machine affects all of them."""
CALLS, COLD_CALLS = 200, 40
"""recommend() calls of a process, with the bundle in the processor's cache and without."""


@dataclass(frozen=True)
class Measured:
    """The costs of one bundle on this machine.

    Attributes:
        bundle_mb: size on disk, MB of 10^6 bytes, without catalog.sqlite; with_catalog_mb: with it.
        engine: what ran it: "native", "onnxruntime" or "numpy". threads: of each recommend().
        cold_start_ms: from the start of the process to the first result; the start of Python counts.
        first_result_ms: the part of it for importing the runtime, opening the bundle, and the first recommend().
        p50_ms, p95_ms, p99_ms: quantiles of recommend() after other calls. cold_cache_p50_ms, cold_cache_p95_ms: the
            same after other work has used the processor's cache.
        peak_ram_mb: peak resident memory of the process. above_interpreter_mb: without what Python alone needs. None
            where the system does not report it.
    """

    bundle_mb: float
    with_catalog_mb: float
    engine: str
    threads: int
    cold_start_ms: float
    first_result_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cold_cache_p50_ms: float
    cold_cache_p95_ms: float
    peak_ram_mb: float | None
    above_interpreter_mb: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """The device that a bundle is measured for: its name, the threads of recommend(), and the limits of `Budget`."""

    name: str
    threads: int
    limits: Mapping[str, float]

    @classmethod
    def of(cls, device: Mapping[str, Any], source: str | Path) -> Target:
        """From a profile as JSON, as a manifest holds it; `source` names it in the error.

        Raises:
            ConfigError: it has no threads or no budget.
        """
        try:
            limits = {field.name: float(device["budget"][field.name]["limit"]) for field in fields(Budget)}
            return cls(str(device["name"]), int(device["threads"]), limits)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(f"{source}: describes no device with threads and a budget; give --device") from None


def measure(
    bundles: Sequence[str | Path],
    threads: int,
    processes: int | None = None,
    calls: int = CALLS,
    cold: int = COLD_CALLS,
    engine: str = "auto",
) -> list[Measured]:
    """Measure bundles side by side; `processes` of each are `PROCESSES` if not given.

    Args:
        engine: see `edgerec.runtime.Recommender.open`.

    Raises:
        BundleError: one is damaged, or cannot be used on this machine.
    """
    opened = [Bundle.open(bundle) for bundle in bundles]
    runs: list[list[dict[str, Any]]] = [[] for _ in opened]
    for _ in range(processes or PROCESSES):
        for bundle, own in zip(opened, runs, strict=True):
            own.append(_run(bundle.folder, engine, threads, calls, cold))
    return [_joined(bundle, threads, own) for bundle, own in zip(opened, runs, strict=True)]


def verdicts(measured: Measured, target: Target) -> dict[str, tuple[float, float | None, bool]]:
    """For each figure of a device's budget: the limit, the measured value, and whether it is within the limit."""
    values = measured.to_json()
    return {n: (limit, values[n], (values[n] or 0) <= limit) for n, limit in target.limits.items()}


def correction(bundle: str | Path, measured: Measured) -> dict[str, Any]:
    """The bundle's work and its measured costs, which correct the predictions of `edgerec search` for this device.

    Raises:
        BundleError: the manifest does not hold the bundle's work.
    """
    work = Bundle.open(bundle).manifest.device.get("work")
    if work is None:
        raise BundleError(f"{bundle}: its manifest holds no work; build it again with: edgerec quantize")
    return {"work": work, "measured": measured.to_json()}


def _run(folder: Path, engine: str, threads: int, calls: int, cold: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgerec.bench.child", str(folder), engine, *map(str, (threads, calls, cold))]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        cold_start_ms = 1000 * (time.perf_counter() - start)
        rest, errors = process.communicate()
    if process.returncode or not first:
        lines = errors.strip().splitlines()
        raise BundleError(f"{folder}: cannot be measured: {lines[-1] if lines else 'the process ended without a word'}")
    return {"cold_start_ms": cold_start_ms, **json.loads(rest)}


def _joined(bundle: Bundle, threads: int, runs: Sequence[dict[str, Any]]) -> Measured:
    size = bundle_size(bundle.folder)
    hot = sorted(time_ms for run in runs for time_ms in run["hot_ms"])
    cold = sorted(time_ms for run in runs for time_ms in run["cold_cache_ms"])
    peaks = [run["peak_rss_mb"] for run in runs if run["peak_rss_mb"] is not None]
    alone = [run["interpreter_rss_mb"] for run in runs if run["interpreter_rss_mb"] is not None]
    peak = max(peaks) if peaks else None
    return Measured(
        bundle_mb=size.without_catalog / 1e6,
        with_catalog_mb=size.total / 1e6,
        engine=runs[0]["engine"],
        threads=threads,
        cold_start_ms=statistics.median(run["cold_start_ms"] for run in runs),
        first_result_ms=statistics.median(run["first_result_ms"] for run in runs),
        p50_ms=_quantile(hot, 0.5),
        p95_ms=_quantile(hot, 0.95),
        p99_ms=_quantile(hot, 0.99),
        cold_cache_p50_ms=_quantile(cold, 0.5),
        cold_cache_p95_ms=_quantile(cold, 0.95),
        peak_ram_mb=peak,
        above_interpreter_mb=None if peak is None or not alone else peak - min(alone),
    )


def _quantile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least a `share` of the values do not exceed."""
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]
