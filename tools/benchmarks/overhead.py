"""What the runtime adds to bare onnxruntime, on catalogues of 10,000 and 100,000 made-up items with a run's own graphs.

Both sides of every figure are timed alternately, in one process or in fresh ones whose modules are compiled before.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import edgerec
from edgerec.devices import load_profile
from edgerec.experiments.device_search.calibrate import made_up
from edgerec.experiments.device_search.trials import Untrained, final_sizes, kernel_asked
from edgerec.progress import progress_for
from edgerec.runtime import Recommender
from tools.benchmarks.shared.command import FinishedRun, Parser, Row, add_json, add_run, print_rows
from tools.benchmarks.shared.timing import NOW_MS, observe_made_up_user, recording, timed_in_turn

DURATION = "half a minute"
ITEMS = (10_000, 100_000)
CALLS, PROCESSES, K = 400, 15, 20

BARE = """
import json, sys, time
start = time.perf_counter()
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1] + "/recommend.onnx", options, providers=["CPUExecutionProvider"])
types = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
feed = {i.name: np.zeros([0 if isinstance(n, str) and n in "LE" else n for n in i.shape], types[i.type])
        for i in session.get_inputs()}
feed["k"] = np.array(10)
session.run(None, feed)
print(time.perf_counter() - start)
"""
OURS = """
import sys, time
start = time.perf_counter()
from edgerec.runtime import Recommender
Recommender.open(sys.argv[1]).recommend(k=10)
print(time.perf_counter() - start)
"""


class Options(TypedDict, total=False):
    """Of `Recommender.recommend`."""

    where: str
    diversity: float


CONDITION = "id LIKE '%7%' OR length(title) > 3"
REQUESTS: dict[str, Options] = {
    "plain": {},
    "where": {"where": CONDITION},
    "where_and_diversity": {"where": CONDITION, "diversity": 0.3},
}


def cold(bundle: Path, processes: int) -> dict[str, float]:
    """Seconds from nothing to the first list, by bare onnxruntime and by the runtime; medians of fresh processes."""
    compileall.compile_dir(str(Path(edgerec.__file__).parent), quiet=1)  # as an installed package is
    home = str(Path(edgerec.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": home, "PYTHONDONTWRITEBYTECODE": "1"}
    seconds: dict[str, list[float]] = {BARE: [], OURS: []}
    for _ in range(processes):
        for code, times in seconds.items():
            command = [sys.executable, "-c", code, str(bundle)]
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            times.append(float(run.stdout))
    bare, ours = (statistics.median(times) for times in seconds.values())
    return {"bare_first_result_s": bare, "open_and_first_result_s": ours, "ratio": ours / bare}


def warm(bundle: Path, n_calls: int) -> dict[str, float]:
    """Milliseconds that recommend(k=20) takes beyond its session's run: plain, and with a condition and diversity."""
    figures: dict[str, float] = {}
    with recording() as calls:
        opened = Recommender.of(bundle, "onnxruntime")
    with opened as recommender:
        observe_made_up_user(recommender)
        for name, request in REQUESTS.items():

            def recommend(request: Options = request) -> object:
                return recommender.recommend(k=K, now=NOW_MS, **request)

            recommend()  # conditions are read, graphs are loaded
            whole, session = map(statistics.median, timed_in_turn(recommend, calls, n_calls))
            figures |= {f"{name}_ms": whole, f"{name}_session_ms": session, f"{name}_over_session_ms": whole - session}
    return figures


def measure(folder: Path, items: Sequence[int] = ITEMS, n_calls: int = CALLS, processes: int = PROCESSES) -> list[Row]:
    """Figures by length of the catalogue."""
    run = FinishedRun.load(folder, progress_for())
    config, data = run.config, run.data
    untrained = Untrained(data.shape, data.features, data.tasks)
    profile = load_profile(config.device)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        for n in items:
            bundle = Path(made) / str(n)
            made_up(untrained, data.encoder, profile, final_sizes(config), n, kernel_asked(config), bundle)
            rows.append({"items": n, **cold(bundle, processes), **warm(bundle, n_calls)})
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print a column for each catalogue."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    print_rows(measure(options.run), options.json, as_columns=True)
    return 0
