"""No request is served by members that were fitted on its outcome."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgerec.ensemble.views import Views
from edgerec.examples.folds import fold_of
from edgerec.stages.run import ensemble_settings
from tests import tiny
from tests.tiny import log_of


@pytest.fixture(scope="module")
def views(small_config, tiny_data):
    return Views.of(ensemble_settings(small_config), tiny_data)


def test_as_of_times_are_rolled_back_from_the_end_by_windows(tiny_data, views):
    end = tiny_data.statistics.as_of_ms[-1]

    assert views.cuts_ms.tolist() == [end - 14 * tiny.DAY_MS, end - 7 * tiny.DAY_MS]
    assert len(views) == 2


def test_a_request_is_served_only_by_members_fitted_on_rows_before_it(tiny_data, views):
    requests, log = tiny_data.train.sessions.requests, tiny_data.train_log
    serving = views.serving(requests)

    assert set(serving.tolist()) == {-1, 0, 1}
    for view in range(2):
        mine = requests.time_ms[serving == view]
        rows = views.rows(log, view)
        assert log.time_ms[rows].max() < views.cuts_ms[view] <= mine.min()
        assert (log.time_ms < views.cuts_ms[view]).sum() == len(rows)  # and on all of them
        assert mine.max() < np.append(views.cuts_ms, tiny_data.statistics.as_of_ms[-1])[view + 1]
    assert (requests.time_ms[serving == -1] < views.cuts_ms[0]).all()


def test_a_request_at_the_as_of_time_is_served_and_a_row_then_is_not_learned_from():
    views = Views(np.array([100, 200]), 0, np.array([300]))
    at = SimpleNamespace(time_ms=np.array([99, 100, 199, 200, 299, 300, 900]), user=np.zeros(7, int))

    assert views.serving(at).tolist() == [-1, 0, 0, 1, 1, 2, 2]  # the whole log holds no outcome of later requests
    assert views.rows(log_of([(0, 0, int(t), 0) for t in at.time_ms]), 0).tolist() == [0]


def test_a_short_log_has_shorter_windows(small_config, tiny_data):
    long = small_config.ensemble.model_copy(update={"window": "14d", "windows": 6})
    views = Views.of(ensemble_settings(small_config.model_copy(update={"ensemble": long})), tiny_data)
    first, end = tiny_data.train_log.time_ms.min(), tiny_data.statistics.as_of_ms[-1]
    step = np.diff(views.cuts_ms)

    assert len(views) == 6
    assert (step == step[0]).all()
    assert views.cuts_ms[0] - first == pytest.approx(step[0], abs=7)  # the earliest members see an equal part
    assert end - views.cuts_ms[-1] == step[0]


def test_a_log_that_leaves_the_last_event_out_leaves_users_out(small_config, tiny_data):
    split_by_user = SimpleNamespace(by_user=True, train_log=tiny_data.train_log, statistics=tiny_data.statistics)
    views = Views.of(replace(ensemble_settings(small_config), folds=3), split_by_user)
    requests = tiny_data.train.sessions.requests
    serving = views.serving(requests)

    assert len(views) == 3
    assert serving.tolist() == fold_of(requests.user, 3).tolist()
    for view in range(3):
        learned_from = tiny_data.train_log.user[views.rows(tiny_data.train_log, view)]
        assert not set(learned_from.tolist()) & set(requests.user[serving == view].tolist())
        others = set(tiny_data.train_log.user.tolist()) - set(requests.user[serving == view].tolist())
        assert set(learned_from.tolist()) >= others


def test_a_user_who_asks_after_all_own_events_is_served_by_the_whole_log(small_config, tiny_data):
    log = tiny_data.train_log
    split_by_user = SimpleNamespace(by_user=True, train_log=log, statistics=tiny_data.statistics)
    views = Views.of(ensemble_settings(small_config), split_by_user)
    last_ms = log.time_ms[log.offsets[1:] - 1]
    user = np.array([3, 3, 4])
    requests = SimpleNamespace(user=user, time_ms=last_ms[user] + [1, 0, 1])

    assert views.serving(requests).tolist() == [2, fold_of(user[1:2], 2)[0], 2]


def test_members_come_with_the_statistics_of_the_requests_time_and_after_a_split_by_time_the_last(tiny_data, views):
    requests = tiny_data.train.sessions.requests

    assert views.with_statistics(requests, 1, 9) is requests
    assert set(views.with_statistics(requests, -1, 9).as_of.tolist()) == {9}
    for view in (1, -1):  # later statistics would hold the outcome that was left out
        assert Views(None, 2, np.array([300])).with_statistics(requests, view, 9) is requests
