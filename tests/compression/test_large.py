"""A million items are exported in little more memory than their table takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

ITEMS, DIM = 1_000_000, 32
EXPORT = f"""
import sys
from pathlib import Path
import numpy as np, torch
from edgerec.compression.export import export_student
from edgerec.compression.graph import pack
from edgerec.compression.graphs import ItemTable, recommend_graph, score_graph, similar_graph
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import Task

def now(key):
    return 1024 * int(Path("/proc/self/status").read_text().split(key)[1].split()[0])

tasks = [Task("next", "retrieval"), Task("related", "related")]

def student_of(n):
    shape = Shape(n, 1, (8,), 4, (), 0, 0, 4)
    features = ItemFeatures(torch.zeros(n, 0), torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))
    return Student(shape, features, 1, StudentSizes.of({DIM}, 64, 4)).eval()

def export(student, place):
    parts = export_student(student, np.zeros((student.shape.n_items, 4), np.float32), tasks)
    items = ItemTable.of(parts)
    builders = [recommend_graph(parts, items, {{}}), score_graph(parts, items, {{}}), similar_graph(parts, items)]
    pack(builders, Path(place) / "weights.bin")

export(student_of(10), sys.argv[1])  # loads what exporting needs, whatever the size
student = student_of({ITEMS})
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = now("VmRSS:")
export(student, sys.argv[1])
print(now("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of a process from /proc")
def test_exporting_a_million_items_takes_at_most_three_times_the_table(tmp_path):
    run = subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path)], capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert int(run.stdout) <= 3 * 4 * ITEMS * DIM
    # INT8 rows with a scale of four bytes, and the priors of both tasks in two bytes.
    assert (tmp_path / "weights.bin").stat().st_size < ITEMS * (DIM + 4 + 2 * 2) * 1.02
