"""What the bundle loses without a part of its requests."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.config import Config
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.inputs import _last, _plain, evaluate_inputs
from edgerec.evaluation.runtime_model import RuntimeModel, Versions
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender, Events
from edgerec.stages.run import Run


@pytest.fixture(scope="module")
def table(tiny_chain):
    config, run = Config.load(tiny_chain / "edgerec.toml"), tiny_chain / "run"
    data = Run(config, run, Silent()).learning_data("test")
    with ArrayRecommender.of(run / "bundle") as recommender:
        versions, requests = Versions(recommender), find_evaluation_requests(data)
        whole = Answers.of(RuntimeModel(versions, data, requests, Silent()), data)
        return evaluate_inputs(versions, data, requests, config.evaluation.k, whole, Silent())


def test_each_part_of_a_request_that_there_is_is_withheld(table):
    assert list(table) == [
        "without a past",
        "with the last event alone",
        "without kinds of events",
        "without context",
        "without user attributes",
    ]
    assert {task: list(of) for task, of in table["without context"].items()} == {
        "next": ["ndcg@10"], "new": ["ndcg@10"], "click": ["auc"], "liked": ["auc"], "watch": ["xauc"],
    }  # fmt: skip


def test_without_a_past_less_is_known_of_the_camps(table):
    without = table["without a past"]["next"]["ndcg@10"]
    assert without.value < -0.1 and without.value < -3 * without.se


def test_a_change_leaves_the_rest_of_the_past():
    past = Events(np.array([4, 2, 7]), np.array([1, 0, 3]), np.array([10, 30, 20]))

    assert [x.tolist() for x in _last(past)] == [[2], [0], [30]]
    assert [x.tolist() for x in _plain(past)] == [[4, 2, 7], [0, 0, 0], [10, 30, 20]]
    none = Events(*(np.zeros(0, np.int64) for _ in range(3)))
    assert len(_last(none).item) == 0
