"""Arithmetic a reader can redo, agreement with scikit-learn, and what always holds; see also test_protocol.py."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from edgerec.metrics import accuracy as m


def same(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(value) and math.isnan(expected))


# ------------------------------------------------------------------------------------------------ ranking


def test_ranking_of_one_list_by_hand():
    top = np.array([[7, 3, 5, -1]])
    out = m.ranking(top, [np.array([3, 9, 5])], n_items=10, k=(2, 4))

    best = 1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert out["ndcg@4"].value == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / best)
    assert out["recall@2"].value == pytest.approx(1 / 3)
    assert out["capped_recall@2"].value == pytest.approx(1 / 2)
    assert out["hit@2"].value == 1
    assert out["mrr"].value == pytest.approx(1 / 2)
    assert out["coverage@4"].value == pytest.approx(3 / 10)
    assert math.isnan(out["mrr"].se)


def test_standard_error_is_over_cases():
    out = m.ranking(np.array([[0], [1], [2]]), [np.array([0]), np.array([0]), np.array([0])], n_items=3, k=(1,))

    assert out["hit@1"].value == pytest.approx(1 / 3)
    assert out["hit@1"].se == pytest.approx(np.std([1, 0, 0], ddof=1) / np.sqrt(3))


def test_a_case_with_no_list_scores_zero():
    out = m.ranking(np.array([[-1, -1]]), [np.array([0])], n_items=2)

    assert out["ndcg@10"].value == out["mrr"].value == out["coverage@10"].value == 0


@pytest.mark.parametrize(
    ("top", "exclude", "what"),
    [([[1, 1]], None, "repeated"), ([[1, 5]], None, "unknown"), ([[1, 2]], [np.array([2])], "excluded")],
)
def test_a_bad_list_is_refused_and_named(top, exclude, what):
    with pytest.raises(ValueError, match=f"case 0: its list holds a {what} item"):
        m.ranking(np.array(top), [np.array([1])], n_items=5, exclude=exclude)


def test_a_case_without_truth_is_refused():
    with pytest.raises(ValueError, match="case 1 has no true item"):
        m.ranking(np.array([[0], [0]]), [np.array([0]), np.array([], int)], n_items=1)


def test_related_of_one_basket_by_hand():
    lists = np.array([[1, 3], [3, 4], [0, 1], [-1, -1], [-1, -1]])
    out = m.related([np.array([0, 1, 2])], lists, k=(2,))

    found = np.mean([1, 0, 2])  # 0 -> {1}, 1 -> {}, 2 -> {0, 1}
    assert out["recall@2"].value == out["capped_recall@2"].value == pytest.approx(found / 2)
    assert out["hit@2"].value == pytest.approx(2 / 3)


def test_an_item_related_to_itself_is_refused():
    with pytest.raises(ValueError, match="item 1: its list holds the item itself"):
        m.related([np.array([0, 1])], np.array([[1], [1]]))


def test_overlap_ignores_the_order_and_counts_short_lists():
    out = m.overlap(np.array([[1, 2, 3], [4, -1, -1], [-1, -1, -1]]), np.array([[3, 2, 9], [4, 5, -1], [-1, -1, -1]]))

    assert out.value == pytest.approx(np.mean([2 / 3, 1 / 2, 1]))


# ------------------------------------------------------------------------------------------------ pointwise


def random_rows(seed: int = 0, n: int = 400):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(float)
    p = np.round(np.clip(rng.normal(0.3 + 0.2 * y, 0.2), 0, 1), 2)  # rounded: many ties
    return y, p, rng.integers(0, 40, n)


def test_auc_and_logloss_equal_scikit_learn():
    y, p, user = random_rows()
    out = m.binary(y, p, user, boot=0)

    assert out["auc"].value == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert out["logloss"].value == pytest.approx(log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)), abs=1e-12)
    per_user = [
        (roc_auc_score(y[user == u], p[user == u]), (user == u).sum())
        for u in np.unique(user)
        if 0 < y[user == u].mean() < 1
    ]
    areas, sizes = zip(*per_user, strict=True)
    assert out["gauc"].value == pytest.approx(np.average(areas, weights=sizes), abs=1e-12)
    assert out["gauc"].n == len(per_user)


def test_one_class_has_no_auc_and_no_error():
    out = m.ordering(np.zeros(3), np.array([0.1, 0.2, 0.3]), np.array([1, 1, 2]))

    assert math.isnan(out["auc"].value) and math.isnan(out["auc"].se) and math.isnan(out["gauc"].value)
    assert out["auc"].to_json() == {"value": None, "se": None, "n": 3}


def test_no_rows_give_no_numbers():
    assert all(math.isnan(e.value) for e in m.binary(np.zeros(0), np.zeros(0), np.zeros(0)).values())
    assert all(math.isnan(e.value) for e in m.regression(np.zeros(0), np.zeros(0)).values())


def test_calibration_error_is_the_gap_between_rate_and_probability():
    y, p = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.repeat([0.1, 0.9], 4)

    assert m.ece(y, p) == pytest.approx((abs(1 - 4 * 0.1) + abs(3 - 4 * 0.9)) / 8)


def test_a_probability_above_one_is_refused():
    with pytest.raises(ValueError, match=r"a probability is in \[0, 1\], got \[0.5, 1.5\]"):
        m.binary(np.array([0, 1]), np.array([0.5, 1.5]))


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="finite"):
        m.ordering(np.array([0, 1]), np.array([0.5, np.nan]))


def test_xauc_error_is_the_limit_of_the_bootstrap():
    y, p, user = random_rows(n=300)
    y = y + np.random.default_rng(1).integers(0, 5, len(y))
    rng, draws = np.random.default_rng(2), []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(user == u) for u in rng.choice(np.unique(user), len(np.unique(user)))])
        draws.append(m.xauc(y[rows], p[rows]))

    assert m.regression(y, p, user)["xauc"].se == pytest.approx(np.std(draws, ddof=1), rel=0.15)


# ------------------------------------------------------------------------------------------------ pairs


def test_a_paired_difference_knows_that_cases_are_shared():
    truth = [np.array([i]) for i in range(4)]
    a = m.ranking(np.array([[0], [1], [2], [0]]), truth, 4, k=(1,))["hit@1"]
    b = m.ranking(np.array([[0], [1], [0], [0]]), truth, 4, k=(1,))["hit@1"]

    assert a.minus(b).value == pytest.approx(1 / 4)
    assert a.minus(b).se == pytest.approx(np.std([0, 0, 1, 0], ddof=1) / np.sqrt(4))
    assert a.minus(a).se == 0


def test_a_paired_difference_of_other_cases_is_refused():
    with pytest.raises(ValueError, match="the same cases, got 2 and 3"):
        m.Estimate(0.1, 2).minus(m.Estimate(0.1, 3))


# ------------------------------------------------------------------------------------------------ always

rows = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0, 2.0, 5.0])),
        hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        hnp.arrays(np.int64, n, elements=st.integers(0, 6)),
    )
)


@given(rows)
@settings(deadline=None)
def test_xauc_equals_a_double_loop(data):
    y, p, _ = data
    pairs = [(i, j) for i in range(len(y)) for j in range(len(y)) if y[i] > y[j]]
    alike = sum(1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0 for i, j in pairs)

    assert same(m.xauc(y, p), alike / len(pairs) if pairs else math.nan)


@given(rows)
@settings(deadline=None)
def test_reversing_the_score_mirrors_auc_gauc_and_xauc(data):
    y, p, user = data
    label = y > 1

    assert same(m.auc(label, -p), 1 - m.auc(label, p))
    assert same(m.gauc(label, -p, user), 1 - m.gauc(label, p, user))
    assert same(m.xauc(y, -p), 1 - m.xauc(y, p))


@given(rows)
@settings(deadline=None)
def test_an_increasing_change_of_the_score_changes_no_order_metric(data):
    y, p, user = data
    label = y > 1

    assert same(m.auc(label, np.exp(3 * p)), m.auc(label, p))
    assert same(m.gauc(label, np.exp(3 * p), user), m.gauc(label, p, user))
    assert same(m.xauc(y, np.exp(3 * p)), m.xauc(y, p))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 25))
@settings(deadline=None)
def test_ranking_metrics_are_shares_and_the_ideal_list_has_ndcg_one(seed, n_cases, n_items):
    rng = np.random.default_rng(seed)
    truth = [rng.choice(n_items, rng.integers(1, n_items + 1), replace=False) for _ in range(n_cases)]
    top = np.stack([rng.permutation(n_items) for _ in range(n_cases)])
    ideal = np.stack([np.r_[t, np.setdiff1d(np.arange(n_items), t)] for t in truth])

    assert all(0 <= e.value <= 1 + 1e-12 for e in m.ranking(top, truth, n_items).values())
    perfect = m.ranking(ideal, truth, n_items)
    assert perfect["ndcg@10"].value == pytest.approx(1)
    assert perfect["mrr"].value == perfect["capped_recall@10"].value == 1


def test_a_ratio_of_a_model_with_itself_is_one_without_error():
    one = m.mean(np.array([0.2, 0.4, 0.9]))

    assert (one.over(one).value, one.over(one).se) == (1, 0)
    assert m.mean(np.array([0.1, 0.2, 0.45])).over(one).value == pytest.approx(0.5)
    assert np.isnan(one.over(m.mean(np.zeros(3))).value)


def test_a_reliability_plot_has_bins_of_equally_many_rows():
    p = np.linspace(0, 1, 30)
    found = m.reliability((p > 0.5).astype(float), p, bins=3)

    assert [n for *_, n in found] == [10, 10, 10]
    assert [rate for _, rate, _ in found] == [0, 0.5, 1]
    assert found[0][0] == pytest.approx(p[:10].mean())
