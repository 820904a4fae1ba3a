"""Weights of members: a member that is right gets one, and known weights are recovered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from edgerec.ensemble.blend import greedy, linear, logistic, spread, temperature

ROWS, ITEMS = 200, 12


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(ITEMS, size=ROWS)


def hits(truth):
    """The share of rows whose highest score is at `truth`."""
    return lambda scores: float((scores.argmax(axis=1) == truth).mean())


def knows(truth, rows, size=1.0):
    """Scores that are highest at the truth of `rows`, and noise elsewhere."""
    scores = np.random.default_rng(int(rows.sum())).random((ROWS, ITEMS)).astype(np.float32)
    scores[rows, truth[rows]] = 2.0
    return scores * size


def test_greedy_takes_the_member_that_is_right_and_gives_the_useless_one_nothing(truth):
    everything = np.arange(ROWS)
    members = {"useless": -knows(truth, everything), "right": knows(truth, everything)}
    weights = greedy(members, hits(truth))

    assert weights["right"] > 0
    assert weights["useless"] == 0


def test_greedy_joins_members_that_know_different_rows_at_their_own_scales(truth):
    even, odd = np.arange(0, ROWS, 2), np.arange(1, ROWS, 2)
    members = {"even": knows(truth, even), "odd": knows(truth, odd, size=1000.0)}
    metric = hits(truth)
    weights = greedy(members, metric)

    assert min(weights.values()) > 0
    assert weights["even"] / weights["odd"] > 100
    assert metric(sum(w * members[n] for n, w in weights.items())) > max(metric(s) for s in members.values()) + 0.2


def test_greedy_never_gives_a_negative_weight_and_stops_without_members_that_differ_between_items(truth):
    rng = np.random.default_rng(3)
    members = {str(i): rng.normal(size=(ROWS, ITEMS)).astype(np.float32) for i in range(4)}

    assert min(greedy(members, hits(truth)).values()) >= 0
    assert greedy({"flat": np.ones((ROWS, ITEMS), np.float32)}, hits(truth)) == {"flat": 0.0}


def test_spread_is_the_mean_distance_from_the_best_score():
    assert spread(np.array([[0, 3, 1], [5, 5, 4]], np.float32)) == 2.0  # (3 + 1) / 2
    assert spread(np.zeros((2, 300), np.float32)) == 0.0
    assert spread(np.arange(300, dtype=np.float32)[None]) == 99.0


def test_temperature_finds_a_known_factor():
    scores = np.random.default_rng(1).normal(size=(400, 8))

    for factor in (0.3, 1.0, 4.0):
        assert temperature(scores, softmax(factor * scores, axis=1)) == pytest.approx(factor, rel=0.03)


def test_temperature_ignores_excluded_items():
    scores = np.array([[1.0, 0.0, -np.inf]])
    probs = np.array([[softmax([2.0, 0.0])[0], softmax([2.0, 0.0])[1], 0.0]])

    assert temperature(scores, probs) == pytest.approx(2.0, rel=0.03)


def test_logistic_finds_known_weights_and_offset():
    rng = np.random.default_rng(2)
    members = rng.normal(size=(2, 40_000))
    p = 1 / (1 + np.exp(-(0.4 * members[0] + 1.5 * members[1] - 0.7)))
    weights, offset = logistic(members, (rng.random(40_000) < p).astype(np.float32))

    assert weights == pytest.approx([0.4, 1.5], abs=0.06)
    assert offset == pytest.approx(-0.7, abs=0.06)


def test_linear_finds_known_weights_and_offset():
    members = np.random.default_rng(4).normal(size=(2, 500))
    weights, offset = linear(members, (0.4 * members[0] + 1.5 * members[1] - 0.7).astype(np.float32))

    assert weights == pytest.approx([0.4, 1.5], abs=1e-4)
    assert offset == pytest.approx(-0.7, abs=1e-4)


@pytest.mark.parametrize("fit", [logistic, linear])
def test_a_member_that_is_wrong_gets_0_and_none_is_negative(fit):
    z = np.random.default_rng(5).normal(size=2_000)
    weights, _ = fit(np.stack([z, -z + 0.01]), (z > 0).astype(np.float32))

    assert weights[0] > 0
    assert weights[1] == 0
