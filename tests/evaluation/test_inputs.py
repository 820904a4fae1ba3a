"""What the bundle loses when it is not told all."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.config import Config
from edgerec.evaluation.inputs import _last, _plain, inputs
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import Events
from edgerec.stages.evaluate import judge_bundle
from edgerec.stages.run import Run


@pytest.fixture(scope="module")
def found(tiny_chain):
    config, run = Config.load(tiny_chain / "edgerec.toml"), tiny_chain / "run"
    data = Run(config, run, Silent()).learning_data("test")
    whole = {"int8": judge_bundle(run / "bundle", data, config.evaluation.k, Silent())}
    return inputs(run / "bundle", data, find_evaluation_requests(data), config.evaluation.k, whole, Silent())


def test_each_part_of_a_request_that_there_is_is_withheld(found):
    assert list(found) == [
        "without a past",
        "with the last event alone",
        "without kinds of events",
        "without context",
        "without user attributes",
    ]
    assert {task: list(of) for task, of in found["without context"].items()} == {
        "next": ["ndcg@10"], "new": ["ndcg@10"], "click": ["auc"], "liked": ["auc"], "watch": ["xauc"],
    }  # fmt: skip


def test_who_is_told_no_past_knows_less_of_the_camps(found):
    without = found["without a past"]["next"]["ndcg@10"]
    assert without.value < -0.1 and without.value < -3 * without.se


def test_a_change_leaves_the_rest_of_the_past():
    past = Events(np.array([4, 2, 7]), np.array([1, 0, 3]), np.array([10, 30, 20]))

    assert [x.tolist() for x in _last(past)] == [[2], [0], [30]]
    assert [x.tolist() for x in _plain(past)] == [[4, 2, 7], [0, 0, 0], [10, 30, 20]]
    none = Events(*(np.zeros(0, np.int64) for _ in range(3)))
    assert len(_last(none).item) == 0
