"""What the student learns from: the log's requests, and requests without an outcome that the teacher labels alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgerec.ensemble.views import Views
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log
from edgerec.examples.requests import Ragged, VisitExamples, draw_visits, join_visits, make_requests
from edgerec.tasks.history import Int
from edgerec.tasks.units import MS_PER_DAY

MOST_STARTS = 1_000_000
"""Visits that the unlabelled requests are drawn beside."""
WEEKS = 4
"""An unlabelled request comes up to this many weeks after a visit, or the log's end, at the same hour and weekday.

Where each user's last event is held out, the next request is asked as soon as the log's users come back."""


def with_unlabelled(
    data: LearningData, views: Views | None, unlabelled: float, ahead: float, seed: int
) -> tuple[Examples, int]:
    """The fit examples with requests without an outcome beside them, and how many of these there are.

    Args:
        views: of the log, of which each request needs one that may label it; None: all can be labelled.
        unlabelled, ahead: requests at other times, and after the log's end, for each visit.
    """
    visits, extra = data.fit.visits, 0
    if visits is not None:
        visits = _served(visits, views)
        for make, share in ((_unlabelled, unlabelled), (_ahead, ahead)):
            if share > 0:
                more = _served(make(data, share, seed), views)
                visits, extra = join_visits(visits, more), extra + len(more.requests)
    return replace(data.fit, visits=visits, graph=None), extra  # a student reads no graph


def as_served(examples: Examples, data: LearningData) -> Examples:
    """With the item statistics that the device has: those of the log's end, also of users whose own part ended before.

    Where time splits the log, requests keep the statistics of their time, since all who ask come after its end. So do
    shown rows, since an item's later rates hold the row's own outcome.
    """
    visits = examples.visits
    if visits is None or not data.by_user:
        return examples
    last = np.full(len(visits.requests), len(data.statistics.moments_ms) - 1)
    return replace(examples, visits=replace(visits, requests=replace(visits.requests, moment=last)))


def _unlabelled(data: LearningData, share: float, seed: int) -> VisitExamples:
    """Requests of the same users some time after a visit, whose outcome nobody knows."""
    assert data.fit.visits is not None
    log, end_ms = data.fit_log, int(data.statistics.moments_ms[-1])
    rng = np.random.default_rng((seed, 1))
    # With repetition: a visit may be followed by several of them.
    wanted = int(len(data.fit.visits.requests) * share)
    first = draw_visits(log, MOST_STARTS, rng)
    chosen = np.sort(rng.choice(first, wanted))
    after = _gaps(log, first, wanted, rng) if data.by_user else 7 * MS_PER_DAY * rng.integers(1, WEEKS + 1, wanted)
    time_ms = log.time_ms[chosen] + after
    chosen, time_ms = chosen[time_ms <= end_ms], time_ms[time_ms <= end_ms]
    return _without_outcome(data, chosen, time_ms)


def _ahead(data: LearningData, share: float, seed: int) -> VisitExamples:
    """Requests of the same users after the end of the log, or of their own part of it: where the student will be asked.

    What the whole teacher says of them is no leak: nothing that it saw tells their outcome.
    """
    assert data.fit.visits is not None
    log, end_ms = data.fit_log, int(data.statistics.moments_ms[-1])
    rng = np.random.default_rng((seed, 2))
    wanted, week = int(len(data.fit.visits.requests) * share), 7 * MS_PER_DAY
    first = draw_visits(log, MOST_STARTS, rng)
    if data.by_user:
        last = log.offsets[1:][np.diff(log.offsets) > 0] - 1
        chosen = np.sort(rng.choice(last, wanted))
        return _without_outcome(data, chosen, log.time_ms[chosen] + _gaps(log, first, wanted, rng))
    chosen = np.sort(rng.choice(first, wanted))
    weeks = -(-(end_ms - log.time_ms[chosen]) // week) + rng.integers(0, WEEKS, wanted)
    return _without_outcome(data, chosen, log.time_ms[chosen] + week * weeks)


def _gaps(log: Log, first: Int, n: int, rng: np.random.Generator) -> Int:
    """`n` draws of the time, in ms, from one of the visits that begin at the rows `first` to its user's next one."""
    following = log.ends_of_visits(first)
    followed = following < log.offsets[log.user[first] + 1]
    gaps = log.time_ms[following[followed]] - log.time_ms[first[followed]]
    return np.maximum(rng.choice(gaps, n), 1) if len(gaps) else np.full(n, MS_PER_DAY)


def _without_outcome(data: LearningData, first: Int, time_ms: Int) -> VisitExamples:
    """Requests like the visits that start at the rows `first`, but of other times."""
    assert data.fit.visits is not None
    log, none = data.fit_log, Ragged.empty(len(first))
    requests = make_requests(log, data.encoder, data.statistics, log, first, time_ms, time_ms, data.sequence)
    return VisitExamples(requests, none, dict.fromkeys(data.fit.visits.truth, none))


def _served(visits: VisitExamples, views: Views | None) -> VisitExamples:
    """The visits whose outcome the committee can judge without having seen it."""
    if views is None:
        return visits
    chosen = np.flatnonzero(views.serving(visits.requests) >= 0)
    truth = {name: lists.take(chosen) for name, lists in visits.truth.items()}
    return VisitExamples(visits.requests.take(chosen), visits.items.take(chosen), truth)
