"""What stages and their parts take, measured as they report their progress."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgerec.errors import ConfigError
from edgerec.progress import Silent
from tools.benchmarks import stages
from tools.benchmarks.shared.measured import Cost, Measured

ROOT = Path(__file__).parents[3]
HALF_A_SECOND = "import time; start = time.process_time()\nwhile time.process_time() < start + 0.5: pass"


def test_a_part_has_its_own_time_and_memory_and_a_stage_has_that_of_all_its_parts():
    measured = Measured(Silent())
    with measured.stage("train"):
        with measured.track(None, "folds"), measured.track(2, "fold"):
            held = np.ones(20_000_000)  # 153 MiB
            time.sleep(0.2)
            del held
        with measured.track(None, "members"):
            subprocess.run([sys.executable, "-c", HALF_A_SECOND], check=True)
    whole, folds, fold, members, rest = measured.costs()

    assert [c.path for c in (whole, folds, fold, members, rest)] == [
        ("train",), ("train", "folds"), ("train", "folds", "fold"), ("train", "members"), ("train", "all else")
    ]  # fmt: skip
    assert 0.2 <= fold.wall_s <= folds.wall_s < whole.wall_s - members.wall_s
    assert members.cpu_s >= 0.5 and whole.cpu_s >= members.cpu_s
    assert folds.peak_mib > members.peak_mib + 100 and whole.peak_mib >= folds.peak_mib
    assert rest.wall_s == pytest.approx(whole.wall_s - folds.wall_s - members.wall_s)


LOOKS = """
import subprocess, threading
import numpy as np
from tools.benchmarks.shared.measured import _resident_mib

held = np.ones(20_000_000)  # 153 MiB
before, most, over = _resident_mib(), [0.0], threading.Event()

def look():
    while not over.is_set():
        most[0] = max(most[0], _resident_mib())

looking = threading.Thread(target=look)
looking.start()
for _ in range(60):
    subprocess.run(["/bin/sh", "-c", ""], check=True)
over.set()
looking.join()
print(len(held), before, most[0])
"""


def test_a_process_that_has_not_begun_its_program_does_not_count_its_parent_again():
    # In a process of its own: the memory of other tests would come and go beside it.
    run = subprocess.run([sys.executable, "-c", LOOKS], cwd=ROOT, capture_output=True, text=True, check=True)
    _, before, most = map(float, run.stdout.split())
    assert before - 50 < most < before + 100


def test_a_part_that_comes_twice_is_one_row_with_both_times():
    measured = Measured(Silent())
    for _ in range(2):
        with measured.track(None, "reading"):
            time.sleep(0.05)

    (cost,) = measured.costs()
    assert cost.wall_s > 0.1


def test_figures_are_compared_with_those_of_before():
    before = {("train",): Cost(("train",), 10.0, 20.0, 500.0), ("prune",): Cost(("prune",), 1.0, 1.0, 1.0)}
    rows = stages.compared([Cost(("train",), 5.0, 20.0, 250.0), Cost(("train", "folds"), 4.0)], before)

    assert [row["part"] for row in rows] == ["train", "   folds", "prune"]
    assert [rows[0][f"{name} ratio"] for name in ("wall s", "CPU s", "peak MiB")] == ["0.50", "1.00", "0.50"]
    assert rows[1]["wall s before"] == "" and rows[2]["wall s now"] == ""


def test_one_stage_is_measured_with_the_results_of_a_run_for_those_before(tiny_chain, tmp_path, capsys):
    arguments = [str(tiny_chain / "edgerec.toml"), "--out", str(tmp_path / "out"), "--json"]
    assert stages.main([*arguments, "--last", "prepare"]) == 0
    costs = json.loads(capsys.readouterr().out)["costs"]

    assert [cost["path"] for cost in costs][-1] == [stages.TOTAL]
    with pytest.raises(ConfigError, match="has no finished stage prepare"):
        stages.main([*arguments, "--first", "prune", "--last", "prune"])


def test_a_run_is_not_emptied_to_measure_it(tiny_chain):
    with pytest.raises(ConfigError, match="it is the run itself"):
        stages.main([str(tiny_chain), "--out", str(tiny_chain)])
