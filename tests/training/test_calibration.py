"""Calibrated expectations of amounts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgerec.training.calibration import fit_expectation


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
