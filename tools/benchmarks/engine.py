"""The native engine against onnxruntime on the conformance requests of a bundle: time of each kernel, agreement, start.

All engines answer the same request in turn, in one process. A start is the time of a fresh process until its first
list. Build the engine first: tools/native.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, thread_time_ns

import numpy as np

import edgerec
from edgerec.bundle import Bundle
from edgerec.errors import ConfigError
from edgerec.runtime.graphs import GraphEngine
from edgerec.runtime.native import FOLDER, NativeEngine, encoded, library_name
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, floats, ints
from tools.benchmarks.shared.command import Parser, Row, add_json, print_rows

DURATION = "half a minute"
KERNELS = ("avx512-vnni", "avx2", "sse4.1", "neon-dot", "neon", "scalar")
ROUNDS, STARTS, K = 5, 5, 20
START = """
import sys
from edgerec.runtime import ArrayRecommender
ArrayRecommender.of(sys.argv[1], sys.argv[2]).rank(10)
"""


def answer(engine: GraphEngine | NativeEngine, request: Encoded, weights: Floats, k: int) -> Ints:
    """The list of an engine."""
    return engine.recommend(request, weights, ints(), k).item


def kernels(engine: NativeEngine) -> list[str]:
    """The kernels of this processor."""

    def runs(name: str) -> bool:
        try:
            engine.kernel = name
        except ConfigError:
            return False
        return True

    return [name for name in KERNELS if runs(name)]


def start_ms(bundle: Path, engine: str) -> float:
    """Median time of a fresh process from its start to its first list."""
    command = [sys.executable, "-c", START, str(bundle), engine]
    environment = {**os.environ, "PYTHONPATH": str(Path(edgerec.__file__).parents[1])}
    times = []
    for _ in range(STARTS):
        start = perf_counter()
        subprocess.run(command, check=True, env=environment)
        times.append(1000 * (perf_counter() - start))
    return statistics.median(times)


def measure(folder: Path, rounds: int = ROUNDS) -> list[Row]:
    """Figures of each engine: CPU time of a list with reasons, and how many lists are onnxruntime's own."""
    bundle = Bundle.open(folder)
    native, graphs = NativeEngine.of(bundle), GraphEngine(bundle, "onnxruntime")
    asked = [r["inputs"] for r in bundle.json("conformance.json")["requests"] if "graph" not in r]
    requests = [(encoded(inputs), floats(inputs["task_weights"])) for inputs in asked]
    k = min(K, bundle.manifest.n_items)
    names = kernels(native)
    times: dict[str, list[int]] = {name: [] for name in ("onnxruntime", *names)}
    same = dict.fromkeys(times, 0)

    def timed(name: str, call: Callable[[], Ints]) -> Ints:
        start = thread_time_ns()
        items = call()
        times[name].append(thread_time_ns() - start)
        return items

    for number in range(rounds):
        for request, weights in requests:
            expected = timed("onnxruntime", lambda: answer(graphs, request, weights, k))  # noqa: B023
            for name in names:
                native.kernel = name
                items = timed(name, lambda: answer(native, request, weights, k))  # noqa: B023
                same[name] += number == 0 and items == expected
    same["onnxruntime"] = len(requests)
    base = statistics.median(times["onnxruntime"])
    return [
        {
            "engine": name,
            "p10_us": float(np.percentile(spent, 10)) / 1000,
            "p50_us": statistics.median(spent) / 1000,
            "of_onnxruntime": statistics.median(spent) / base,
            "same_lists": f"{same[name]} of {len(requests)}",
        }
        for name, spent in times.items()
    ]


def main(arguments: Sequence[str]) -> int:
    """Print a row for each engine, then the starts and the library's size."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle with student.bin, such as runs/retail/bundle")
    add_json(parser)
    options = parser.parse_args(arguments)
    print_rows(measure(options.bundle), options.json)
    library = FOLDER / library_name()
    starts: Row = {f"{name}_start_ms": start_ms(options.bundle, name) for name in ("native", "onnxruntime")}
    print_rows([{**starts, "library_bytes": library.stat().st_size}], options.json)
    return 0
