"""What a student does not learn from: the latest rows of some users, on which it is calibrated and judged.

Nor do the closed-form members and lists that it learns from know these rows: they would tell it the outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgerec.examples.load import LearningData, is_consumed
from edgerec.examples.log import Log
from edgerec.examples.requests import FOREVER, ImpressionExamples, Requests, SessionExamples
from edgerec.tasks import Task
from edgerec.tasks.history import Int

__all__ = ["HeldOut", "late_since"]

LEAST, MOST, PART, OF_LATE = 60, 1_000, 0.1, 0.25
"""Users whose latest rows are held out: at most these parts of all sessions and of the users with late ones, which
teach the student most, but of few users up to half; none where that are fewer than the least, which tell nothing."""
LEAST_RATERS, LEAST_ROWS = 20, 1_000
"""With impressions to judge, so few users tell enough if they have so many late rows."""
LATE_ROWS = 0.1
"""Part of a user's rows that are late where each user's last event is the evaluation split and impressions are judged:
a last event each would be too few of them to tell anything."""
LEAST_ASKED = 60
"""Of them that have a true item of a task."""

SCORES = 12_000_000
"""Rankings are judged on as many requests as have so many scores together, or on the least."""


@dataclass(frozen=True)
class HeldOut:
    """Sessions and impressions of the drawn users.

    Attributes:
        since_ms: of every user, from when on rows are held out.
        sessions: the first such session of each drawn user that counts for a ranking. impressions: all such rows.
    """

    since_ms: Int
    sessions: SessionExamples | None = None
    impressions: ImpressionExamples | None = None

    @classmethod
    def of(cls, data: LearningData, seed: int) -> HeldOut:
        """Draw users at random. What is late: see `late_since`."""
        log, since = data.train_log, late_since(data)
        ranked = any(t.kind == "retrieval" for t in data.tasks)
        starts = log.session_starts()
        counts = np.ones(len(starts), bool)
        if ranked:  # only what was consumed tells rankings apart
            counts = np.add.reduceat(is_consumed(log, data.tasks), starts) > 0
        late = log.time_ms[starts] >= since[log.user[starts]]
        # Who is drawn may not depend on what they did then, or their clicks say too much of how often others click.
        user, places = np.unique(log.user[starts[late]], return_index=True)
        least = LEAST
        if data.train.impressions is None:  # then only who has a past is asked for something
            user = user[starts[late][places] > log.offsets[user]]
        elif (log.time_ms >= since[log.user]).sum() * OF_LATE >= LEAST_ROWS:
            least = LEAST_RATERS
        n = min(MOST, max(int(PART * counts.sum()), LEAST), max(int(OF_LATE * len(user)), min(LEAST, len(user) // 2)))
        drawn = np.sort(np.random.default_rng((seed, 3)).choice(len(user), n if n >= least else 0, replace=False))
        since_ms = np.full(len(since), FOREVER)
        since_ms[user[drawn]] = since[user[drawn]]
        held = cls(since_ms)
        if not len(drawn):
            return held
        told = starts[late & counts & (log.time_ms[starts] >= since_ms[log.user[starts]])]
        told = told[told > log.offsets[log.user[told]]]  # without a past nobody is asked for
        first = told[np.unique(log.user[told], return_index=True)[1]]
        rows = data.train.impressions
        return cls(
            since_ms,
            data.sessions_at(first) if ranked and len(first) else None,
            None if rows is None else rows.take(np.flatnonzero(held.holds(rows.requests))),
        )

    def holds(self, requests: Requests, places: Int | slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Whether each of the requests `places` is held out."""
        held: npt.NDArray[np.bool_] = requests.time_ms[places] >= self.since_ms[requests.user[places]]
        return held

    def asked(self, task: Task, data: LearningData) -> tuple[Requests, list[Int]] | None:
        """The requests that have a true item of a retrieval task, as a bundle is asked, and these items.

        None for other tasks, and where they are too few.
        """
        if self.sessions is None or task.kind != "retrieval":
            return None
        truth = self.sessions.truth[task.name]
        some = np.flatnonzero(truth.sizes() > 0)
        if len(some) < LEAST_ASKED:
            return None
        most = max(SCORES // data.train.n_seen, LEAST)
        if len(some) > most:
            some = some[np.linspace(0, len(some) - 1, most).astype(np.int64)]
        requests = self.sessions.requests.take(some)
        if not data.by_user:  # a bundle knows of its items what was known when its training rows ended
            last = data.statistics.as_of_before(late_since(data)[:1])
            requests = replace(requests, as_of=np.minimum(requests.as_of, last))
        return requests, truth.take(some).distinct()

    def holds_rows(self, log: Log, rows: Int) -> npt.NDArray[np.bool_]:
        """Whether each of these rows of the log is held out."""
        held: npt.NDArray[np.bool_] = log.time_ms[rows] >= self.since_ms[log.user[rows]]
        return held

    def known_until(self, data: LearningData) -> Int:
        """Of every user, until when rows may be known to what is judged on what is held out."""
        return self.since_ms if data.by_user else late_since(data)

    def without(self, data: LearningData) -> LearningData:
        """The same without the sessions that are held out; its impressions stay, see `holds`."""
        sessions = data.train.sessions
        if sessions is None:
            return data
        kept = np.flatnonzero(~self.holds(sessions.requests))
        if len(kept) == len(sessions.requests):
            return data
        return replace(data, train=replace(data.train, sessions=sessions.take(kept)))


def late_since(data: LearningData) -> Int:
    """Of every user, from when on training rows are late: as long as the evaluation split.

    Where that is each user's last event, the last session of each user; with impressions to judge, more sessions.
    """
    log, bounds = data.train_log, data.dataset.meta.boundaries_ms
    n_users = len(log.offsets) - 1
    if data.by_user:
        starts, pointwise = log.session_starts(), any(t.kind in ("binary", "regression") for t in data.tasks)
        since = np.full(n_users, FOREVER)
        some = np.flatnonzero(np.diff(log.offsets))
        last = log.offsets[some + 1] - 1
        first = last - (np.diff(log.offsets)[some] * LATE_ROWS if pointwise else 0 * last).astype(np.int64)
        since[some] = log.time_ms[starts[np.searchsorted(starts, first, side="right") - 1]]
        return since
    assert bounds.valid is not None and bounds.test is not None
    return np.full(n_users, int(data.statistics.as_of_ms[-1]) - (bounds.test - bounds.valid))
