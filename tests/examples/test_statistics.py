"""What is known of an item at an as-of time comes from the rows before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.examples.scratch import Scratch
from edgerec.examples.statistics import SMOOTHING, as_of_times, item_statistics
from edgerec.tasks import Task
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR
from tests.tiny import log_of

TASKS = (Task("click", "binary", "click"), Task("watch", "regression", "ms"))
N = 5
GROUPS = [("shelf", np.array([0, 1, 1, 2, 2]))]
DAYS = 10


def statistics(rows, days=DAYS):
    """`rows`: (user, item, day, click, watch)."""
    log = log_of(
        [(u, i, int(day * MS_PER_DAY), click) for u, i, day, click, _ in rows],
        click=[click for *_, click, _ in rows],
        watch=[watch for *_, watch in rows],
    )
    return item_statistics(log, TASKS, N, GROUPS, days * MS_PER_DAY, Scratch(Path()))


def column(found, name, as_of=-1):
    return found.values[as_of, :, found.names.index(name)]


row = st.tuples(
    st.integers(0, 3), st.integers(0, N - 1), st.floats(0, DAYS - 0.01), st.integers(0, 1), st.sampled_from([0, 1, 900])
)


@given(st.lists(row, min_size=1, max_size=25), st.lists(row, max_size=5))
def test_rows_of_the_future_change_no_earlier_moment(rows, more):
    first = [(0, 0, 0.0, 1, 0.5)]  # both logs begin alike
    cut = 5
    earlier = [r for r in rows if r[2] < cut]
    later = [(u, i, cut + day * (DAYS - cut) / DAYS, click, watch) for u, i, day, click, watch in more]

    with_future, without = statistics(first + earlier + later), statistics(first + earlier)

    known = with_future.as_of_ms <= cut * MS_PER_DAY
    assert known.sum() == cut + 1
    assert np.array_equal(with_future.values[known], without.values[known])


def test_moments_are_whole_days_back_from_the_end_hours_for_a_short_log_and_weeks_for_a_long_one():
    day, hour = MS_PER_DAY, MS_PER_HOUR

    assert as_of_times(10 * day + 5, 30 * day).tolist() == [d * day for d in range(10, 31)]
    assert as_of_times(10 * day + 5, 10 * day + 3 * hour).tolist() == [10 * day + h * hour for h in range(4)]
    assert as_of_times(0, 300 * day).tolist() == [d * day for d in range(-1, 301, 7)]


def test_where_more_moments_are_affordable_they_are_a_few_hours_apart():
    day, hour = MS_PER_DAY, MS_PER_HOUR

    assert as_of_times(0, 10 * day, 250).tolist() == [h * hour for h in range(241)]
    assert as_of_times(0, 100 * day, 500).tolist() == [h * hour for h in range(0, 2401, 6)]
    assert as_of_times(0, 300 * day, 400).tolist() == [d * day for d in range(301)]


def test_a_request_sees_the_last_moment_that_is_not_after_it():
    found = statistics([(0, 0, 0.0, 1, 1)], days=3)

    times = np.array([-5, 0, MS_PER_HOUR - 1, MS_PER_HOUR, 99 * MS_PER_DAY])
    assert found.as_of_before(times).tolist() == [0, 0, 0, 1, 3 * 24]


def test_popularity_halves_with_its_half_life_and_is_told_against_the_mean():
    found = statistics([(0, 0, 0.5, 0, 0), (1, 1, 3.5, 0, 0)], days=4)

    # The first row is three days older than the second.
    share = np.array([0.5, 1, 0, 0, 0]) / (1.5 / N)
    assert column(found, "popularity.3d") == pytest.approx(np.log(share + 0.05), rel=1e-5)


def test_a_rate_is_smoothed_and_told_as_log_odds_against_the_mean():
    found = statistics([(0, 0, 0.0, 1, 0), (1, 0, 0.1, 1, 0), (2, 1, 0.2, 0, 0), (3, 2, 0.3, 0, 0)], days=1)

    mean = 2 / 4
    first = (2 + SMOOTHING * mean) / (2 + SMOOTHING)
    assert column(found, "rate.click.item")[0] == pytest.approx(np.log(first / (1 - first)), rel=1e-5)
    assert column(found, "rate.click.item")[3] == pytest.approx(0.0, abs=1e-6)  # never seen: the mean
    shelf = (0 + SMOOTHING * mean) / (2 + SMOOTHING)
    assert column(found, "rate.click.shelf")[1:3] == pytest.approx([np.log(shelf / (1 - shelf))] * 2, rel=1e-5)


@pytest.mark.parametrize("watch", [0.5, 900.0])
def test_an_amount_is_told_as_the_difference_of_smoothed_mean_logs_however_small_it_is(watch):
    found = statistics([(0, 0, 0.0, 1, watch), (1, 1, 0.1, 1, 0)], days=1)

    mean = np.log1p(watch) / 2
    smoothed = (np.log1p(watch) + SMOOTHING * mean) / (1 + SMOOTHING)
    assert column(found, "rate.watch.item")[0] == pytest.approx(smoothed - mean, rel=1e-4)


def test_a_repeat_is_a_row_of_an_item_that_its_user_had_before():
    found = statistics([(0, 0, 0.0, 0, 0), (0, 0, 0.1, 0, 0), (1, 0, 0.2, 0, 0), (1, 1, 0.3, 0, 0)], days=1)

    mean = 1 / 4
    assert column(found, "repeats")[:2] == pytest.approx([2 * (1 + 2 * mean) / (3 + 2), 2 * (2 * mean) / (1 + 2)])


def test_age_counts_from_the_first_row():
    found = statistics([(0, 0, 1.0, 0, 0), (0, 0, 3.0, 0, 0)], days=4)

    assert column(found, "age").tolist() == pytest.approx([0.4 * np.log1p(3.0), 0, 0, 0, 0])


def test_adoption_counts_who_had_not_had_an_item():
    rows = [(0, 1, 9.5, 0, 0), (0, 1, 9.6, 0, 0), (0, 1, 9.7, 0, 0), (1, 2, 9.5, 0, 0), (2, 2, 9.6, 0, 0)]
    found = statistics(rows)

    assert column(found, "popularity.10d")[1] > column(found, "popularity.10d")[2]
    one, two = 0.5 ** (0.5 / 10), 0.5 ** (0.5 / 10) + 0.5 ** (0.4 / 10)  # who had item 1, or 2, for the first time
    share = np.array([one, two]) / ((one + two) / N)
    assert column(found, "adoption.10d")[[1, 2]] == pytest.approx(np.log(share + 0.05), abs=1e-5)
