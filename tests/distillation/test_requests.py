"""Pseudo-labelled and future requests: when they come, and which past and statistics they have."""

from __future__ import annotations

import numpy as np

from edgerec.distillation.requests import WEEKS, at_few_times, future_requests, pseudo_labelled_requests
from edgerec.tasks.units import MS_PER_DAY


def test_future_requests_are_of_the_logs_users_at_the_hour_and_weekday_of_their_sessions(tiny_data):
    extra, log = future_requests(tiny_data, 0.5, seed=0), tiny_data.train_log
    end_ms, week = int(tiny_data.statistics.as_of_ms[-1]), 7 * MS_PER_DAY
    requests = extra.requests

    assert len(requests) == len(tiny_data.train.sessions.requests) // 2
    assert requests.time_ms.min() >= end_ms and requests.time_ms.max() < end_ms + WEEKS * week
    for user, time_ms in zip(requests.user.tolist(), requests.time_ms.tolist(), strict=True):
        sessions = log.time_ms[log.offsets[user] : log.offsets[user + 1]]
        assert ((time_ms - sessions) % week == 0).any()
    assert (requests.as_of == len(tiny_data.statistics.as_of_ms) - 1).all()
    assert (extra.truth["next"].sizes() == 0).all()
    pasts = [log.item[log.offsets[u] : log.offsets[u + 1]] for u in requests.user]
    assert requests.lengths().tolist() == [min(len(np.unique(past)), 16) for past in pasts]  # whole ones


def test_where_the_log_is_split_by_user_requests_come_as_soon_as_users_come_back(split_by_user):
    log = split_by_user.train_log
    gaps = np.diff(log.time_ms[log.session_starts()])
    same = np.diff(log.user[log.session_starts()]) == 0
    future, between = (
        future_requests(split_by_user, 0.5, seed=0).requests,
        pseudo_labelled_requests(split_by_user, 0.5, seed=0).requests,
    )
    last_ms = log.time_ms[log.offsets[1:] - 1]

    assert (future.time_ms > last_ms[future.user]).all()
    assert set((future.time_ms - last_ms[future.user]).tolist()) <= set(np.maximum(gaps[same], 1).tolist())
    assert np.median(between.time_ms - log.time_ms.min()) < np.median(future.time_ms - log.time_ms.min())
    pasts = [log.item[log.offsets[u] : log.offsets[u + 1]] for u in future.user]
    assert future.lengths().tolist() == [min(len(np.unique(past)), 16) for past in pasts]  # whole ones


def test_where_the_log_is_split_by_user_requests_share_the_statistics_of_a_few_earlier_times(split_by_user, tiny_data):
    before = split_by_user.train.sessions.requests.as_of
    after = at_few_times(split_by_user.train, split_by_user, 4).sessions.requests.as_of

    assert len(np.unique(after)) <= 4 and (after <= before).all()
    assert np.array_equal(at_few_times(split_by_user.train, split_by_user, 999).sessions.requests.as_of, before)
    assert at_few_times(tiny_data.train, tiny_data) is tiny_data.train
