"""Rows that a student does not learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerec.examples import held_out
from edgerec.examples.held_out import HeldOut


@pytest.fixture
def few(monkeypatch):
    """A log of a few dozen users is enough to hold some out."""
    monkeypatch.setattr(held_out, "LEAST", 10)
    monkeypatch.setattr(held_out, "PART", 0.5)


def test_a_small_log_holds_nothing_out(tiny_data, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST", 10_000)
    held = HeldOut.of(tiny_data, 0)

    assert held.sessions is None and held.impressions is None
    assert held.without(tiny_data) is tiny_data


def test_who_is_new_is_held_out_where_rows_are_rated_and_asked_for_rankings_once_there_is_a_past(
    tiny_data, few, monkeypatch
):
    n_users = len(tiny_data.train_log.offsets) - 1
    monkeypatch.setattr(held_out, "late_since", lambda data: np.zeros(n_users, np.int64))  # all rows are late
    held = HeldOut.of(tiny_data, 0)

    assert (held.sessions.requests.lengths() > 0).all()
    assert (held.impressions.requests.lengths() == 0).any()


def test_what_is_judged_on_what_is_held_out_knows_nothing_later_of_anybody(tiny_data, split_by_user, few):
    """Lists of what is bought together would know next week's items, which no bundle does."""
    assert np.array_equal(HeldOut.of(tiny_data, 0).known_until(tiny_data), held_out.late_since(tiny_data))
    own = HeldOut.of(split_by_user, 0)
    assert np.array_equal(own.known_until(split_by_user), own.since_ms)


def test_few_users_with_many_rated_rows_are_held_out_too(tiny_data, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST", 10_000)
    monkeypatch.setattr(held_out, "LEAST_RATERS", 2)
    monkeypatch.setattr(held_out, "LEAST_ROWS", 1)
    held = HeldOut.of(tiny_data, 0)

    assert len(np.unique(held.impressions.requests.user)) >= 2
    assert (held.sessions.requests.lengths() > 0).all()


def test_all_late_rows_of_some_users_are_held_out_and_the_student_sees_none_of_them(tiny_data, few):
    bounds, train = tiny_data.dataset.meta.boundaries_ms, tiny_data.train
    held = HeldOut.of(tiny_data, 0)
    requests = held.sessions.requests
    users = np.unique(requests.user)
    kept = held.without(tiny_data).train.sessions.requests

    assert 10 <= len(users) == len(requests)
    assert (requests.time_ms >= bounds.valid).all() and (requests.lengths() > 0).all()
    assert not (np.isin(kept.user, users) & (kept.time_ms >= bounds.valid)).any()
    assert (np.isin(kept.user, users) & (kept.time_ms < bounds.valid)).any()
    late = train.impressions.requests.time_ms >= bounds.valid
    assert len(held.impressions.item) == (late & np.isin(train.impressions.requests.user, users)).sum() > 0


def test_a_quarter_of_the_users_with_late_rows_is_held_out_and_of_few_up_to_half(tiny_data, few, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST", 1)
    monkeypatch.setattr(held_out, "OF_LATE", 1.0)
    monkeypatch.setattr(held_out, "PART", 1.0)
    late = len(HeldOut.of(tiny_data, 0).sessions.requests)
    monkeypatch.setattr(held_out, "OF_LATE", 0.25)
    quarter = len(HeldOut.of(tiny_data, 0).sessions.requests)
    monkeypatch.setattr(held_out, "LEAST", late // 2)

    assert quarter == late // 4
    assert len(HeldOut.of(tiny_data, 0).sessions.requests) == late // 2


def test_sessions_are_held_out_whether_or_not_they_are_drawn_to_learn_from(tiny_data, few):
    one = tiny_data.train.sessions.take(np.array([0]))
    drawn = replace(tiny_data, train=replace(tiny_data.train, sessions=one))

    all_of_them, of_one = HeldOut.of(tiny_data, 0), HeldOut.of(drawn, 0)
    assert np.array_equal(all_of_them.sessions.requests.user, of_one.sessions.requests.user)


def test_where_the_log_is_split_by_user_each_ones_last_session_may_be_held_out(split_by_user, few):
    log = split_by_user.train_log
    last = log.time_ms[log.offsets[1:] - 1]
    requests = HeldOut.of(split_by_user, 0).sessions.requests

    assert len(requests) >= 10
    assert np.array_equal(requests.time_ms, last[requests.user])


def test_who_is_drawn_does_not_depend_on_what_they_did(tiny_data, few, monkeypatch):
    held = HeldOut.of(tiny_data, 0)
    clicked = np.random.default_rng(1).random(len(tiny_data.train_log)) < 0.2
    monkeypatch.setattr(held_out, "is_consumed", lambda log, tasks: clicked)
    otherwise = HeldOut.of(tiny_data, 0)

    assert np.array_equal(held.since_ms, otherwise.since_ms)
    assert 0 < len(otherwise.sessions.requests) < len(held.sessions.requests)  # fewer tell of rankings
