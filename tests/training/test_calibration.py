"""Calibrated expectations of regression targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from edgerec.training.calibration import fit_expectation, fit_odds, fit_temperature


def expectation(logit, slope, offset):
    return np.exp(slope * logit + offset)


def test_a_known_line_is_recovered():
    logit = np.random.default_rng(0).normal(size=5_000)
    label = np.random.default_rng(1).poisson(expectation(logit, 0.7, 2.0)).astype(np.float64)

    assert fit_expectation(logit, label) == pytest.approx((0.7, 2.0), abs=0.02)


labels = st.lists(st.floats(0, 1e5), min_size=5, max_size=30)


@given(labels, st.integers(0, 9))
@example([0.0, 9827.0, 0.0, 0.0, 14717.0], 0)  # a whole step of Newton's method leads far away
def test_the_mean_of_the_expectations_is_the_mean_of_the_labels(values, seed):
    label = np.array(values)
    logit = np.log1p(label) + np.random.default_rng(seed).normal(size=len(values))
    slope, offset = fit_expectation(logit, label)

    assert slope >= 0
    if label.mean() > 1e-6:
        assert expectation(logit, slope, offset).mean() == pytest.approx(label.mean(), rel=1e-4)


def test_logits_that_point_the_wrong_way_give_a_constant_that_is_still_the_mean():
    logit, label = np.array([0.0, 1.0, 2.0, 3.0]), np.array([80.0, 40.0, 20.0, 4.0])
    slope, offset = fit_expectation(logit, label)

    assert slope == 0.0
    assert np.exp(offset) == pytest.approx(label.mean())


@pytest.mark.parametrize(("logit", "label"), [([1.0, 1.0], [3.0, 5.0]), ([1.0, 2.0], [4.0, 4.0])])
def test_where_nothing_can_be_told_apart_the_expectation_is_the_mean(logit, label):
    slope, offset = fit_expectation(np.array(logit), np.array(label))

    assert slope == pytest.approx(0.0, abs=1e-6)
    assert np.exp(offset) == pytest.approx(4.0, rel=1e-6)


def test_labels_that_are_all_zero_give_an_expectation_of_nothing():
    assert expectation(np.array([-5.0, 5.0]), *fit_expectation(np.array([0.0, 1.0]), np.zeros(2))).max() < 1e-6


def test_odds_give_back_the_slope_and_offset_that_made_the_labels():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=100_000)
    label = (rng.random(100_000) < expit(0.5 * logit - 1)).astype(float)
    slope, offset = fit_odds(logit, np.ones_like(logit), label)

    assert (slope, offset) == (pytest.approx(0.5, abs=0.03), pytest.approx(-1, abs=0.03))


def test_odds_along_a_chain_are_those_of_the_step_alone():
    rng = np.random.default_rng(0)
    logit, before = rng.normal(size=200_000), rng.uniform(0.2, 0.8, 200_000)
    label = (rng.random(200_000) < before * expit(2 * logit + 0.3)).astype(float)
    slope, offset = fit_odds(logit, before, label)

    assert (slope, offset) == (pytest.approx(2, abs=0.1), pytest.approx(0.3, abs=0.05))


def test_labels_of_one_class_calibrate_nothing():
    assert fit_odds(np.array([1.0, 2.0]), np.ones(2), np.zeros(2)) == (1.0, 0.0)


def test_shares_give_back_the_slope_that_made_them():
    logits = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)

    assert fit_temperature(logits, softmax(2.5 * logits, axis=1)) == pytest.approx(2.5, rel=0.01)
