"""How well scores rank what followed the requests of valid: what decides which members are worth their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from edgerec import metrics
from edgerec.ensemble.shortlists import requests_at_once
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.metrics import top_k
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int

Scores: TypeAlias = "Callable[[Requests, Int], Mapping[str, Float]]"
"""From some of the requests to scores of every item by name, (B, N) each."""
K = 10


def requests_with_a_past(data: LearningData, most: int, rng: np.random.Generator) -> Int:
    """The evaluation requests of users who are in the training rows, at most so many."""
    sessions, log = data.evaluation.sessions, data.train_log
    assert sessions is not None
    user = sessions.requests.user
    chosen = np.flatnonzero(log.offsets[user + 1] > log.offsets[user])
    return sample(chosen, most, rng)


def sample(values: Int, most: int, rng: np.random.Generator) -> Int:
    """At most so many of `values`, in their order."""
    return values if len(values) <= most else np.sort(rng.choice(values, most, replace=False))


class Judge:
    """A sample of the evaluation requests that rankings are judged on, always the same."""

    def __init__(self, data: LearningData, most: int, seed: int) -> None:
        self.data = data
        self.tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        self.chosen = requests_with_a_past(data, most, np.random.default_rng(seed))

    def ndcg(self, scores: Scores) -> dict[str, dict[str, float]]:
        """NDCG@10 by task, then by the scores' names; without a request that something followed, no names."""
        sessions, log, n = self.data.evaluation.sessions, self.data.train_log, self.data.n_items
        assert sessions is not None
        lists: dict[str, dict[str, list[Int]]] = {task.name: {} for task in self.tasks}
        for part in requests_at_once(self.chosen, n, 1):
            own = [log.item[log.offsets[u] : log.offsets[u + 1]] for u in sessions.requests.user[part]]
            row, item = np.repeat(np.arange(len(part)), [len(items) for items in own]), np.concatenate(own)
            for name, values in scores(sessions.requests, part).items():
                for task in self.tasks:
                    ranked = values
                    if task.repeats == "exclude":
                        ranked = values.copy()
                        ranked[row, item] = -np.inf
                    lists[task.name].setdefault(name, []).append(top_k(ranked, min(K, n)))
        return {
            task.name: {name: self._ndcg(np.concatenate(parts), task.name) for name, parts in lists[task.name].items()}
            for task in self.tasks
        }

    def _ndcg(self, lists: Int, task: str) -> float:
        sessions = self.data.evaluation.sessions
        assert sessions is not None
        truth = sessions.truth[task].take(self.chosen)
        some = np.flatnonzero(truth.sizes() > 0)
        if not len(some):
            return 0.0
        items = [np.unique(truth.row(int(r))) for r in some]
        return metrics.ranking_metrics(lists[some], items, self.data.n_items, None, (K,))[f"ndcg@{K}"].value
