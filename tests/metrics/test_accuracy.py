"""Arithmetic a reader can redo, agreement with scikit-learn and with the shared protocol, and what always holds."""

import math
import sys
import warnings
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from edgerec import metrics as m

SHARED = Path(__file__).parents[3] / "shared"
needs_protocol = pytest.mark.skipif(
    not (SHARED / "protocol" / "protocol.py").is_file(), reason="../shared/protocol is not there"
)


def protocol():
    sys.path.insert(0, str(SHARED / "protocol"))
    try:
        import protocol as module
    finally:
        sys.path.pop(0)
    return module


def same(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(value) and math.isnan(expected))


# ------------------------------------------------------------------------------------------------ ranking


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


# ------------------------------------------------------------------------------------------------ pointwise


def random_rows(seed: int = 0, n: int = 400):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(float)
    p = np.round(np.clip(rng.normal(0.3 + 0.2 * y, 0.2), 0, 1), 2)  # rounded: many ties
    return y, p, rng.integers(0, 40, n)


def test_auc_and_logloss_equal_scikit_learn():
    y, p, user = random_rows()
    out = m.binary_metrics(y, p, user, boot=0)

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
    out = m.auc_metrics(np.zeros(3), np.array([0.1, 0.2, 0.3]), np.array([1, 1, 2]))

    assert math.isnan(out["auc"].value) and math.isnan(out["auc"].se) and math.isnan(out["gauc"].value)
    assert out["auc"].to_json() == {"value": None, "se": None, "n": 3}


def test_no_rows_give_no_numbers():
    assert all(math.isnan(e.value) for e in m.binary_metrics(np.zeros(0), np.zeros(0), np.zeros(0)).values())
    assert all(math.isnan(e.value) for e in m.regression_metrics(np.zeros(0), np.zeros(0)).values())


def test_calibration_error_is_the_gap_between_rate_and_probability():
    y, p = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.repeat([0.1, 0.9], 4)

    assert m.ece(y, p) == pytest.approx((abs(1 - 4 * 0.1) + abs(3 - 4 * 0.9)) / 8)


def test_a_probability_above_one_is_refused():
    with pytest.raises(ValueError, match=r"a probability is in \[0, 1\], got \[0.5, 1.5\]"):
        m.binary_metrics(np.array([0, 1]), np.array([0.5, 1.5]))


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="finite"):
        m.auc_metrics(np.array([0, 1]), np.array([0.5, np.nan]))


def test_xauc_error_is_the_limit_of_the_bootstrap():
    y, p, user = random_rows(n=300)
    y = y + np.random.default_rng(1).integers(0, 5, len(y))
    rng, draws = np.random.default_rng(2), []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(user == u) for u in rng.choice(np.unique(user), len(np.unique(user)))])
        draws.append(m.xauc(y[rows], p[rows]))

    assert m.regression_metrics(y, p, user)["xauc"].se == pytest.approx(np.std(draws, ddof=1), rel=0.15)


# ------------------------------------------------------------------------------------------------ pairs


def test_a_paired_difference_knows_that_requests_are_shared():
    truth = [np.array([i]) for i in range(4)]
    a = m.ranking_metrics(np.array([[0], [1], [2], [0]]), truth, 4, k=(1,))["hit@1"]
    b = m.ranking_metrics(np.array([[0], [1], [0], [0]]), truth, 4, k=(1,))["hit@1"]

    assert a.minus(b).value == pytest.approx(1 / 4)
    assert a.minus(b).se == pytest.approx(np.std([0, 0, 1, 0], ddof=1) / np.sqrt(4))
    assert a.minus(a).se == 0


def test_a_paired_difference_of_other_requests_is_refused():
    with pytest.raises(ValueError, match="the same requests, got 2 and 3"):
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

    assert all(0 <= e.value <= 1 + 1e-12 for e in m.ranking_metrics(top, truth, n_items).values())
    perfect = m.ranking_metrics(ideal, truth, n_items)
    assert perfect["ndcg@10"].value == pytest.approx(1)
    assert perfect["mrr"].value == perfect["capped_recall@10"].value == 1


