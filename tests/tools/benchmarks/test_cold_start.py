"""tools/judge_cold, with a teacher that learns next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "judge_cold.py"
SMALL = {"epochs": 1, "folds": 2, "visits_per_epoch": 300, "dim": 8, "hidden": 8, "text_components": 4}


@pytest.mark.slow
def test_new_arrivals_of_the_retail_sample_are_judged_beside_chance(tmp_path):
    command = [sys.executable, str(TOOL), "--out", str(tmp_path), "--teacher", json.dumps(SMALL)]
    subprocess.run(command, check=True, capture_output=True, cwd=TOOL.parents[1])

    found = json.loads((tmp_path / "valid" / "cold.json").read_text())
    assert set(found) == {"next", "new"}
    assert {"teacher", "chance", "attribute_popularity"} <= set(found["next"])
    assert found["next"]["chance"]["auc"] == {"value": 0.5, "se": 0.0, "n": 469}
