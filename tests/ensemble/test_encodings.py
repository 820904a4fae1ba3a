"""Rates that trees learn from are of earlier days, smoothed and decayed as documented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerec.ensemble.encodings import DECAY, SMOOTHING, Encoder, KeyRows, decayed_sums
from edgerec.tasks.units import MS_PER_DAY

EVERYONE = np.arange(900)  # all rows of the tiny log that are learned from


@pytest.fixture(scope="module")
def encoder(tiny_data):
    return Encoder(tiny_data)


def column(encoder, matrix, name):
    return matrix[:, encoder.names.index(name)]


def of_days(key, day):
    return KeyRows(np.array(key), np.array(day), np.array(day, np.float64))


def test_sums_hold_earlier_days_and_fade():
    key, day = np.array([7, 7, 7, 9]), np.array([0, 1, 3, 0])
    values = np.array([[1.0], [10.0], [100.0], [1000.0]])

    (sums,) = decayed_sums(of_days(key, day), values, of_days([7, 7, 7, 9, 8], [0, 1, 3, 2, 5]), (0.5,))

    assert sums[:, 0].tolist() == [0, 0.5, 1 * 0.5**3 + 10 * 0.5**2, 1000 * 0.5**2, 0]


def test_sums_over_a_long_log_equal_a_double_loop():
    rng = np.random.default_rng(0)
    key, day, values = rng.integers(0, 5, 400), rng.integers(0, 90, 400), rng.random((400, 2))
    query, query_day = rng.integers(0, 6, 50), rng.integers(0, 95, 50)

    asked = of_days(query, query_day)
    for decay, sums in zip((0.65, 1.0), decayed_sums(of_days(key, day), values, asked, (0.65, 1.0)), strict=True):
        for r in range(50):
            rows = (key == query[r]) & (day < query_day[r])
            expected = (decay ** (query_day[r] - day[rows])[:, None] * values[rows]).sum(axis=0)
            assert sums[r] == pytest.approx(expected)


def test_labels_of_the_same_day_and_later_do_not_reach_a_row(tiny_data, encoder):
    log = tiny_data.train_log
    cut = encoder.end_ms - 10 * MS_PER_DAY
    turned = {name: np.where(log.time_ms >= cut, 1 - values, values) for name, values in log.labels.items()}
    rates = len(encoder.names) - len(encoder._raw_names())

    # The targets alone: the population's rates are of all training rows, so they stay as they were.
    other = Encoder(replace(tiny_data, train_log=replace(log, labels=turned)))
    other.targets = replace(other.targets, mean=encoder.targets.mean, smoothing=encoder.targets.smoothing)
    before, after = encoder.train_rows(EVERYONE)[:, :rates], other.train_rows(EVERYONE)[:, :rates]
    time_ms = tiny_data.train.impressions.requests.time_ms

    assert np.array_equal(before[time_ms < cut + MS_PER_DAY], after[time_ms < cut + MS_PER_DAY])
    assert not np.array_equal(before[time_ms >= cut + MS_PER_DAY], after[time_ms >= cut + MS_PER_DAY])


def test_where_each_users_last_event_is_asked_for_rates_count_all_rows_before_the_rows_own_time(hurried_data):
    encoder, log, rows = Encoder(hurried_data), hurried_data.train_log, hurried_data.train.impressions
    mean = log.labels["liked"].mean()
    late = hurried_data.evaluation.impressions
    asked = [(rows, encoder.train_rows(np.arange(len(rows.item))))]
    asked += [(late, encoder.rows(late.requests, late.item, np.arange(len(late.item))))]

    for impressions, matrix in asked:
        for r in range(0, len(impressions.item), 17):
            user, now = impressions.requests.user[r], impressions.requests.time_ms[r]
            before = (log.user == user) & (log.time_ms < now)
            for decay in (DECAY, 1.0):
                weight = decay ** ((now - log.time_ms[before]) / MS_PER_DAY)
                rate = (weight @ log.labels["liked"][before] + SMOOTHING * mean) / (weight.sum() + SMOOTHING)
                expected = np.log(rate / (1 - rate)) - np.log(mean / (1 - mean))
                found = column(encoder, matrix, f"user: liked, {decay:g}")[r]
                assert found == pytest.approx(expected, abs=1e-4)


def test_rates_of_an_evaluation_row_are_of_all_training_rows_and_smoothed_towards_the_populations(tiny_data, encoder):
    impressions, log = tiny_data.evaluation.impressions, tiny_data.train_log
    requests = impressions.requests
    matrix = encoder.rows(requests, impressions.item, np.arange(len(impressions.item)))
    mean = log.labels["click"].mean()

    for r in range(0, len(impressions.item), 11):
        rows = (log.user == impressions.requests.user[r]) & (
            log.categorical[:, 0] == impressions.requests.categorical[r, 0]
        )
        rate = (log.labels["click"][rows].sum() + SMOOTHING * mean) / (rows.sum() + SMOOTHING)
        expected = np.log(rate / (1 - rate)) - np.log(mean / (1 - mean))
        assert column(encoder, matrix, "user x tab: click, 1")[r] == pytest.approx(expected, abs=1e-5)


def test_chosen_rows_are_made_as_among_all(tiny_data, encoder):
    impressions = tiny_data.evaluation.impressions
    chosen = np.array([5, 2, 9])

    everything = encoder.rows(impressions.requests, impressions.item, np.arange(len(impressions.item)))

    assert np.array_equal(encoder.rows(impressions.requests, impressions.item, chosen), everything[chosen])


def test_a_cross_has_distinct_columns_and_there_are_no_more_than_the_cap(tiny_data, encoder):
    crosses = [key for key in encoder.keys if len(key) > 1]
    assert all(len(set(key)) == len(key) for key in crosses)
    assert len({frozenset(key) for key in crosses}) == len(crosses)

    few = Encoder(tiny_data, max_crosses=3)

    assert [" x ".join(c.name for c in key) for key in few.keys if len(key) > 1] == [
        "user x tab",
        "user x price",
        "user x shelf",
    ]
