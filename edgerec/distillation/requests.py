"""The requests a student learns from: those of the log, and others without an outcome that only the teacher labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgerec.ensemble.views import Views
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log
from edgerec.examples.requests import Ragged, SessionExamples, draw_sessions, join_sessions, make_requests
from edgerec.tasks.history import Int
from edgerec.tasks.units import MS_PER_DAY

TIMES = 512
"""Item statistics of at most so many times are read by a student's sessions, where it has no split by time."""
MAX_SESSIONS = 1_000_000
"""Sessions of the log that pseudo-labelled and future requests are derived from."""
WEEKS = 4
"""A pseudo-labelled request comes up to this many weeks after a session, at the same hour and weekday.

A future request comes up to as many weeks after the end of the log. Where each user's last event is the evaluation
split, both come as soon after a session as the users of the log come back.
"""


def with_pseudo_labelled(
    data: LearningData, views: Views | None, pseudo_labelled: float, future: float, seed: int
) -> tuple[Examples, int]:
    """The training examples with requests without an outcome added, and how many of these there are.

    Args:
        views: of the log; a request is left out if none of them may label it. None: all requests can be labelled.
        pseudo_labelled, future: pseudo-labelled requests and future requests for each session of the log.
    """
    sessions, extra = data.train.sessions, 0
    if sessions is not None:
        sessions = _served(sessions, views)
        for make, per_session in ((pseudo_labelled_requests, pseudo_labelled), (future_requests, future)):
            if per_session > 0:
                more = _served(make(data, per_session, seed), views)
                sessions, extra = join_sessions(sessions, more), extra + len(more.requests)
    return replace(data.train, sessions=sessions, graph=None), extra  # a student reads no graph


def at_few_times(examples: Examples, data: LearningData, most: int = TIMES) -> Examples:
    """The examples with sessions that share the item statistics of at most `most` times, none later than their own.

    A batch has the statistics of one time. Where each user's last event is the evaluation split, sessions are spread
    over the whole log, and a long log has more as-of times than batches.
    """
    sessions = examples.sessions
    if sessions is None or not data.by_user or not len(sessions.requests):
        return examples
    as_of = sessions.requests.as_of
    times = np.unique(np.quantile(as_of, np.arange(most) / most, method="lower")).astype(np.int64)
    earlier = times[np.searchsorted(times, as_of, side="right") - 1]
    return replace(examples, sessions=replace(sessions, requests=replace(sessions.requests, as_of=earlier)))


def pseudo_labelled_requests(data: LearningData, per_session: float, seed: int) -> SessionExamples:
    """Requests of the same users at other times within the log, whose outcome is unknown.

    Args:
        per_session: how many for each training session; fewer are made where they would come after the log's end.
    """
    assert data.train.sessions is not None
    log, end_ms = data.train_log, int(data.statistics.as_of_ms[-1])
    rng = np.random.default_rng((seed, 1))
    # With repetition: a session may be followed by several of them.
    wanted = int(len(data.train.sessions.requests) * per_session)
    first = draw_sessions(log, MAX_SESSIONS, rng)
    chosen = np.sort(rng.choice(first, wanted))
    after = _gaps(log, first, wanted, rng) if data.by_user else 7 * MS_PER_DAY * rng.integers(1, WEEKS + 1, wanted)
    time_ms = log.time_ms[chosen] + after
    chosen, time_ms = chosen[time_ms <= end_ms], time_ms[time_ms <= end_ms]
    return _without_outcome(data, chosen, time_ms)


def future_requests(data: LearningData, per_session: float, seed: int) -> SessionExamples:
    """Requests of the same users after the end of the log, or of their own part of it, as the student will be asked.

    All models of the teacher label them: no model has seen their outcome.

    Args:
        per_session: how many for each training session.
    """
    assert data.train.sessions is not None
    log, end_ms = data.train_log, int(data.statistics.as_of_ms[-1])
    rng = np.random.default_rng((seed, 2))
    wanted, week = int(len(data.train.sessions.requests) * per_session), 7 * MS_PER_DAY
    first = draw_sessions(log, MAX_SESSIONS, rng)
    if data.by_user:
        last = log.offsets[1:][np.diff(log.offsets) > 0] - 1
        chosen = np.sort(rng.choice(last, wanted))
        return _without_outcome(data, chosen, log.time_ms[chosen] + _gaps(log, first, wanted, rng))
    chosen = np.sort(rng.choice(first, wanted))
    weeks = -(-(end_ms - log.time_ms[chosen]) // week) + rng.integers(0, WEEKS, wanted)
    return _without_outcome(data, chosen, log.time_ms[chosen] + week * weeks)


def _gaps(log: Log, first: Int, n: int, rng: np.random.Generator) -> Int:
    """`n` draws of the time, in ms, from one of the sessions that begin at the rows `first` to its user's next one."""
    following = log.session_ends(first)
    followed = following < log.offsets[log.user[first] + 1]
    gaps = log.time_ms[following[followed]] - log.time_ms[first[followed]]
    return np.maximum(rng.choice(gaps, n), 1) if len(gaps) else np.full(n, MS_PER_DAY)


def _without_outcome(data: LearningData, first: Int, time_ms: Int) -> SessionExamples:
    """Requests like the sessions that start at the rows `first`, but at `time_ms`."""
    assert data.train.sessions is not None
    log, none = data.train_log, Ragged.empty(len(first))
    requests = make_requests(log, data.encoder, data.statistics, log, first, time_ms, time_ms, data.sequence)
    return SessionExamples(requests, none, dict.fromkeys(data.train.sessions.truth, none))


def _served(sessions: SessionExamples, views: Views | None) -> SessionExamples:
    """The sessions that a view of the log can label without having seen their outcome."""
    if views is None:
        return sessions
    return sessions.take(np.flatnonzero(views.serving(sessions.requests) >= 0))
