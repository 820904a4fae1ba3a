"""Metrics of ranked lists and of related items: arithmetic that a reader can redo."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec import metrics as m


def test_ranking_of_one_list_by_hand():
    top = np.array([[7, 3, 5, -1]])
    out = m.ranking_metrics(top, [np.array([3, 9, 5])], n_items=10, k=(2, 4))

    best = 1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert out["ndcg@4"].value == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / best)
    assert out["recall@2"].value == pytest.approx(1 / 3)
    assert out["capped_recall@2"].value == pytest.approx(1 / 2)
    assert out["hit@2"].value == 1
    assert out["mrr"].value == pytest.approx(1 / 2)
    assert out["coverage@4"].value == pytest.approx(3 / 10)
    assert math.isnan(out["mrr"].se)


def test_standard_error_is_over_cases():
    out = m.ranking_metrics(np.array([[0], [1], [2]]), [np.array([0]), np.array([0]), np.array([0])], n_items=3, k=(1,))

    assert out["hit@1"].value == pytest.approx(1 / 3)
    assert out["hit@1"].se == pytest.approx(np.std([1, 0, 0], ddof=1) / np.sqrt(3))


def test_a_request_without_a_list_scores_zero():
    out = m.ranking_metrics(np.array([[-1, -1]]), [np.array([0])], n_items=2)

    assert out["ndcg@10"].value == out["mrr"].value == out["coverage@10"].value == 0


@pytest.mark.parametrize(
    ("top", "exclude", "what"),
    [([[1, 1]], None, "repeated"), ([[1, 5]], None, "unknown"), ([[1, 2]], [np.array([2])], "excluded")],
)
def test_a_bad_list_is_refused_and_named(top, exclude, what):
    with pytest.raises(ValueError, match=f"request 0: its list holds a {what} item"):
        m.ranking_metrics(np.array(top), [np.array([1])], n_items=5, exclude=exclude)


def test_a_request_without_true_items_is_refused():
    with pytest.raises(ValueError, match="request 1 has no true item"):
        m.ranking_metrics(np.array([[0], [0]]), [np.array([0]), np.array([], int)], n_items=1)


def test_related_of_one_basket_by_hand():
    lists = np.array([[1, 3], [3, 4], [0, 1], [-1, -1], [-1, -1]])
    out = m.related_metrics([np.array([0, 1, 2])], lists, k=(2,))

    found = np.mean([1, 0, 2])  # 0 -> {1}, 1 -> {}, 2 -> {0, 1}
    assert out["recall@2"].value == out["capped_recall@2"].value == pytest.approx(found / 2)
    assert out["hit@2"].value == pytest.approx(2 / 3)


def test_an_item_related_to_itself_is_refused():
    with pytest.raises(ValueError, match="item 1: its list holds the item itself"):
        m.related_metrics([np.array([0, 1])], np.array([[1], [1]]))


def test_overlap_ignores_the_order_and_counts_short_lists():
    out = m.overlap(np.array([[1, 2, 3], [4, -1, -1], [-1, -1, -1]]), np.array([[3, 2, 9], [4, 5, -1], [-1, -1, -1]]))

    assert out.value == pytest.approx(np.mean([2 / 3, 1 / 2, 1]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 25))
@settings(deadline=None)
def test_ranking_metrics_are_shares_and_the_ideal_list_has_ndcg_one(seed, n_cases, n_items):
    rng = np.random.default_rng(seed)
    truth = [rng.choice(n_items, rng.integers(1, n_items + 1), replace=False) for _ in range(n_cases)]
    top = np.stack([rng.permutation(n_items) for _ in range(n_cases)])
    ideal = np.stack([np.r_[t, np.setdiff1d(np.arange(n_items), t)] for t in truth])

    assert all(0 <= e.value <= 1 + 1e-12 for e in m.ranking_metrics(top, truth, n_items).values())
    perfect = m.ranking_metrics(ideal, truth, n_items)
    assert perfect["ndcg@10"].value == pytest.approx(1)
    assert perfect["mrr"].value == perfect["capped_recall@10"].value == 1
