"""The closed-form members against arithmetic that can be redone by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from edgerec.ensemble import closed_form
from edgerec.ensemble.closed_form import (
    Als,
    best_of_rows,
    cosine,
    counts,
    dense,
    ease,
    graph,
    normalized,
    transitions,
)

A, B, C = 0, 1, 2


def matrix_of(rows):
    return sparse.csr_matrix(np.array(rows, np.float32))


def camps(seed=0, users=40, items=20):
    """Users by items: each user had six items of the own camp, items and users alternating between two."""
    rng = np.random.default_rng(seed)
    by_user = np.zeros((users, items), np.float32)
    for user in range(users):
        by_user[user, rng.choice(np.arange(user % 2, items, 2), 6, replace=False)] = 1
    return by_user


def test_each_column_of_ease_is_the_ridge_regression_of_an_item_on_the_others():
    by_user = np.random.default_rng(0).random((30, 6)).round().astype(np.float32)
    weights = ease(matrix_of(by_user), l2=2.0)

    assert np.diag(weights).tolist() == [0.0] * 6
    for item in range(6):
        others = np.delete(np.arange(6), item)
        x = by_user[:, others].astype(np.float64)
        ridge = np.linalg.solve(x.T @ x + 2.0 * np.eye(5), x.T @ by_user[:, item])
        assert weights[others, item] == pytest.approx(ridge, abs=1e-4)


def test_als_finds_the_two_camps():
    by_user = camps()
    scores = Als.fit(matrix_of(by_user), seed=0, factors=4).scores(matrix_of(by_user))

    own = np.arange(40)[:, None] % 2 == np.arange(20) % 2
    new = by_user == 0
    worst_own = np.where(own & new, scores, np.inf).min(axis=1)
    best_other = np.where(~own, scores, -np.inf).max(axis=1)
    assert (worst_own > best_other).all()


def test_als_factors_of_a_history_solve_the_weighted_ridge_in_batches_too():
    items = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    counted = np.array([[3, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 2, 0, 0, 9]], np.float32)
    factors_of = Als(items, alpha=10.0, l2=0.5).users(matrix_of(counted), at_once=2)

    for row, factors in zip(counted, factors_of, strict=True):
        confidence = 1 + 10.0 * np.log1p(row)
        left = (items * confidence[:, None]).T @ items + 0.5 * np.eye(2)
        assert factors == pytest.approx(np.linalg.solve(left, items.T @ (confidence * (row > 0))), abs=1e-4)


def test_transitions_are_directed_and_fade_with_the_lag():
    matrix = transitions(matrix_of(np.eye(3)), np.zeros(3, np.int64), lags=(1.0, 0.5), power=0.0).toarray()

    assert matrix.tolist() == [[0, 1, 0.5], [0, 0, 1], [0, 0, 0]]  # A, then B, then C


def test_transitions_never_go_from_one_user_to_another():
    user = np.array([0, 0, 1, 1])
    matrix = transitions(matrix_of(np.eye(4)), user, power=0.0).toarray()

    assert np.argwhere(matrix).tolist() == [[0, 1], [2, 3]]


def test_transitions_are_divided_by_the_root_of_how_popular_their_end_is():
    sessions = matrix_of([[1, 0], [0, 1], [0, 1], [0, 1]])
    matrix = transitions(sessions, np.array([0, 0, 1, 2])).toarray()

    assert matrix[A, B] == pytest.approx(1 / np.sqrt(3 + 1))


def test_events_reach_further_than_baskets():
    user = np.zeros(7, np.int64)
    events = transitions(matrix_of(np.eye(7)), user, power=0.0).toarray()
    baskets = transitions(
        matrix_of(np.vstack([np.eye(7)[:6], np.eye(7)[5:6] + np.eye(7)[6:]])), user, power=0.0
    ).toarray()

    assert events[0].tolist() == pytest.approx([0, *((1 + lag) ** -0.7 for lag in range(6))])
    assert baskets[0].tolist() == pytest.approx([0, 1, 0.5, 0.33, 0.25, 0.2, 0])


def test_a_user_of_few_items_tells_more_of_two_items_and_a_popular_end_less():
    by_user = matrix_of([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    matrix = graph(by_user, most=4).toarray()
    users, items = np.array([2, 3, 2]), np.array([2, 2, 2, 1]) + 1.0

    assert matrix[A, B] == pytest.approx((1 / users[0] + 1 / users[1]) * items[A] ** -0.7 * items[B] ** -0.3)
    assert matrix[2, 3] == pytest.approx(1 / users[2] * items[2] ** -0.7 * items[3] ** -0.3)
    assert matrix[3, 2] == pytest.approx(1 / users[2] * items[3] ** -0.7 * items[2] ** -0.3)
    assert not np.diag(matrix).any()
    assert (np.diff(graph(by_user, most=1).indptr) <= 1).all()


def test_a_log_shorter_than_the_lags_has_transitions_still():
    assert transitions(matrix_of(np.eye(2)), np.zeros(2, np.int64), power=0.0)[A, B] == 1
    assert transitions(matrix_of(np.zeros((0, 2))), np.zeros(0, np.int64)).nnz == 0


@pytest.mark.parametrize("between", [cosine, graph])
def test_what_goes_with_what_is_the_same_however_many_items_are_in_memory_together(monkeypatch, between):
    by_user = matrix_of(np.random.default_rng(1).random((30, 12)) < 0.3)
    whole = between(by_user, 4).toarray()
    monkeypatch.setattr(closed_form, "PAIRS_AT_ONCE", 5 * 12)

    assert between(by_user, 4).toarray().tolist() == whole.tolist()


def test_cosine_is_co_occurrence_over_the_geometric_mean_of_both_popularities():
    matrix = cosine(matrix_of([[1, 1, 0], [1, 0, 1]]), most=5).toarray()

    assert matrix[A, B] == pytest.approx(1 / np.sqrt((2 + 1) * (1 + 1)))
    assert matrix[B, C] == 0
    assert np.diag(matrix).tolist() == [0, 0, 0]
    assert (matrix == matrix.T).all()


def test_best_of_rows_keeps_the_largest_of_each_row():
    matrix = matrix_of([[1, 5, 3], [0, 0, 0], [9, 0, 2]])

    assert best_of_rows(matrix, 2).toarray().tolist() == [[0, 5, 3], [0, 0, 0], [9, 0, 2]]
    assert best_of_rows(matrix, 1).toarray().tolist() == [[0, 5, 0], [0, 0, 0], [9, 0, 0]]


def test_counts_add_up_and_rows_of_nothing_stay_nothing():
    by_user = counts(np.array([0, 0, 2]), np.array([1, 1, 0]), 3, 2)

    assert by_user.toarray().tolist() == [[0, 2], [0, 0], [1, 0]]
    assert normalized(by_user).toarray().tolist() == [[0, 1], [0, 0], [1, 0]]
    assert dense(by_user, np.eye(2, dtype=np.float32)).tolist() == by_user.toarray().tolist()
