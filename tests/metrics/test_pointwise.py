"""Metrics of probabilities and regression targets: agreement with scikit-learn, and what always holds."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from edgerec import metrics as m


def same(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(value) and math.isnan(expected))


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


def test_a_reliability_plot_has_bins_of_equally_many_rows():
    p = np.linspace(0, 1, 30)
    found = m.reliability((p > 0.5).astype(float), p, bins=3)

    assert [n for *_, n in found] == [10, 10, 10]
    assert [rate for _, rate, _ in found] == [0, 0.5, 1]
    assert found[0][0] == pytest.approx(p[:10].mean())
