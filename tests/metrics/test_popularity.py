"""Popularity as of any time, against a double loop."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.metrics import Popularity, decayed_counts, popularity_before
from edgerec.tasks.units import MS_PER_HOUR


def test_an_event_of_one_half_life_ago_counts_half():
    assert decayed_counts(np.array([0, 0, 1]), np.array([0, 0, 7 * MS_PER_HOUR]), 3, 7.0).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_popularity_before_each_time_is_that_of_the_earlier_events_and_no_other(seed):
    rng = np.random.default_rng(seed)
    item, time_ms = rng.integers(0, 6, 80), rng.integers(0, 40, 80) * MS_PER_HOUR
    at_ms, half_lives = np.sort(rng.integers(-2, 45, 30)) * MS_PER_HOUR, [1.0, 24.0]

    found = {}
    for places, counts in popularity_before(Popularity(item, time_ms, 6), at_ms, half_lives):
        for place in range(places.start, places.stop):
            found[place] = counts.copy()
    assert sorted(found) == list(range(30))
    for place, of in found.items():
        earlier = time_ms < at_ms[place]
        for counts, half_life in zip(of, half_lives, strict=True):
            expected = np.zeros(6)
            for i, t in zip(item[earlier], time_ms[earlier], strict=True):
                expected[i] += 0.5 ** ((time_ms[earlier].max() - t) / MS_PER_HOUR / half_life)
            assert counts == pytest.approx(expected)


def test_no_time_has_no_popularity():
    assert list(popularity_before(Popularity(np.array([0]), np.array([0]), 1), np.zeros(0, np.int64), [1.0])) == []
