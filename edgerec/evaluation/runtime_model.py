"""A bundle as an evaluated model: it is asked through the runtime, as an app asks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from edgerec.ensemble.scoring import RELATED_K, Scores
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.metrics import MAX_RANK
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender, Events
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

__all__ = ["RequestArguments", "RuntimeModel", "Versions"]

RequestArguments: TypeAlias = dict[str, Any]
"""Arguments of `ArrayRecommender.rank` and `rate`: "history", "now", "context", "user", "exclude"."""


@dataclass(frozen=True)
class Versions:
    """A bundle, and the same bundle as of other times: `since_ms` (V,), ascending, and as many bundles.

    Without a time split, requests are as old as their users; each is then asked of the version of its time. Empty: the
    bundle serves all times.
    """

    last: ArrayRecommender
    since_ms: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    earlier: Sequence[ArrayRecommender] = ()

    def at(self, time_ms: int) -> ArrayRecommender:
        """The version of a time; the first one for anything earlier."""
        if not self.earlier:
            return self.last
        return self.earlier[max(int(np.searchsorted(self.since_ms, time_ms, side="right")) - 1, 0)]


class RuntimeModel:
    """See `edgerec.examples.evaluation_requests.EvaluatedModel`."""

    def __init__(
        self,
        recommender: ArrayRecommender | Versions,
        data: LearningData,
        eval_requests: EvaluationRequests,
        progress: Progress,
    ) -> None:
        self.versions = recommender if isinstance(recommender, Versions) else Versions(recommender)
        self.recommender = recommender = self.versions.last
        self.data, self.eval_requests, self.progress = data, eval_requests, progress
        index = {item: i for i, item in enumerate(data.dataset.items()["id"].head(data.n_items).to_list())}
        self.ids = [recommender.named(i)[0] for i in range(recommender.bundle.manifest.n_items)]
        self.items = np.array([index.get(item, -1) for item in self.ids])  # -1: joined the catalog later
        self.place = np.full(data.n_items, -1, np.int64)
        known = self.items >= 0
        self.place[self.items[known]] = np.flatnonzero(known)

    def lists(self, task: Task) -> Int:
        tops = np.full((len(self.eval_requests.rows), MAX_RANK), -1, np.int64)
        with self.progress.track(len(tops), f"int8, {task.name}") as done:
            for place, request in self._by_time():
                ranked = self.versions.at(request["now"]).rank(MAX_RANK, weights={task.name: 1.0}, **request).item
                tops[place, : len(ranked)] = self.items[ranked]
                done.advance()
        return tops

    def own_items(self, task: Task) -> list[Scores]:
        at = [t.name for t in self.recommender.bundle.manifest.tasks].index(task.name)
        pasts = self.eval_requests.pasts
        scores = {place: self._rate(pasts[place], request)[:, at] for place, request in self._by_time()}
        return [scores[place] for place in range(len(pasts))]

    def rows(self) -> Scores:
        impressions, log, evaluation = self.data.evaluation.impressions, self.data.train_log, self.data.evaluation_log
        assert impressions is not None
        order = np.argsort(evaluation.row)
        rows = order[np.searchsorted(evaluation.row, impressions.row, sorter=order)]
        scores = np.zeros((len(impressions.item), len(scored_tasks(self.data.tasks))))
        with self.progress.track(len(scores), "int8, impressions") as done:
            for i in np.argsort(evaluation.time_ms[rows], kind="stable").tolist():
                user, row = impressions.requests.user[i], rows[i]
                events = slice(int(log.offsets[user]), int(log.offsets[user + 1]))
                scores[i] = self._rate(impressions.item[i : i + 1], self.request(events, int(row)))[0]
                done.advance()
        return scores

    def _rate(self, item: Int, request: RequestArguments) -> Scores:
        """Probabilities of some items by task, (n, T); 0 for items that the bundle does not hold."""
        place = self.place[item]
        scores = np.zeros((len(item), len(scored_tasks(self.data.tasks))))
        if (place >= 0).any():
            scores[place >= 0] = self.versions.at(request["now"]).rate(place[place >= 0], **request).probability
        return scores

    def related(self) -> Int:
        tops = np.full((self.data.n_items, RELATED_K), -1, np.int64)
        for place, item in enumerate(self.items):
            if item < 0:
                continue
            related, _ = self.recommender.relate(place, min(RELATED_K, len(self.items) - 1))
            tops[item, : len(related)] = self.items[related]
        return tops

    def requests(self, places: Iterable[int] | None = None) -> Iterator[RequestArguments]:
        """The evaluation requests, or where there are none the rows of the evaluation split, for the runtime.

        `places`: of those that are wanted; None: all.
        """
        return self.session_requests(places) if len(self.eval_requests.rows) else self.row_requests(places)

    def session_requests(self, places: Iterable[int] | None = None) -> Iterator[RequestArguments]:
        """The evaluation requests at `places`, or each."""
        first = self._first()
        for place in range(len(first)) if places is None else places:
            yield self.request(self.eval_requests.events[place], int(first[place]))

    def _by_time(self) -> Iterator[tuple[int, RequestArguments]]:
        """Place of each evaluation request, and the request; one version after another is asked."""
        first = self._first()
        for place in np.argsort(self.data.evaluation_log.time_ms[first], kind="stable").tolist():
            yield place, self.request(self.eval_requests.events[place], int(first[place]))

    def _first(self) -> Int:
        """The row of the evaluation split at which each evaluation request is made."""
        sessions, evaluation = self.data.evaluation.sessions, self.data.evaluation_log
        assert sessions is not None
        first: Int = _first_rows(self.data)[self.eval_requests.rows]
        assert (evaluation.user[first] == sessions.requests.user[self.eval_requests.rows]).all()
        return first

    def row_requests(self, places: Iterable[int] | None = None) -> Iterator[RequestArguments]:
        """The rows of the evaluation split at `places`, or each."""
        log, users = self.data.train_log, self.data.evaluation_log.user
        for row in range(len(users)) if places is None else places:
            yield self.request(slice(int(log.offsets[users[row]]), int(log.offsets[users[row] + 1])), row)

    def request(self, events: slice, row: int) -> RequestArguments:
        """The request at a row of the evaluation split, by a user who has these rows of the training log."""
        log, evaluation, encoder = self.data.train_log, self.data.evaluation_log, self.data.encoder
        values: dict[str, dict[str, object]] = {"context": {}, "user": {}, "time": {}}
        for column, index in zip(encoder.categorical, evaluation.categorical[row].tolist(), strict=True):
            values[column.source][column.name] = column.values[index - 1] if index else None
        for number, value in zip(encoder.numeric, evaluation.numeric[row].tolist(), strict=True):
            values[number.source][number.name] = value
        values["user"] |= self._several(int(evaluation.user[row]))
        past = self.place[log.item[events]]
        known = past >= 0
        return {
            "history": Events(past[known], log.kind[events][known], log.time_ms[events][known]),
            "now": int(evaluation.time_ms[row]),
            "context": values["context"],
            "user": values["user"],
        }

    def _several(self, user: int) -> dict[str, object]:
        """The known values of a user's columns with several in a cell."""
        named, first = {}, 0
        for column in self.data.encoder.multi:
            held = self.data.train_log.held[user, first : first + len(column.values)]
            named[column.name] = [value for value, has in zip(column.values, held, strict=True) if has]
            first += len(column.values)
        return dict(named)


def _first_rows(data: LearningData) -> Int:
    """The row of the evaluation split at which each evaluation session starts."""
    sessions, evaluation = data.evaluation.sessions, data.evaluation_log
    assert sessions is not None
    starts = evaluation.session_starts()
    row_of = {(int(evaluation.user[row]), int(evaluation.time_ms[row])): int(row) for row in starts[::-1]}
    pairs = zip(sessions.requests.user.tolist(), sessions.requests.time_ms.tolist(), strict=True)
    return np.array([row_of[pair] for pair in pairs], np.int64)
