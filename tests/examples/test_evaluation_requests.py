"""Samples of the evaluation requests and impressions."""

from __future__ import annotations

import numpy as np

from edgerec.examples.evaluation_requests import find_evaluation_requests, thinned


def test_a_thinned_split_has_whole_users_and_all_of_a_small_one(tiny_data):
    rows = tiny_data.evaluation.impressions

    few, chosen = thinned(tiny_data, len(rows.item) // 3)

    users = np.unique(few.evaluation.impressions.requests.user)
    assert np.array_equal(np.flatnonzero(np.isin(rows.requests.user, users)), chosen)
    assert 0 < len(chosen) < len(rows.item) / 2
    assert np.array_equal(thinned(tiny_data, len(rows.item))[1], np.arange(len(rows.item)))


def test_an_even_sample_of_requests_is_no_larger_than_asked(tiny_data):
    requests = find_evaluation_requests(tiny_data)
    n = len(requests.rows)

    assert n > 7 and requests.every(n).all() and requests.every(10 * n).all()
    assert requests.every(7).sum() <= 7
