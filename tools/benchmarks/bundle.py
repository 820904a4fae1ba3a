"""What a bundle costs on this machine: its size, what recommend() adds to the graph, what opening adds to onnxruntime.

Times depend on the machine, their ratios hardly; both sides of a ratio are timed alternately or in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import onnxruntime as ort

from edgerec.cli.output import format_table
from edgerec.errors import EdgerecError
from edgerec.runtime import Recommender

CALLS = 500
KS = (10, 20)
"""How many items are asked for; without reasons."""
PROCESSES = 7
EVENTS = 50
"""Events of the made-up user, on items spread over the catalogue, a day apart."""
DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000

FRESH_PROCESS = """
import sys, time
start = time.perf_counter()
import onnxruntime
imported = time.perf_counter()
from edgerec.runtime import Recommender
Recommender.open(sys.argv[1]).recommend(k=10)
print(imported - start, time.perf_counter() - imported)
"""


class Recording(ort.InferenceSession):  # type: ignore[misc]
    """A session that remembers its calls, so that the very same call can be repeated without the runtime."""

    calls: ClassVar[list[Callable[[], Any]]] = []

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self._run = super().run

    def run(self, *arguments: Any) -> Any:
        Recording.calls.append(partial(self._run, *arguments))
        return self._run(*arguments)


def size_mb(bundle: Path) -> tuple[float, float]:
    """The bundle's size in MB of 10^6 bytes: without its catalogue, and whole."""
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir()}
    whole = sum(sizes.values())
    return (whole - sizes.get("catalog.sqlite", 0)) / 1e6, whole / 1e6


def call_ms(bundle: Path, k: int) -> tuple[list[float], list[float]]:
    """Times of recommend() for k items and of its session.run alone, `CALLS` each, in turn."""
    plain = ort.InferenceSession
    ort.InferenceSession = Recording
    try:
        recommender = Recommender.of(bundle)
    finally:
        ort.InferenceSession = plain
    with recommender:
        n_items = recommender.bundle.manifest.n_items
        for event in range(EVENTS):
            item, _ = recommender.named(event * n_items // EVENTS)
            recommender.observe(item, time=NOW_MS - (EVENTS - event) * DAY_MS)
        k = min(k, n_items)
        whole, bare = [], []
        for _ in range(CALLS):
            Recording.calls.clear()
            whole.append(timed_ms(lambda: recommender.recommend(k=k, now=NOW_MS)))
            bare.append(timed_ms(Recording.calls[0]))
    return whole[CALLS // 10 :], bare[CALLS // 10 :]


def timed_ms(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


def cold_s(bundle: Path) -> tuple[float, float]:
    """Medians over fresh processes: import onnxruntime, and then import edgerec.runtime, open and the first result."""
    command = [sys.executable, "-c", FRESH_PROCESS, str(bundle)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(PROCESSES)]
    seconds = [tuple(map(float, run.stdout.split())) for run in runs]
    imports, opens = zip(*seconds, strict=True)
    return statistics.median(imports), statistics.median(opens)


def measure(bundle: Path) -> dict[str, float]:
    """All figures, by name with unit."""
    without_catalog, whole_mb = size_mb(bundle)
    figures = {"size_without_catalog_mb": without_catalog, "size_mb": whole_mb}
    for k in KS:
        recommend, bare = call_ms(bundle, k)
        figures |= {
            f"recommend_{k}_ms_p50": statistics.median(recommend),
            f"recommend_{k}_ms_p95": statistics.quantiles(recommend, n=20)[-1],
            f"session_run_{k}_ms_p50": statistics.median(bare),
            f"recommend_{k}_over_session_run": statistics.median(recommend) / statistics.median(bare),
        }
    import_s, added_s = cold_s(bundle)
    return figures | {"import_onnxruntime_s": import_s, "open_and_first_result_s": added_s}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    arguments = parser.parse_args()
    try:
        figures = measure(arguments.bundle)
    except EdgerecError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=2) if arguments.json else format_table(("figure", "value"), list(figures.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
