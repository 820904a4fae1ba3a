"""The benchmark that times training on what a machine has."""

from __future__ import annotations

import json

import pytest

from tools.benchmarks import accelerators
from tools.benchmarks.__main__ import main


@pytest.mark.slow
def test_each_width_is_trained_on_what_is_asked(capsys):
    asked = ["retail", "--widths", "8,16", "--epochs", "1", "--setups", "cpu", "--json"]

    assert accelerators.main(asked) == 0

    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["retail"]
    assert (rows[0]["width"], rows[0]["on"], rows[0]["times faster"]) == (8, "cpu", 1.0)
    assert rows[1]["parameters"] > rows[0]["parameters"]
    assert all(0 < row["least loss on valid"] < 10 and row["seconds an epoch"] > 0 for row in rows)


def test_widths_that_are_no_numbers_are_one_line(capsys):
    assert main(["accelerators", "retail", "--widths", "64,wide"]) == 2
    assert capsys.readouterr().err == (
        "tools/benchmark accelerators: argument --widths: "
        "expected whole numbers of at least 1, such as 64,512, got '64,wide'\n"
    )


def test_an_unknown_data_set_is_one_line(capsys):
    assert main(["accelerators", "retaill"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'retaill' is not one of retail, video" in line
