"""Estimates: paired differences and ratios."""

import numpy as np
import pytest

from edgerec import metrics as m


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


def test_a_ratio_of_a_model_with_itself_is_one_without_error():
    one = m.mean(np.array([0.2, 0.4, 0.9]))

    assert (one.over(one).value, one.over(one).se) == (1, 0)
    assert m.mean(np.array([0.1, 0.2, 0.45])).over(one).value == pytest.approx(0.5)
    assert np.isnan(one.over(m.mean(np.zeros(3))).value)
    nothing = m.mean(np.zeros(3)).over(one)  # how sure nothing is depends on how well the other one is known
    assert (nothing.value, nothing.se) == (0, pytest.approx(one.se / one.value))


def test_the_values_of_a_mean_come_back():
    values = np.random.default_rng(0).random(9)
    assert m.mean(values).each() == pytest.approx(values)
