"""The bundle on trial, asked through the runtime as an app asks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgerec.ensemble.scoring import RELATED_K, Scores
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.metrics import MAX_RANK
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender, Events
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int


class RuntimeModel:
    """The bundle, asked through the runtime as an app asks it."""

    def __init__(
        self, recommender: ArrayRecommender, data: LearningData, eval_requests: EvaluationRequests, progress: Progress
    ) -> None:
        self.recommender, self.data, self.eval_requests, self.progress = recommender, data, eval_requests, progress
        index = {item: i for i, item in enumerate(data.dataset.items()["id"].head(data.n_items).to_list())}
        self.ids = [recommender.named(i)[0] for i in range(recommender.bundle.manifest.n_items)]
        self.items = np.array([index.get(item, -1) for item in self.ids])  # -1: joined the catalogue later
        self.place = np.full(data.n_items, -1, np.int64)
        known = self.items >= 0
        self.place[self.items[known]] = np.flatnonzero(known)

    def lists(self, task: Task) -> Int:
        tops = np.full((len(self.eval_requests.rows), MAX_RANK), -1, np.int64)
        with self.progress.track(len(tops), f"int8, {task.name}") as done:
            for row, asked in zip(tops, self.asked(), strict=True):
                found = self.recommender.rank(MAX_RANK, weights={task.name: 1.0}, **asked).item
                row[: len(found)] = self.items[found]
                done.advance()
        return tops

    def own_items(self, task: Task) -> list[Scores]:
        at = [t.name for t in self.recommender.bundle.manifest.tasks].index(task.name)
        return [
            self._rate(past, asked)[:, at] for past, asked in zip(self.eval_requests.pasts, self.asked(), strict=True)
        ]

    def rows(self) -> Scores:
        rows = self.data.evaluation.impressions
        assert rows is not None
        place = np.searchsorted(self.data.evaluation_log.row, rows.row, sorter=np.argsort(self.data.evaluation_log.row))
        place = np.argsort(self.data.evaluation_log.row)[place]
        log, tasks = self.data.train_log, len(scored_tasks(self.data.tasks))
        scores = np.zeros((len(rows.item), tasks))
        with self.progress.track(len(scores), "int8, impressions") as done:
            for r, (user, at) in enumerate(zip(rows.requests.user, place, strict=True)):
                events = slice(int(log.offsets[user]), int(log.offsets[user + 1]))
                asked = self.request(events, int(at))
                scores[r] = self._rate(rows.item[r : r + 1], asked)[0]
                done.advance()
        return scores

    def _rate(self, item: Int, asked: dict[str, Any]) -> Scores:
        """What each task says of some items, (n, T); 0 of those that the bundle does not hold."""
        place = self.place[item]
        scores = np.zeros((len(item), len(scored_tasks(self.data.tasks))))
        if (place >= 0).any():
            scores[place >= 0] = self.recommender.rate(place[place >= 0], **asked).probability
        return scores

    def related(self) -> Int:
        n = self.data.n_items
        tops = np.full((n, RELATED_K), -1, np.int64)
        for place, item in enumerate(self.items):
            if item < 0:
                continue
            found, _ = self.recommender.relate(place, min(RELATED_K, len(self.items) - 1))
            tops[item, : len(found)] = self.items[found]
        return tops

    def asked(self) -> Iterator[dict[str, Any]]:
        """Each case as arguments of the runtime."""
        sessions, evaluation = self.data.evaluation.sessions, self.data.evaluation_log
        assert sessions is not None
        first = _first_rows(self.data)
        for row, events in zip(self.eval_requests.rows, self.eval_requests.events, strict=True):
            assert evaluation.user[first[row]] == sessions.requests.user[row]
            yield self.request(events, int(first[row]))

    def asked_of_rows(self) -> Iterator[dict[str, Any]]:
        """Each evaluation row, as a request, in place of the cases of a log without sessions."""
        evaluation, log = self.data.evaluation_log, self.data.train_log
        for row, user in enumerate(evaluation.user.tolist()):
            yield self.request(slice(int(log.offsets[user]), int(log.offsets[user + 1])), row)

    def request(self, events: slice, held_row: int) -> dict[str, Any]:
        """The arguments of a request at a evaluation row, by a user with these events of the training rows."""
        log, evaluation, encoder = self.data.train_log, self.data.evaluation_log, self.data.encoder
        values: dict[str, dict[str, object]] = {"context": {}, "user": {}, "time": {}}
        for column, index in zip(encoder.categorical, evaluation.categorical[held_row].tolist(), strict=True):
            values[column.source][column.name] = column.values[index - 1] if index else None
        for number, value in zip(encoder.numeric, evaluation.numeric[held_row].tolist(), strict=True):
            values[number.source][number.name] = value
        past = self.place[log.item[events]]
        held_too = past >= 0
        return {
            "history": Events(past[held_too], log.kind[events][held_too], log.time_ms[events][held_too]),
            "now": int(evaluation.time_ms[held_row]),
            "context": values["context"],
            "user": values["user"],
        }


def _first_rows(data: LearningData) -> Int:
    """The evaluation row at which each evaluation session starts."""
    sessions, evaluation = data.evaluation.sessions, data.evaluation_log
    assert sessions is not None
    first = evaluation.session_starts()
    key = {(int(evaluation.user[f]), int(evaluation.time_ms[f])): int(f) for f in first[::-1]}
    pairs = zip(sessions.requests.user.tolist(), sessions.requests.time_ms.tolist(), strict=True)
    return np.array([key[pair] for pair in pairs], np.int64)
