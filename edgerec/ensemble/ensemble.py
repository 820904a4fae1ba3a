"""The ensemble: networks, closed-form members and trees, blended into one score for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import log_softmax

from edgerec.ensemble.blend import logit
from edgerec.ensemble.members import Members, MemberScores
from edgerec.ensemble.views import Views
from edgerec.ensemble.weights import Blend
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.models.teacher import Teacher
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int

__all__ = ["Ensemble"]


class Ensemble:
    """Networks and members with their weights."""

    def __init__(
        self, candidates: int, data: LearningData, networks: Sequence[Teacher], members: Members, weights: Blend
    ) -> None:
        """`candidates`: items beside the history that the re-ranker scores."""
        self.candidates, self.data, self.networks = candidates, data, networks
        self.members, self.weights = members, weights
        self.scores = MemberScores(candidates, data, networks, members)
        self.tasks = scored_tasks(data.tasks)
        self.retrieval = [t for t in self.tasks if t.kind == "retrieval"]

    @property
    def views(self) -> Views | None:
        """Tell which requests of the training rows can be labelled; None: all."""
        return None if self.members.snapshots is None else self.members.snapshots.views

    def log_probs(self, requests: Requests, chosen: Int, view: int = -1, fold: int | None = None) -> Float:
        """Log-probability of every item to be the next one, (B, retrieval tasks, N); arguments as `MemberScores`."""
        wanted = {name for task in self.retrieval for name in _used(self.weights.catalog[task.name])}
        scores = self.scores.catalog(wanted, requests, chosen, view, fold)
        total = np.zeros((len(chosen), len(self.retrieval), self.data.n_items), np.float32)
        for t, task in enumerate(self.retrieval):
            for name, weight in _used(self.weights.catalog[task.name]).items():
                total[:, t] += weight * scores[name][:, t]
        return np.asarray(log_softmax(total, axis=2), np.float32)

    def blend_rows(self, scores: Mapping[str, Float]) -> Float:
        """Blend log-probabilities (binary) and standardised logs (regression) of the members, each (R, T)."""
        blended = np.zeros_like(next(iter(scores.values())))
        for i, task in enumerate(self.tasks):
            if task.kind == "retrieval":
                continue
            weights = self.weights.rows[task.name]
            binary = task.kind == "binary"
            z = np.full(len(blended), weights["offset"])
            for name, values in scores.items():
                z += weights[name] * (logit(values[:, i]) if binary else values[:, i])
            blended[:, i] = -np.logaddexp(0, -z) if binary else z
        return self._limited_by_conditions(blended)

    def _limited_by_conditions(self, scores: Float) -> Float:
        """Make a conditional task at most as probable as the task it comes `after`, since weights are chosen apart."""
        place = {t.name: i for i, t in enumerate(self.tasks)}
        for i, task in enumerate(self.tasks):
            if task.after is not None:
                scores[:, i] = np.minimum(scores[:, i], scores[:, place[task.after]])
        return scores

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Float:
        """Log-probabilities and standardised logs of one candidate a request, (B, T), by the mean of all folds."""
        return self.blend_rows(self.scores.rows(requests, candidate, chosen))

    def related(self, query: Int) -> Float:
        """Log-probabilities of being in one session with each item of `query`, (Q, N)."""
        name = next(t.name for t in self.data.tasks if t.kind == "related")
        weights = _used(self.weights.related[name])
        scores = self.scores.related(weights, query)
        total = sum(weight * scores[member] for member, weight in weights.items())
        return np.asarray(log_softmax(np.asarray(total, np.float32), axis=1), np.float32)


def _used(weights: Mapping[str, float]) -> dict[str, float]:
    """Leave out the members without a weight."""
    return {name: weight for name, weight in weights.items() if weight > 0}
