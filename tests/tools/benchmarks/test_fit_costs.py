"""Constants of the announced time, from runs whose times are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgerec.config import Config
from edgerec.config.effort import LogSize
from edgerec.stages import cost
from tools.benchmarks.shared.fit_costs import Run, fitted
from tools.benchmarks.shared.measured import Cost

PART = "prepare/"
SIZE = LogSize(rows=100_000, users=1_000, items=500, sessions=100_000, past=50.0, judged=200)
DATA = {"interactions": "log.csv", "user": "user", "item": "item", "time": "time"}
CONFIG = Config.of({"name": "shop", "data": DATA, "task": [{"name": "next", "kind": "retrieval"}]})


def run(seconds, rows=SIZE.rows):
    costs = [Cost(("Preparing the data",), seconds)]
    return Run(CONFIG, replace(SIZE, rows=rows), {"learn_s": 1.0}, 2, costs)


def foretold(runs, before, rows=SIZE.rows):
    constants = fitted(runs, {PART: before})["seconds"][PART]
    return sum(n * constants[name] for name, n in cost.work(CONFIG, replace(SIZE, rows=rows))["prepare", ""].items())


def test_of_two_runs_alike_the_geometric_mean_is_foretold():
    assert foretold([run(10.0), run(40.0)], {"once": 1.0, "row": 1e-4}) == pytest.approx(20.0, rel=0.05)


def test_a_constant_that_was_0_rises_where_runs_of_several_sizes_ask_for_it():
    runs = [run(rows / 10_000, rows) for rows in (100_000, 1_000_000, 10_000_000)]

    assert foretold(runs, {"once": 5.0, "row": 0.0}, 3_000_000) == pytest.approx(300.0, rel=0.2)
