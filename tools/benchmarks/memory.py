"""Memory that training takes as a log grows: MiB beyond the imports, and seconds, by rows of the log. Linux only.

Makes logs of impressions (a fixed number of users and items a day, more days for more rows), prepares each, and in a
process of its own loads it and trains the teacher's network for some steps. Prints the most memory that the process had
of its own (mapped files can be dropped at any time and are not counted) beyond what it had after its imports.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

from edgerec.config import Config
from edgerec.data import prepare
from edgerec.examples.batches import JointBatches
from edgerec.examples.scratch import Limits
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.tasks.units import MS_PER_DAY
from edgerec.training.joint import JointTraining
from edgerec.training.teacher import batch_settings, build_teacher
from tools.benchmarks.shared.command import Parser, add_json, add_out, print_rows, whole_numbers
from tools.benchmarks.shared.datasets import Values

DURATION = "1 minute"
USERS, ITEMS, START_MS = 20_000, 2_000, 1_700_000_000_000
SETTINGS: Values = {
    "name": "memory",
    "data": {
        "interactions": "log.parquet",
        "user": "user",
        "item": "item",
        "time": "time",
        "split": {"by": "time", "valid": "1d", "test": "1d"},
    },
    "task": [
        {"name": "click", "kind": "binary", "label": "click"},
        {"name": "watch", "kind": "regression", "label": "watch_ms"},
        {"name": "next", "kind": "retrieval", "label": "click"},
    ],
    "teacher": {"sessions_per_epoch": 2_000},
    "ensemble": {"members": []},
}


def main(arguments: Sequence[str]) -> int:
    """Print a row for each size of the log."""
    parser = Parser(__name__, __doc__)
    sizes = (1_000_000, 4_000_000)
    parser.add_argument(
        "--rows",
        type=whole_numbers("1000000,4000000", 1),
        default=sizes,
        help="sizes of the log (default: %(default)s)",
    )
    parser.add_argument("--steps", type=int, default=50, help="of training (default: %(default)s)")
    parser.add_argument("--at-once", type=int, help="rows that are worked on together, instead of the library's number")
    add_out(parser, "memory")
    add_json(parser)
    options = parser.parse_args(arguments)
    table = []
    for rows in options.rows:
        figures = measure(options.out / str(rows), rows, options.steps, options.at_once)
        own_mib, seconds = round(figures["own_mib"]), round(figures["seconds"])
        table.append({"rows": f"{rows:,}", "MiB beyond the imports": own_mib, "seconds": seconds})
    print_rows(table, options.json)
    return 0


def measure(folder: Path, rows: int, steps: int, at_once: int | None = None) -> dict[str, float]:
    """Make a log, prepare it, and train for some steps in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    synthetic(rows).write_parquet(folder / "log.parquet")
    prepare(Config.of(SETTINGS, folder), folder / "run")
    command = [sys.executable, "-m", __name__, str(folder), str(steps), str(at_once or 0)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    shutil.rmtree(folder)
    return figures


def synthetic(rows: int, seed: int = 0) -> pl.DataFrame:
    """A log in which 100,000 rows are a day."""
    rng = np.random.default_rng(seed)
    time_ms = START_MS + np.sort(rng.integers(0, max(rows // 100_000, 4) * MS_PER_DAY, rows))
    click = rng.random(rows) < 0.3
    return pl.DataFrame(
        {
            "user": rng.integers(0, USERS, rows),
            "item": (ITEMS * rng.random(rows) ** 2).astype(np.int64),
            "time": time_ms,
            "click": click.astype(np.int64),
            "watch_ms": np.where(click, rng.exponential(20_000, rows), 0).astype(np.int64),
        }
    )


# ------------------------------------------------------------------------------------------------ the measured process


class PeakMemory(threading.Thread):
    """The most memory of its own that this process has had since, in KiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_kib, self.over = own_kib(), threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self.peak_kib = max(self.peak_kib, own_kib())
            time.sleep(0.01)


def own_kib() -> int:
    """Memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def train(folder: Path, steps: int, at_once: int) -> dict[str, float]:
    """Load, and learn from some batches of an epoch; what this took."""
    torch.set_num_threads(1)
    before_kib, start = own_kib(), time.monotonic()
    peak = PeakMemory()
    peak.start()
    config = Config.of(SETTINGS, folder)
    limits = Limits(at_once, 4 * at_once) if at_once else Limits()
    data = Run(config, folder / "run", Silent()).learning_data("test", limits)
    module = JointTraining(build_teacher(config.teacher, config.seed, data), data.tasks, data.train.n_seen)
    optimizer = torch.optim.AdamW(module.parameters())
    for batch in itertools.islice(JointBatches(data.train, batch_settings(config.teacher, data), seed=0), steps):
        optimizer.zero_grad()
        module.total(module.losses(batch)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    peak.over.set()
    peak.join()
    return {"own_mib": (peak.peak_kib - before_kib) / 1024, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
