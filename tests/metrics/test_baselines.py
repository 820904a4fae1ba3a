import numpy as np
import pytest

from edgerec.metrics import baselines as b


def test_related_items_are_those_of_the_same_sessions_and_big_sessions_count_less():
    session = np.array([0, 0, 1, 1, 1, 1])
    item = np.array([0, 1, 0, 2, 3, 4])

    assert b.related_by_sessions(session, item, 6, k=3).tolist()[0] == [1, 2, 3]
    assert b.related_by_sessions(session, item, 6, k=3).tolist()[5] == [-1, -1, -1]


def test_two_items_share_a_group_once_however_often_they_are_in_it():
    group, item = np.array([7, 7, 7, 9, 9, 9]), np.array([0, 1, 1, 0, 1, 2])

    assert b.co_counts(group, item, 3, "").tolist() == [[2, 2, 1], [2, 2, 1], [1, 1, 1]]
    assert b.co_counts(group, item, 3, "", size_power=1)[0].tolist() == pytest.approx([1 / 2 + 1 / 3] * 2 + [1 / 3])


def test_a_catalogue_that_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="co-occurrence is skipped: 20001 items"):
        b.related_by_sessions(np.array([0]), np.array([0]), b.MAX_DENSE_ITEMS + 1)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_top_k_equals_a_stable_sort(k):
    scores = np.random.default_rng(k).integers(0, 5, (20, 8)).astype(float)

    assert b.top_k(scores, k).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
