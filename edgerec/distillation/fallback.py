"""Where popularity ranks better than the student, the student ranks by popularity: a bundle of the same form.

Both are judged on requests that the student does not learn from: the latest ones of some users.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from edgerec import metrics
from edgerec.bundle.manifest import FallbackEntry
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.examples.statistics import POPULARITY_HALF_LIVES
from edgerec.metrics import Estimate, top_k
from edgerec.models.student import Student
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.joint import exclude_history
from edgerec.training.predictions import group_by_as_of

__all__ = ["fall_back", "held_out", "without"]

LEAST, MOST, PART, OF_LATE = 100, 1_000, 0.1, 0.25
"""Requests that are held out: at most these parts of all sessions and of the late ones, which teach the student most;
none where they are too few to tell anything."""
SIGMAS = 1.645
"""Standard errors by which popularity must be better, one-sided 95 %."""
K = 10
OWN = "own_frequency"


def held_out(data: LearningData, seed: int) -> Int:
    """Places of the training sessions that the student does not learn from, ascending.

    They are of users drawn at random: the first one in the last part of the time, as long as valid; where each user's
    last event is the evaluation split, the last one.
    """
    sessions, bounds = data.train.sessions, data.dataset.meta.boundaries_ms
    none = np.zeros(0, np.int64)
    if sessions is None or all(t.kind != "retrieval" for t in data.tasks):
        return none
    user = sessions.requests.user
    places = np.arange(len(user))
    if data.by_user:
        ends = np.append(np.flatnonzero(np.diff(user)), len(user) - 1)
        places = places[ends[ends >= 0]]
    else:
        assert bounds.valid is not None and bounds.test is not None
        places = np.flatnonzero(sessions.requests.time_ms >= _begin_ms(data))
        places = places[np.unique(user[places], return_index=True)[1]]
    places = places[sessions.requests.lengths(places) > 0]
    n = min(MOST, int(PART * len(user)), int(OF_LATE * len(places)))
    return none if n < LEAST else np.sort(np.random.default_rng((seed, 3)).choice(places, n, replace=False))


def without(data: LearningData, places: Int) -> LearningData:
    """The same without these training sessions."""
    sessions = data.train.sessions
    if sessions is None or not len(places):
        return data
    kept = np.setdiff1d(np.arange(len(sessions.requests)), places)
    return replace(data, train=replace(data.train, sessions=sessions.take(kept)))


def _begin_ms(data: LearningData) -> int:
    """When the last part of the training rows begins that is as long as valid."""
    bounds = data.dataset.meta.boundaries_ms
    assert bounds.valid is not None and bounds.test is not None
    return int(data.statistics.as_of_ms[-1]) - (bounds.test - bounds.valid)


def fall_back(student: Student, data: LearningData, seed: int) -> dict[str, FallbackEntry]:
    """Let popularity rank those retrieval tasks, in place, that it ranks better beyond chance; what it is, by task.

    The student must not have learned from the sessions that `held_out` names.
    """
    chosen, found = held_out(data, seed), {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        judged = _Judged.of(i, task, data, chosen) if task.kind == "retrieval" and len(chosen) else None
        better = None if judged is None else judged.better(student)
        if better is not None:
            fallback, statistic = better
            student.rank_by(i, statistic, fallback.baseline == OWN)
            found[task.name] = fallback
    return found


@dataclass(frozen=True)
class _Judged:
    """Requests of one task that each have a true item; `index` is the task's."""

    index: int
    task: Task
    data: LearningData
    requests: Requests
    truth: list[Int]

    @classmethod
    def of(cls, index: int, task: Task, data: LearningData, chosen: Int) -> _Judged | None:
        """Of the training sessions `chosen` those that have one; None if they are too few."""
        assert data.train.sessions is not None
        requests, truth = data.train.sessions.requests, data.train.sessions.truth[task.name].take(chosen)
        some = np.flatnonzero(truth.sizes() > 0)
        if len(some) < LEAST:
            return None
        requests = requests.take(chosen[some])
        if not data.by_user:  # a bundle knows of its items what was known when its training rows ended
            last = data.statistics.as_of_before(np.array([_begin_ms(data)]))
            requests = replace(requests, as_of=np.minimum(requests.as_of, last))
        return cls(index, task, data, requests, [np.unique(truth.row(int(r))) for r in some])

    def better(self, student: Student) -> tuple[FallbackEntry, int] | None:
        """What ranks better than the student beyond chance, and its statistic; None if nothing does."""
        of_student, best = self._ndcg(student), None
        for repeat in (False, True) if self.task.repeats == "allow" else (False,):
            for days in POPULARITY_HALF_LIVES:
                simple, statistic = copy.deepcopy(student), self.data.statistics.names.index(f"popularity.{days:g}d")
                simple.rank_by(self.index, statistic, repeat)
                ndcg = self._ndcg(simple)
                if best is None or ndcg.value > best[0].value:
                    best = ndcg, days, statistic, OWN if repeat else "recent_popularity"
        assert best is not None
        ndcg, days, statistic, name = best
        gain = ndcg.minus(of_student)
        if not gain.value > SIGMAS * gain.se:
            return None
        return FallbackEntry(name, 24 * days, ndcg.value, of_student.value, ndcg.n), statistic

    def _ndcg(self, student: Student) -> Estimate:
        """NDCG@10 of a student's lists of known items."""
        n_seen, n = self.data.train.n_seen, len(self.truth)
        top, exclude = np.full((n, min(K, n_seen)), -1, np.int64), self.task.repeats == "exclude"
        past = [np.zeros(0, np.int64)] * n
        with torch.inference_mode():
            for items, places in group_by_as_of(student.eval(), self.data, self.requests, np.arange(n)):
                batch = self.requests.batch(places)
                scores = student.score_catalog(batch, items, [self.index])[:, 0]
                scores = exclude_history(scores, batch) if exclude else scores
                top[places] = top_k(scores[:, :n_seen].numpy(), top.shape[1])
                for place, item, present in zip(places.tolist(), batch.item, batch.present, strict=True):
                    past[place] = np.unique(item[present].numpy())
        excluded = past if exclude else None
        return metrics.ranking_metrics(top, self.truth, n_seen, excluded, (K,))[f"ndcg@{K}"]
