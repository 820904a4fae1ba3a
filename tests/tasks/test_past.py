"""The user's own past as numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.tasks import past_names, past_numbers, summarize_past
from edgerec.tasks.past import SMOOTHING
from edgerec.tasks.units import MS_PER_DAY

RATES = np.array([0.2, 0.05])
NAMES = past_names(["click", "like"])


def summarize(*events, n_requests=1):
    """`events`: (request, kind, day)."""
    request, kind, day = np.array(events, np.int64).reshape(-1, 3).T
    return summarize_past(request, kind, day * MS_PER_DAY, n_requests, 2)


def numbers(past, day):
    now_ms = np.full(len(past.events), day * MS_PER_DAY, np.int64)
    return dict(zip(NAMES, past_numbers(past, now_ms, RATES).T, strict=True))


def test_counts_times_and_gaps_are_logs_of_plain_numbers():
    past = summarize((0, 0b01, 2), (0, 0b00, 2), (0, 0b11, 6), (0, 0b00, 8))  # sessions on days 2, 6 and 8
    values = {name: column[0] for name, column in numbers(past, 11).items()}

    gap = (8 - 2) / 2
    wanted = {"events": 4, "visits": 3, "days_since_last": 11 - 8, "days_since_first": 11 - 2, "visit_gap_days": gap}
    assert {name: values[name] for name in wanted} == pytest.approx({n: np.log1p(x) for n, x in wanted.items()})
    assert values["overdue"] == pytest.approx(np.log1p(3 / (gap + 1)))
    assert values["positives.click"] == pytest.approx(np.log1p(2))
    assert values["positives.like"] == pytest.approx(np.log1p(1))


def test_a_rate_is_smoothed_towards_the_populations_and_given_as_log_odds_against_it():
    columns = numbers(summarize((0, 0b01, 1), (0, 0b01, 2), (0, 0b00, 3)), 4)

    smoothed = (2 + SMOOTHING * 0.2) / (3 + SMOOTHING)
    assert columns["rate.click"][0] == pytest.approx(np.log(smoothed / (1 - smoothed)) - np.log(0.2 / 0.8), rel=1e-5)


def test_a_user_without_events_has_zeros_at_any_time():
    past = summarize((1, 1, 1), n_requests=2)

    for day in (0, 1000):
        assert all(values[0] == pytest.approx(0.0, abs=1e-6) for values in numbers(past, day).values())


days = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 30)), max_size=20)


@given(days, st.integers(0, 60), st.integers(0, 60))
def test_time_moves_the_time_columns_only(events, day, later):
    past = summarize(*events, n_requests=3)
    first, second = numbers(past, day), numbers(past, later)

    for name in set(NAMES) - {"days_since_last", "days_since_first", "overdue"}:
        assert np.array_equal(first[name], second[name])


def test_an_event_after_the_request_is_zero_days_ago():
    assert numbers(summarize((0, 0, 9)), 3)["days_since_last"][0] == 0.0
