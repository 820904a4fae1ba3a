"""Rates that trees see come from earlier days, smoothed and decayed as said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerec.ensemble import encodings
from edgerec.ensemble.encodings import SMOOTHING, Encoder, decayed_sums

DAY_MS = 86_400_000
EVERYONE = np.arange(900)  # all rows of the tiny log that are learned from


@pytest.fixture(scope="module")
def encoder(tiny_data):
    return Encoder(tiny_data)


def column(encoder, matrix, name):
    return matrix[:, encoder.names.index(name)]


def test_sums_hold_earlier_days_and_fade():
    key, day = np.array([7, 7, 7, 9]), np.array([0, 1, 3, 0])
    values = np.array([[1.0], [10.0], [100.0], [1000.0]])

    (found,) = decayed_sums(key, day, values, np.array([7, 7, 7, 9, 8]), np.array([0, 1, 3, 2, 5]), (0.5,))

    assert found[:, 0].tolist() == [0, 0.5, 1 * 0.5**3 + 10 * 0.5**2, 1000 * 0.5**2, 0]


def test_sums_over_a_long_log_equal_a_double_loop():
    rng = np.random.default_rng(0)
    key, day, values = rng.integers(0, 5, 400), rng.integers(0, 90, 400), rng.random((400, 2))
    query, query_day = rng.integers(0, 6, 50), rng.integers(0, 95, 50)

    for decay, found in zip((0.65, 1.0), decayed_sums(key, day, values, query, query_day, (0.65, 1.0)), strict=True):
        for r in range(50):
            rows = (key == query[r]) & (day < query_day[r])
            expected = (decay ** (query_day[r] - day[rows])[:, None] * values[rows]).sum(axis=0)
            assert found[r] == pytest.approx(expected)


def test_labels_of_the_same_day_and_later_do_not_reach_a_row(tiny_data, encoder):
    log = tiny_data.train_log
    cut = encoder.end_ms - 10 * DAY_MS
    turned = {name: np.where(log.time_ms >= cut, 1 - values, values) for name, values in log.labels.items()}
    rates = len(encoder.names) - len(encoder._raw_names())

    # The targets alone: the population's rates are of all training rows, so they are held as they were.
    other = Encoder(replace(tiny_data, train_log=replace(log, labels=turned)))
    other.targets = replace(other.targets, mean=encoder.targets.mean, smoothing=encoder.targets.smoothing)
    before, after = encoder.fit_rows(EVERYONE)[:, :rates], other.fit_rows(EVERYONE)[:, :rates]
    time_ms = tiny_data.train.impressions.requests.time_ms

    assert np.array_equal(before[time_ms < cut + DAY_MS], after[time_ms < cut + DAY_MS])
    assert not np.array_equal(before[time_ms >= cut + DAY_MS], after[time_ms >= cut + DAY_MS])


def test_a_held_rows_rates_are_of_all_fit_rows_smoothed_towards_the_populations(tiny_data, encoder):
    held, log = tiny_data.evaluation.impressions, tiny_data.train_log
    found = encoder.rows(held.requests, held.item, np.arange(len(held.item)))
    mean = log.labels["click"].mean()

    for r in range(0, len(held.item), 11):
        rows = (log.user == held.requests.user[r]) & (log.categorical[:, 0] == held.requests.categorical[r, 0])
        rate = (log.labels["click"][rows].sum() + SMOOTHING * mean) / (rows.sum() + SMOOTHING)
        expected = np.log(rate / (1 - rate)) - np.log(mean / (1 - mean))
        assert column(encoder, found, "user x tab: click, 1")[r] == pytest.approx(expected, abs=1e-5)


def test_chosen_rows_are_made_as_among_all(tiny_data, encoder):
    held = tiny_data.evaluation.impressions
    chosen = np.array([5, 2, 9])

    everything = encoder.rows(held.requests, held.item, np.arange(len(held.item)))

    assert np.array_equal(encoder.rows(held.requests, held.item, chosen), everything[chosen])


def test_a_cross_has_distinct_columns_and_there_are_no_more_than_the_cap(tiny_data, encoder, monkeypatch):
    crosses = [key for key in encoder.keys if len(key) > 1]
    assert all(len(set(key)) == len(key) for key in crosses)
    assert len({frozenset(key) for key in crosses}) == len(crosses)

    monkeypatch.setattr(encodings, "MAX_CROSSES", 3)
    few = Encoder(tiny_data)

    assert [" x ".join(c.name for c in key) for key in few.keys if len(key) > 1] == [
        "user x tab",
        "user x price",
        "user x shelf",
    ]
