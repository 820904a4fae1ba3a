"""`tools/benchmark cold-start`, with a teacher that learns next to nothing."""

from __future__ import annotations

import json

import pytest

from tools.benchmarks import cold_start

SMALL = {"epochs": 1, "folds": 2, "sessions_per_epoch": 300, "dim": 8, "hidden": 8, "text_components": 4}


@pytest.mark.slow
def test_cold_start_items_of_the_retail_sample_are_evaluated_beside_chance(tmp_path):
    assert cold_start.main(["--out", str(tmp_path), "--teacher", json.dumps(SMALL)]) == 0

    figures = json.loads((tmp_path / "valid" / "cold_start.json").read_text())
    assert set(figures) == {"next", "new"}
    assert {"teacher", "chance", "attribute_popularity"} <= set(figures["next"])
    assert figures["next"]["chance"]["auc"] == {"value": 0.5, "se": 0.0, "n": 469}
