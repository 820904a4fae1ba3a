"""Requests, rows and sessions as arrays, and their batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgerec.examples.requests import Ragged, day_before, in_history, join_sessions, session_rows
from edgerec.progress import Silent
from edgerec.stages.run import Run

DAY_MS = 86_400_000


def ragged(lists):
    values = [v for one in lists for v in one]
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in lists])))
    return Ragged(offsets.astype(np.int64), np.array(values, np.int64))


def plain(lists):
    return [lists.row(r).tolist() for r in range(len(lists))]


lists = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


@given(lists, st.data())
def test_ragged_lists_are_lists(found, data):
    rows = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=8) if found else st.just([]))
    taken = ragged(found).take(np.array(rows, np.int64))

    assert plain(taken) == [found[r] for r in rows]
    assert taken.sizes().tolist() == [len(found[r]) for r in rows]
    assert taken.owner().tolist() == [at for at, r in enumerate(rows) for _ in found[r]]
    assert plain(taken.where(taken.values > 4)) == [[v for v in found[r] if v > 4] for r in rows]
    assert [list(row) for row in taken.distinct()] == [sorted(set(found[r])) for r in rows]


@given(lists, lists)
def test_lists_then_lists_are_all_of_them(first, second):
    assert plain(ragged(first).then(ragged(second))) == first + second


def test_empty_lists_hold_nothing():
    assert plain(Ragged.empty(2)) == [[], []]


def test_a_row_sees_nothing_of_its_own_day():
    end = 10 * DAY_MS + 7  # days count back from the end

    assert day_before(np.array([9 * DAY_MS + 7, 9 * DAY_MS + 8, end - 1]), end).tolist() == [9 * DAY_MS + 7] * 3
    assert day_before(np.array([9 * DAY_MS + 6]), end).tolist() == [8 * DAY_MS + 7]


def test_in_history_says_which_items_the_request_has_had(tiny_data):
    requests = tiny_data.train.sessions.requests
    chosen, which = requests.histories(np.arange(len(requests)))
    wanted = ragged([[0, 1, 2, 3, 39] for _ in range(len(requests))])

    found = in_history(requests, wanted).reshape(-1, 5)

    for r, past in enumerate(which):
        had = chosen.item[chosen.offsets[past] : chosen.offsets[past + 1]]
        assert found[r].tolist() == [item in had for item in (0, 1, 2, 3, 39)]


def test_the_rows_of_a_visit_are_those_of_its_session(tiny_data):
    log = tiny_data.train_log
    first = log.session_starts()[3:9]

    found = session_rows(log, first)

    assert found.sizes().tolist() == [5] * 6
    for r, start in enumerate(first):
        assert (log.session[found.row(r)] == log.session[start]).all()


def test_a_batch_holds_the_history_of_each_request_padded_on_the_right(tiny_data):
    requests = tiny_data.train.sessions.requests
    rows = np.argsort(requests.lengths())[[0, 60, -1]]
    batch = requests.batch(rows)
    history, which = requests.histories(rows)

    assert batch.present.sum(1).tolist() == requests.lengths()[rows].tolist()
    assert batch.present.shape[1] == requests.lengths()[rows].max()
    for b, r in enumerate(rows):
        part = slice(history.offsets[which[b]], history.offsets[which[b] + 1])
        length = part.stop - part.start
        assert batch.item[b, :length].tolist() == history.item[part].tolist()
        assert batch.present[b, :length].all()
        age = (requests.time_ms[r] - history.last_ms[part]) / 3_600_000
        assert batch.age_h[b, :length].tolist() == pytest.approx(age)
        assert batch.item[b, length:].tolist() == [0] * (batch.item.shape[1] - length)
        assert batch.count[b, length:].tolist() == [1.0] * (batch.item.shape[1] - length)  # log(count) stays finite


def test_dropout_leaves_out_past_items_but_never_adds_any(tiny_data):
    requests, rows = tiny_data.train.sessions.requests, np.arange(100)
    whole = requests.batch(rows)
    some = requests.batch(rows, 0.5, np.random.default_rng(0))

    assert (some.present <= whole.present).all()
    assert 0.4 < some.present.sum() / whole.present.sum() < 0.6
    assert torch.equal(some.item, whole.item * some.present)


def test_joined_visits_keep_their_own_pasts(tiny_data):
    sessions = tiny_data.train.sessions
    joined = join_sessions(sessions, sessions)
    n = len(sessions.requests)

    assert len(joined.requests) == 2 * n
    both, one = joined.requests.batch(np.array([5, n + 5])), sessions.requests.batch(np.array([5]))
    for name in ("item", "count", "age_h", "numeric"):
        assert torch.equal(getattr(both, name)[:1], getattr(one, name))
        assert torch.equal(getattr(both, name)[1:], getattr(one, name))
    assert joined.truth["next"].row(n + 5).tolist() == sessions.truth["next"].row(5).tolist()


@pytest.fixture(scope="module")
def read_data(tiny_config, tiny_run):
    """Requests with their three latest raw events."""
    teacher = tiny_config.teacher.model_copy(update={"sequence": 3})
    return Run(tiny_config.model_copy(update={"teacher": teacher}), tiny_run, Silent()).learning_data("test")


def test_the_latest_events_are_the_users_last_ones_before_the_request(read_data):
    log, requests = read_data.train_log, read_data.train.sessions.requests
    latest = requests.batch(np.arange(len(requests))).latest
    for r in range(len(requests)):
        rows = np.flatnonzero((log.user == requests.user[r]) & (log.time_ms < requests.time_ms[r]))[-3:]
        own = latest.present[r]
        assert own.tolist() == [False] * (3 - len(rows)) + [True] * len(rows)
        assert latest.item[r, own].tolist() == log.item[rows].tolist()
        assert latest.kind[r, own].tolist() == log.kind[rows].tolist()
        hours = np.diff([*log.time_ms[rows], requests.time_ms[r]]) / 3_600_000
        assert latest.gap_h[r, own].tolist() == pytest.approx(hours)


def test_what_is_held_is_read_with_the_whole_past(read_data):
    log, requests = read_data.train_log, read_data.evaluation.impressions.requests
    latest = requests.batch(np.arange(len(requests))).latest
    for r in range(0, len(requests), 7):
        rows = np.flatnonzero(log.user == requests.user[r])[-3:]
        assert latest.item[r].tolist() == log.item[rows].tolist()
    same = latest.past.numpy()[:, None] == latest.past.numpy()
    assert np.array_equal(same, requests.user[:, None] == requests.user)


def test_without_a_sequence_no_events_come_along(tiny_data):
    assert tiny_data.train.sessions.requests.batch(np.arange(3)).latest is None


def test_dropout_leaves_out_events_too(read_data):
    requests, rows = read_data.train.sessions.requests, np.arange(100)
    whole = requests.batch(rows).latest
    some = requests.batch(rows, 0.5, np.random.default_rng(0)).latest

    assert (some.present <= whole.present).all()
    assert 0.4 < some.present.sum() / whole.present.sum() < 0.6


def test_joined_visits_keep_their_own_events(read_data):
    sessions = read_data.train.sessions
    joined, n = join_sessions(sessions, sessions), len(sessions.requests)
    both, one = (v.requests.batch(np.array(r)).latest for v, r in ((joined, [70, n + 70]), (sessions, [70])))

    assert one.present.any()
    for name in ("item", "kind", "gap_h", "present"):
        assert torch.equal(getattr(both, name), getattr(one, name).expand(2, -1))
    assert both.past[0] == both.past[1]  # the same events until the same time are read once
