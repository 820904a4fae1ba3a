import numpy as np
import pytest

from edgerec.metrics import baselines as b
from edgerec.tasks.units import MS_PER_DAY


def test_recent_popularity_halves_an_event_of_one_half_life_ago():
    model = b.RecentPopularity(np.array([0, 0, 1]), np.array([0, 0, 7 * MS_PER_DAY]), n_items=3, half_life_days=7)

    assert model.popularity.tolist() == [1.0, 1.0, 0.0]
    assert model.scores([np.array([2]), np.array([], int)]).shape == (2, 3)


def test_the_half_life_is_the_one_that_foresees_the_last_rows():
    item = np.r_[np.repeat(np.arange(20), 50), np.repeat(np.arange(20, 40), 5), np.tile(np.arange(20, 40), 6)]
    time = np.r_[np.zeros(1000, int), np.full(100, 60), np.full(120, 61)] * MS_PER_DAY

    assert b.RecentPopularity(item, time, 40).half_life_days < 56


def test_own_frequency_counts_and_lets_popularity_break_ties():
    model = b.OwnFrequency(np.array([5.0, 1.0, 3.0, 9.0]))

    assert b.top_items(model, [np.array([1, 2, 0, 1])], 4).tolist() == [[1, 0, 2, 3]]


def test_ease_equals_ridge_regression_with_the_own_column_left_out():
    rng = np.random.default_rng(0)
    had = (rng.random((30, 6)) < 0.4).astype(float)
    user, item = np.nonzero(had)
    l2, model = 3.0, b.Ease(user, item, 6, l2=3.0)
    for target in range(6):
        others = np.delete(np.arange(6), target)
        x = had[:, others]
        weights = np.linalg.solve(x.T @ x + l2 * np.eye(5), x.T @ had[:, target])
        history = np.array([others[0], others[2]])
        assert model.scores([history])[0, target] == pytest.approx(weights[0] + weights[2], rel=1e-4)
        assert model.scores([np.array([target, target])])[0, target] == 2  # its own count and nothing else


def test_ease_refuses_a_catalogue_that_would_not_fit():
    with pytest.raises(ValueError, match="EASE is skipped: 20001 items"):
        b.Ease(np.array([0]), np.array([0]), b.MAX_DENSE_ITEMS + 1)


def test_related_items_are_those_of_the_same_sessions_and_big_sessions_count_less():
    session = np.array([0, 0, 1, 1, 1, 1])
    item = np.array([0, 1, 0, 2, 3, 4])

    assert b.related_by_sessions(session, item, 6, k=3).tolist()[0] == [1, 2, 3]
    assert b.related_by_sessions(session, item, 6, k=3).tolist()[5] == [-1, -1, -1]


def test_excluded_items_are_not_listed_and_blocks_change_nothing():
    model = b.RecentPopularity(np.array([0, 1, 1, 2]), np.zeros(4, int), 4, half_life_days=1)
    histories, exclude = [np.array([0])] * 5, [np.array([1])] * 5
    expected = [[0, 2, 3]] * 5

    assert b.top_items(model, histories, 3, exclude).tolist() == expected
    assert b.top_items(model, histories, 3, exclude, block=2).tolist() == expected
    assert b.top_items(model, [], 3).shape == (0, 3)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_top_k_equals_a_stable_sort(k):
    scores = np.random.default_rng(k).integers(0, 5, (20, 8)).astype(float)

    assert b.top_k(scores, k).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
