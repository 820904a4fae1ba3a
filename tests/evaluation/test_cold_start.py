"""How new cold-start items are ranked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from edgerec.data import prepare
from edgerec.ensemble.scoring import TorchScorer
from edgerec.evaluation.cold_start import (
    ColdStartRequests,
    attribute_popularity,
    cold_start_metrics,
    cold_start_references,
    cold_start_report,
    cold_start_requests,
    evaluate_cold_start,
)
from edgerec.examples.load import LearningData
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tests import tiny

LATE = 5
"""Items of each camp that first appear in the test part."""


def requests_of(truth: list[list[int]], items: int) -> ColdStartRequests:
    mask = np.zeros((len(truth), items), bool)
    for row, true in zip(mask, truth, strict=True):
        row[true] = True
    return ColdStartRequests(np.arange(len(truth)), np.arange(items), mask)


def by_table(scores: list[list[float]]) -> Callable[[Any], np.ndarray]:
    return lambda rows: np.array(scores)[rows]


def test_metrics_by_hand():
    # User 0: the true items stand second and fourth of four; user 1: first of four.
    values = evaluate_cold_start(by_table([[4, 3, 2, 1], [4, 3, 2, 1]]), requests_of([[1, 3], [0]], 4))

    assert values["mrr"].value == pytest.approx((1 / 2 + 1) / 2)
    assert values["auc"].value == pytest.approx((1 / 4 + 1) / 2)  # of 2 x 2 pairs one is in order
    assert values["mrr"].se == pytest.approx(1 / 4)
    assert values["hit@10"].value == 1


def test_equal_scores_count_as_the_mean_over_all_their_orders():
    truth, tied = [1, 4], [3.0, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    orders = [[2 + noise / 10 for noise in p] for p in itertools.permutations(range(4))]
    each = [evaluate_cold_start(by_table([[3.0, *order, *tied[5:]]]), requests_of([truth], 12)) for order in orders]

    values = evaluate_cold_start(by_table([tied]), requests_of([truth], 12))

    for name in ("ndcg@10", "mrr", "hit@10", "auc"):
        assert values[name].value == pytest.approx(np.mean([e[name].value for e in each]))


def test_chance_by_hand():
    values = evaluate_cold_start(by_table([[0.0] * 20]), requests_of([[3]], 20))

    assert values["mrr"].value == pytest.approx(np.mean(1 / np.arange(1, 21)))
    assert (values["hit@10"].value, values["auc"].value) == (0.5, 0.5)


def test_a_user_who_consumed_all_cold_start_items_has_no_order():
    values = evaluate_cold_start(by_table([[1.0, 2.0], [2.0, 1.0]]), requests_of([[0, 1], [0]], 2))

    assert (values["auc"].n, values["auc"].value, values["mrr"].value) == (1, 1, 1)


@pytest.fixture(scope="module")
def cold_start_items(tmp_path_factory: pytest.TempPathFactory) -> LearningData:
    """The tiny log, in which items 30 to 39 appear only in the last days; an items file knows all, and one more."""
    folder: Path = tmp_path_factory.mktemp("cold_start")
    log = pl.DataFrame(tiny.rows())
    late = pl.col("item").str.slice(1).cast(pl.Int64) >= tiny.ITEMS - 2 * LATE
    end = pl.col("time").max() - 5 * tiny.DAY_MS
    tiny.write(folder, log.filter(~late | (pl.col("time") > end)).to_dict(as_series=False))
    items = [f"i{i}" for i in range(tiny.ITEMS + 1)]
    camps = ["even", "odd"]
    table = pl.DataFrame({"item": items, "camp": [camps[i % 2] for i in range(len(items))], "price": range(len(items))})
    table.write_csv(folder / "items.csv")
    data = tiny.settings()["data"] | {"items": {"path": "items.csv", "categorical": ["camp"], "numeric": ["price"]}}
    config = tiny.config(folder, data=data)
    prepare(config, folder / "run")
    return Run(config, folder / "run", Silent()).learning_data("test")


def test_requests_are_of_users_who_consumed_items_that_the_training_split_lacks(cold_start_items):
    eval_requests = cold_start_requests(cold_start_items, cold_start_items.tasks[0])
    ids = cold_start_items.dataset.items()["id"].to_list()
    evaluation = cold_start_items.evaluation_log

    assert {int(ids[i][1:]) for i in eval_requests.items} <= set(range(tiny.ITEMS - 2 * LATE, tiny.ITEMS))
    assert not np.isin(eval_requests.items, cold_start_items.train_log.item).any()
    for row, true in zip(eval_requests.rows, eval_requests.truth, strict=True):
        user = cold_start_items.evaluation.sessions.requests.user[row]
        clicked = (evaluation.user == user) & (evaluation.labels["click"] > 0)
        assert set(eval_requests.items[true]) == set(evaluation.item[clicked]) & set(eval_requests.items)
        assert true.any()


def test_a_scorer_that_knows_the_camps_is_above_chance_by_more_than_its_error(cold_start_items):
    n = cold_start_items.n_items
    camp_of = np.array([int(i[1:]) % 2 for i in cold_start_items.dataset.items()["id"].to_list()])
    user_ids = cold_start_items.dataset.users()["id"].to_list()

    def by_camp(rows: np.ndarray) -> np.ndarray:
        users = cold_start_items.evaluation.sessions.requests.user[rows]
        return np.array([int(user_ids[u][1:]) % 2 == camp_of for u in users], float)

    report = cold_start_report(cold_start_items, cold_start_items.tasks[0], {"camps": by_camp})
    margin = report["camps"]["auc"].minus(report["chance"]["auc"])

    assert n == tiny.ITEMS + 1
    assert margin.value > 4 * margin.se > 0
    assert report["chance"]["auc"].value == 0.5
    assert "text_similarity" not in report  # there is no text


def test_attribute_popularity_is_the_mean_of_like_items(cold_start_items):
    counts = np.bincount(cold_start_items.train_log.item, minlength=cold_start_items.n_items)
    camp = cold_start_items.features.categorical[:, 0].numpy()
    seen = np.arange(cold_start_items.n_items) < cold_start_items.evaluation.n_seen
    item = int(cold_start_requests(cold_start_items, cold_start_items.tasks[0]).items[0])
    price = cold_start_items.features.numeric[:, 0].numpy()
    dearest = seen & (price > np.quantile(price[seen], 0.9))  # the cold-start items are dearer than all that was seen

    expected = (counts[seen & (camp == camp[item])].mean() + counts[dearest].mean()) / 2
    assert attribute_popularity(cold_start_items)[item] == pytest.approx(expected)


def test_without_an_items_file_there_are_no_cold_start_items_to_evaluate(tiny_data):
    assert cold_start_report(tiny_data, tiny_data.tasks[0], {}) == {}


def test_cold_start_items_are_evaluated_where_there_are_some(cold_start_items, tiny_data):
    torch.manual_seed(0)
    student = Student(cold_start_items.shape, cold_start_items.features, 5, StudentSizes.of(8, 16, 2)).eval()
    scorer = TorchScorer([student], cold_start_items)
    values, references = cold_start_metrics(scorer, cold_start_items), cold_start_references(cold_start_items)

    assert values.keys() == {"next_cold_start", "new_cold_start"} == references["chance"].keys()
    assert values["next_cold_start"]["auc"].n == references["chance"]["next_cold_start"]["auc"].n
    assert cold_start_references(tiny_data) == {}
