"""Requests as arrays, on the device and in training."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from edgerec.tasks import Categorical, Numeric, RequestEncoder, standardize

ENCODER = RequestEncoder(
    binary=("click", "like"),
    rates=(0.2, 0.05),
    max_history=3,
    timezone="Asia/Shanghai",
    categorical=(
        Categorical("tab", "context", ("home", "search")),
        Categorical("hour", "time", tuple(map(str, range(24)))),
        Categorical("member", "user", ("false", "true")),
        Categorical("weekday", "time", tuple(map(str, range(7)))),
        Categorical("floor", "user", ("1", "2")),
    ),
    numeric=(Numeric("battery", "context", 50.0, 20.0), Numeric("age", "user", 40.0, 10.0)),
)


def categories(now_ms=0, **values):
    return dict(zip((c.name for c in ENCODER.categorical), ENCODER.categories(values, now_ms).tolist(), strict=True))


def test_json_gives_the_same_encoder_back():
    text = json.dumps(ENCODER.to_json())

    assert RequestEncoder.from_json(json.loads(text)) == ENCODER


def test_a_value_has_its_place_in_the_vocabulary_plus_one():
    assert categories(tab="home")["tab"] == 1
    assert categories(tab="search")["tab"] == 2


@pytest.mark.parametrize("value", ["map", "", None, 7, "HOME"])
def test_an_unknown_or_missing_value_is_zero(value):
    assert categories(tab=value)["tab"] == 0
    assert categories()["tab"] == 0


@pytest.mark.parametrize(("value", "index"), [(True, 2), (False, 1), ("true", 2)])
def test_a_truth_value_is_found_as_vocabularies_hold_it(value, index):
    assert categories(member=value)["member"] == index


@pytest.mark.parametrize("value", [1, 1.0, "1", np.float64(1.0), np.int64(1)])
def test_a_whole_number_is_found_with_and_without_its_point(value):
    assert categories(floor=value)["floor"] == 1


def test_hour_and_weekday_are_those_of_the_encoders_timezone():
    sunday_evening = datetime(2024, 3, 3, 20, 30, tzinfo=ZoneInfo("UTC"))  # Monday, 04:30 in Shanghai

    indices = categories(int(sunday_evening.timestamp() * 1000))

    assert (indices["hour"], indices["weekday"]) == (4 + 1, 0 + 1)


def test_numbers_are_standardised_cut_at_five_deviations_and_zero_where_missing():
    raw = np.array([[70.0, np.nan], [1e9, 35.0], [np.inf, 40.0]])

    assert standardize(raw, ENCODER.numeric).tolist() == [[1.0, 0.0], [5.0, -0.5], [5.0, 0.0]]


def test_a_request_without_events_and_values_is_encoded():
    none = np.zeros(0, np.int64)
    encoded = ENCODER.encode(ENCODER.past(none, none, none), 0, {})

    assert len(encoded.history) == 0
    assert encoded.context_categorical.tolist() == [0, 8 + 1, 0, 3 + 1, 0]  # 1970 began on a Thursday, 8:00 in Shanghai
    assert encoded.context_numeric.tolist() == pytest.approx([0.0] * len(ENCODER.numeric_names), abs=1e-6)