# ------------------------------------------------------------------------------------------------ protocol


def assert_same_ranking(P, eval_requests, top, position):
    expected = P.score_ranking(
        eval_requests, {"case": eval_requests.case, "items": np.where(top >= 0, eval_requests.catalog[top], -1)}
    )
    truth, exclude = ([position[x] for x in part] for part in (eval_requests.truth, eval_requests.exclude))
    out = m.ranking_metrics(top, truth, len(eval_requests.catalog), exclude)
    for name in ("ndcg@10", "recall@20", "hit@10", "mrr", "coverage@10"):
        assert same(out[name].value, expected[name]), name
        if name != "coverage@10":
            assert same(out[name].se, expected[name + "_se"]), name


def assert_same_pointwise(P, y, p, kind, user):
    expected = P.score_pointwise(y, p, kind, user, boot=200)
    out = (m.binary_metrics if kind == "binary" else m.regression_metrics)(y, p, user)
    for name in {"auc", "logloss", "gauc", "mae", "xauc"} & set(expected):
        assert same(out[name].value, expected[name]), name
    main = "auc" if kind == "binary" else "mae"
    assert same(out[main].se, expected[main + "_se"])


@needs_protocol
@pytest.mark.parametrize("task", ["next", "new"])
def test_ranking_equals_the_protocol_on_online_retail(task):
    P = protocol()
    data = P.online_retail(SHARED / "data" / "online-retail")
    eval_requests = P.ranking_cases(data, "test", task)
    position = np.full(len(data.meta["items"]), -1)
    position[eval_requests.catalog] = np.arange(len(eval_requests.catalog))
    popularity = np.bincount(position[data.fit("test")["item"]], minlength=len(eval_requests.catalog)).astype(float)
    scores = np.tile(popularity, (len(eval_requests.case), 1))
    for row, history, excluded in zip(scores, eval_requests.history, eval_requests.exclude, strict=True):
        row[position[history]] += 100
        row[position[excluded]] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :100]

    assert_same_ranking(P, eval_requests, top, position)


@needs_protocol
def test_related_equals_the_protocol_on_online_retail():
    P = protocol()
    data = P.online_retail(SHARED / "data" / "online-retail")
    baskets = P.related_baskets(data, "test")
    n_items, rng = len(data.meta["items"]), np.random.default_rng(0)
    popular = np.argsort(-np.bincount(data.fit("test")["item"], minlength=n_items))[:60]
    top = np.stack([rng.permutation(popular[popular != i])[:15] for i in range(n_items)])
    expected = P.score_related(baskets, {"case": np.arange(n_items), "items": top})
    out = m.related_metrics(baskets, top)

    for name in ("recall@10", "capped_recall@10", "hit@10"):
        assert same(out[name].value, expected[name]) and same(out[name].se, expected[name + "_se"])


@needs_protocol
def test_pointwise_equals_the_protocol_on_kuairand():
    P = protocol()
    test = P.kuairand(SHARED / "data" / "kuairand-pure-2w").test.iloc[:12_000]
    rng, user = np.random.default_rng(0), test["user_id"].to_numpy()
    noise = np.round(rng.random(len(test)), 2)
    for task in ("click", "like", "ctcvr"):
        label = test[task].to_numpy(float)
        assert_same_pointwise(P, label, 0.8 * noise + 0.2 * label, "binary", user)
    watch = test["watch_ms"].to_numpy(float)
    assert_same_pointwise(P, watch, watch * noise, "regression", user)


@needs_protocol
@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("labels", [[0.0], [1.0], [0.0, 1.0]])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_pointwise_equals_the_protocol_on_degenerate_rows(kind, labels, n):
    P, rng = protocol(), np.random.default_rng(n)
    with warnings.catch_warnings(action="ignore"):  # the protocol averages nothing here
        assert_same_pointwise(P, rng.choice(labels, n), np.round(rng.random(n), 1), kind, rng.integers(0, 4, n))


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
