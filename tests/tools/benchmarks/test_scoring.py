"""The ways to score a catalogue that `tools/benchmark scoring` times."""

from __future__ import annotations

import argparse

import pytest

from tools.benchmarks import scoring


def test_every_way_is_timed_and_every_graph_of_ours_finds_the_best_of_fp32(tmp_path):
    columns, rows = scoring.compare(2_000, tmp_path, 0.02)
    overlap = {name: best for name, _, _, best in rows}

    assert columns[2] == "of u8s8" and rows[0][2] == 1
    assert {*scoring.OURS, "quantize_dynamic of fp32", "numpy, matmul and argpartition"} <= overlap.keys()
    assert all(overlap[name] >= 19.5 for name in scoring.OURS)
    assert all(ms > 0 for _, ms, _, _ in rows)


@pytest.mark.parametrize("text", ["", "abc", "5", "10000,5", "nan"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected whole numbers of at least 1000"):
        scoring.sizes(text)


@pytest.mark.parametrize("text", ["", "nan", "0", "-1", "1e9"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds"):
        scoring.seconds(text)
