"""One fresh process of a measurement: ``python -m edgerec.bench.child BUNDLE ENGINE THREADS CALLS COLD_CALLS``.

Prints a line of JSON as soon as the first result is there, and its figures as a second one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

EVENTS = 50
"""Events of an invented user, on items spread over the catalogue, a day apart."""
NOW_MS = 1_700_000_000_000
K = 10
EVICTED_MB = 64
"""Memory that is read before a call, so that the bundle is no longer in the processor's cache."""


def main(folder: str, engine: str, threads: int, calls: int, cold_calls: int) -> None:
    """Open a bundle, recommend, and print the times and the memory that this took."""
    interpreter_mb = peak_mb()
    start = time.perf_counter()
    recommender = opened(folder, engine, threads)
    result = recommender.recommend(k=min(K, recommender.bundle.manifest.n_items), now=NOW_MS)
    first_ms = 1000 * (time.perf_counter() - start)
    print(json.dumps({"items": len(result)}), flush=True)

    from edgerec.tasks.units import MS_PER_DAY

    n = recommender.bundle.manifest.n_items
    for event in range(EVENTS):
        item, _ = recommender.arrays.named(event * n // EVENTS)
        recommender.observe(item, time=NOW_MS - (EVENTS - event) * MS_PER_DAY)
    hot = [_timed_ms(recommender, n) for _ in range(calls)][calls // 10 :]
    peak = peak_mb()
    cold = [_after_other_work_ms(recommender, n) for _ in range(cold_calls)]
    used = recommender.arrays.model.engine.name
    recommender.close()
    figures = {"engine": used, "first_result_ms": first_ms, "hot_ms": hot, "cold_cache_ms": cold}
    print(json.dumps(figures | {"peak_rss_mb": peak, "interpreter_rss_mb": interpreter_mb}), flush=True)


def opened(folder: str, engine: str, threads: int) -> Any:
    """The recommender of a bundle, with this many threads instead of its device's."""
    from dataclasses import replace

    from edgerec.bundle import Bundle
    from edgerec.runtime import Recommender

    bundle = Bundle.open(folder)
    manifest = bundle.manifest._replace(device={**bundle.manifest.device, "threads": threads})
    return Recommender.of(replace(bundle, manifest=manifest), engine)  # type: ignore[arg-type]  # checked there


def peak_mb() -> float | None:
    """Largest resident memory of this process so far, MB of 10^6 bytes; None where the system does not report it."""
    try:
        # not getrusage: there a process starts with the peak of the process that started it
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0]) / 1e6
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _timed_ms(recommender: Any, n_items: int) -> float:
    start = time.perf_counter()
    recommender.recommend(k=min(K, n_items), now=NOW_MS)
    return 1000 * (time.perf_counter() - start)


def _after_other_work_ms(recommender: Any, n_items: int) -> float:
    """Like `_timed_ms`, after other work has used the processor's cache."""
    (b"\1" * (EVICTED_MB * 10**6)).count(b"\2")  # written and read
    return _timed_ms(recommender, n_items)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
