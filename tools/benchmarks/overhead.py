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
from pathlib import Path
from typing import Any

import edgerec
from edgerec.config import Config
from edgerec.devices import load_profile
from edgerec.fitting.calibrate import made_up
from edgerec.fitting.work import Untrained, body_asked, final_sizes
from edgerec.progress import progress_for
from edgerec.runtime import Recommender
from edgerec.training.load import load_learning_data
from tools.benchmarks.bundle import DAY_MS, NOW_MS, Recording, timed_ms
from tools.of_a_run import tell

ITEMS = (10_000, 100_000)
CALLS, PROCESSES, EVENTS, K = 400, 15, 50, 20

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


def cold(bundle: Path) -> dict[str, float]:
    """Seconds from nothing to the first list, by bare onnxruntime and by the runtime; medians of fresh processes."""
    compileall.compile_dir(str(Path(edgerec.__file__).parent), quiet=1)  # as an installed package is
    home = str(Path(edgerec.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": home, "PYTHONDONTWRITEBYTECODE": "1"}
    found: dict[str, list[float]] = {BARE: [], OURS: []}
    for _ in range(PROCESSES):
        for code, seconds in found.items():
            run = [sys.executable, "-c", code, str(bundle)]
            told = subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout
            seconds.append(float(told))
    bare, ours = (statistics.median(found[code]) for code in (BARE, OURS))
    return {"bare_first_result_s": bare, "open_and_first_result_s": ours, "ratio": ours / bare}


def warm(bundle: Path) -> dict[str, float]:
    """Milliseconds that recommend(k=20) takes beyond its session's run: plain, and with a condition and diversity."""
    import onnxruntime as ort

    ort_session, ort.InferenceSession = ort.InferenceSession, Recording
    try:
        recommender = Recommender.of(bundle)
    finally:
        ort.InferenceSession = ort_session
    asked: dict[str, dict[str, Any]] = {
        "plain": {},
        "where": {"where": "id LIKE '%7%' OR length(title) > 3"},
        "where_and_diversity": {"where": "id LIKE '%7%' OR length(title) > 3", "diversity": 0.3},
    }
    figures = {}
    with recommender as rec:
        n = rec.bundle.manifest.n_items
        for event in range(EVENTS):
            rec.observe(rec.named(event * n // EVENTS)[0], time=NOW_MS - (EVENTS - event) * DAY_MS)
        for name, request in asked.items():
            rec.recommend(k=K, now=NOW_MS, **request)  # conditions are read, graphs are loaded
            whole, bare = [], []
            for _ in range(CALLS):
                Recording.calls.clear()
                whole.append(timed_ms(lambda request=request: rec.recommend(k=K, now=NOW_MS, **request)))  # type: ignore[misc]
                bare.append(timed_ms(Recording.calls[0]))
            figures |= {f"{name}_ms": statistics.median(whole), f"{name}_session_ms": statistics.median(bare)}
            figures[f"{name}_over_session_ms"] = figures[f"{name}_ms"] - figures[f"{name}_session_ms"]
    return figures


def measure(run: Path) -> list[dict[str, Any]]:
    """Figures by length of the catalogue."""
    config, progress = Config.load(run / "edgerec.toml"), progress_for()
    data = load_learning_data(config, run, config.evaluation.part, progress)
    untrained = Untrained(data.shape, data.features, data.tasks)
    profile = load_profile(config.device)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for n in ITEMS:
            place = Path(folder) / str(n)
            made_up(untrained, data.encoder, profile, final_sizes(config), n, body_asked(config), place)
            found.append({"items": n, **cold(place), **warm(place)})
    return found


if __name__ == "__main__":
    tell("tools/overhead", __doc__, lambda given: measure(given.run), as_columns=True)
