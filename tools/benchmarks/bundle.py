"""What a bundle costs here: its size, what recommend() adds to the graph, what opening adds to onnxruntime.

Times depend on the machine, their ratios hardly; both sides of a ratio are timed alternately or in one process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgerec.bundle import Bundle
from edgerec.cli.output import print_json
from edgerec.runtime import Recommender
from tools.benchmarks.shared.command import Parser, add_json, print_rows
from tools.benchmarks.shared.timing import NOW_MS, observe_made_up_user, recording, timed_in_turn

DURATION = "10 seconds"
CALLS = 500
KS = (10, 20)
"""How many items are asked for; without reasons."""
PROCESSES = 7

FRESH_PROCESS = """
import sys, time
start = time.perf_counter()
import onnxruntime
imported = time.perf_counter()
from edgerec.runtime import Recommender
Recommender.open(sys.argv[1]).recommend(k=10)
print(imported - start, time.perf_counter() - imported)
"""


def size_mb(bundle: Path) -> tuple[float, float]:
    """The bundle's size in MB of 10^6 bytes: without its catalogue, and whole."""
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir()}
    whole = sum(sizes.values())
    return (whole - sizes.get("catalog.sqlite", 0)) / 1e6, whole / 1e6


def call_ms(bundle: Path, k: int) -> tuple[list[float], list[float]]:
    """Times of recommend() for k items and of its session.run alone, in turn, without a warm-up of a tenth."""
    with recording() as calls:
        opened = Recommender.of(bundle, "onnxruntime")
    with opened as recommender:
        observe_made_up_user(recommender)
        k = min(k, recommender.bundle.manifest.n_items)
        recommend, session_run = timed_in_turn(lambda: recommender.recommend(k=k, now=NOW_MS), calls, CALLS)
    return recommend[CALLS // 10 :], session_run[CALLS // 10 :]


def cold_s(bundle: Path) -> tuple[float, float]:
    """Medians over fresh processes: import onnxruntime, and then import edgerec.runtime, open and the first result."""
    command = [sys.executable, "-c", FRESH_PROCESS, str(bundle)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(PROCESSES)]
    imports, opens = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
    return statistics.median(imports), statistics.median(opens)


def measure(bundle: Path) -> dict[str, float]:
    """All figures, by name with unit."""
    without_catalog, whole_mb = size_mb(bundle)
    figures = {"size_without_catalog_mb": without_catalog, "size_mb": whole_mb}
    for k in KS:
        recommend, session_run = call_ms(bundle, k)
        figures |= {
            f"recommend_{k}_ms_p50": statistics.median(recommend),
            f"recommend_{k}_ms_p95": statistics.quantiles(recommend, n=20)[-1],
            f"session_run_{k}_ms_p50": statistics.median(session_run),
            f"recommend_{k}_over_session_run": statistics.median(recommend) / statistics.median(session_run),
        }
    import_s, opened_s = cold_s(bundle)
    return figures | {"import_onnxruntime_s": import_s, "open_and_first_result_s": opened_s}


def main(arguments: Sequence[str]) -> int:
    """Print the figures of one bundle."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("bundle", type=Path, help="a folder, such as runs/retail/bundle")
    add_json(parser)
    options = parser.parse_args(arguments)
    Bundle.open(options.bundle)  # refuses what is not a bundle before anything is measured
    figures = measure(options.bundle)
    if options.json:
        print_json(figures)
    else:
        print_rows([{"figure": name, "value": value} for name, value in figures.items()])
    return 0
