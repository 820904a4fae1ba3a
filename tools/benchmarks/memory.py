"""Memory that training takes as a log grows. tools/memory [--rows R,R,...] [--steps N] [--out FOLDER]

Makes logs of shown videos (a fixed number of users and items a day, more days for more rows), prepares each, and in a
process of its own loads it and trains the teacher's network for some steps. Prints the most memory that the process had
of its own (mapped files can be dropped at any time and are not counted) beyond what it had after its imports. Linux.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edgerec.cli.output import format_table

USERS, ITEMS, START_MS = 20_000, 2_000, 1_700_000_000_000
SETTINGS: dict[str, Any] = {
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
    "teacher": {"visits_per_epoch": 2_000},
    "committee": {"members": []},
}


def main() -> int:
    """Print a row for each size of the log."""
    parser = argparse.ArgumentParser(
        prog="tools/memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="1000000,4000000", help="sizes of the log")
    parser.add_argument("--steps", type=int, default=50, help="of training")
    parser.add_argument("--at-once", type=int, help="rows that are worked on together, in place of the library's")
    parser.add_argument("--out", type=Path, default=Path("runs/memory"))
    asked = parser.parse_args()
    table = []
    for rows in (int(r) for r in asked.rows.split(",")):
        found = measure(asked.out / str(rows), rows, asked.steps, asked.at_once)
        table.append([f"{rows:,}", f"{found['own_mib']:.0f}", f"{found['seconds']:.0f}"])
    print(format_table(("rows", "MiB beyond the imports", "seconds"), table))
    return 0


def measure(folder: Path, rows: int, steps: int, at_once: int | None = None) -> dict[str, float]:
    """Make a log, prepare it, and train for some steps in a process of its own."""
    from edgerec.config import Config
    from edgerec.data import prepare

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    synthetic(rows).write_parquet(folder / "log.parquet")
    prepare(Config.of(SETTINGS, folder), folder / "run")
    command = [sys.executable, "-m", "tools.memory_child", str(folder), str(steps), str(at_once or 0)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(folder)
    return found


def synthetic(rows: int, seed: int = 0) -> pl.DataFrame:
    """A log in which 100,000 rows are a day."""
    rng = np.random.default_rng(seed)
    time_ms = START_MS + np.sort(rng.integers(0, max(rows // 100_000, 4) * 86_400_000, rows))
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


class Watched(threading.Thread):
    """The most memory of its own that this process has had since, in KiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_kib, self.over = own_kib(), threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self.most_kib = max(self.most_kib, own_kib())
            time.sleep(0.01)


def own_kib() -> int:
    """Memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


if __name__ == "__main__":
    sys.exit(main())
