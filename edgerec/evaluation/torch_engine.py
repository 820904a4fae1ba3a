"""An engine for `ArrayRecommender` that runs the torch models of a stage, so that they are asked like a bundle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgerec.ensemble.scoring import AnyScorer, Scores
from edgerec.examples.pasts import GivenPasts
from edgerec.examples.requests import Requests
from edgerec.runtime import Ranked
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, Matrix, floats, ints
from edgerec.tasks.history import History, Int
from edgerec.tasks.units import MS_PER_HOUR

NOBODY = -1
"""Index of a user that the log does not know."""


class TorchEngine:
    """Scores requests of the runtime by the models of a stage. It gives no reasons: `Ranked.reason` is zero.

    The runtime stores a past as distinct items. A teacher's sequence model reads only the last event of each item here,
    whereas in the report it reads all events.
    """

    def __init__(self, scorer: AnyScorer, users: Mapping[str, int], sequence: int = 0) -> None:
        """`users`: index of each user of the log, by id. `sequence`: how many of the latest events the models read."""
        self.scorer, self.users, self.sequence = scorer, users, sequence
        self._asked = (NOBODY, 0)
        kinds = np.array([t.kind for t in scorer.tasks])
        self._ranks = kinds == "retrieval"
        self._new = [i for i, t in enumerate(scorer.tasks) if t.kind == "retrieval" and t.repeats == "exclude"]

    def ask_as(self, user: str | None, time_ms: int) -> None:
        """Set the user and the time of the next requests: boosting reads the rates of the user and the time of day."""
        self._asked = (NOBODY if user is None else self.users.get(user, NOBODY), time_ms)

    def recommend(self, request: Encoded, weights: Floats, exclude: Ints, k: int) -> Ranked:
        """See `edgerec.runtime.engine.Engine`."""
        probs = self._probs(request)
        each = np.asarray(weights)
        utility = each[self._ranks] @ probs
        counts = ~self._ranks & (each != 0)
        if counts.any():
            utility = utility + self._rows(request, np.arange(self.scorer.n_items))[:, counts] @ each[counts]
        utility[exclude] = -np.inf
        best = np.argsort(-utility, kind="stable")[:k]
        return self._ranked(request, best, utility[best], self._probability(request, probs, best))

    def score(self, request: Encoded, weights: Floats, candidates: Ints) -> Ranked:
        """See `edgerec.runtime.engine.Engine`."""
        items = np.asarray(candidates)
        probability = self._probability(request, self._probs(request), items)
        return self._ranked(request, items, probability @ np.asarray(weights), probability)

    def similar(self, item: int, exclude: Ints, k: int) -> tuple[Ints, Floats]:
        """See `edgerec.runtime.engine.Engine`."""
        scores = self.scorer.related(np.array([item]))[0]
        probs = np.exp(scores - np.logaddexp.reduce(scores)).astype(np.float32)
        probs[[item, *exclude]] = -np.inf
        best = np.argsort(-probs, kind="stable")[:k]
        return ints(best), floats(probs[best])

    def _ranked(self, request: Encoded, item: Int, utility: Scores, probability: Scores) -> Ranked:
        events, n = len(request.history), len(item)
        rows = Matrix(floats(probability.ravel()), probability.shape[1], n)
        return Ranked(ints(item), floats(utility), rows, Matrix(floats([0.0] * events * n), events, n), request.history)

    def _probs(self, request: Encoded) -> Scores:
        """Probability to be the next item, (retrieval tasks, N); a task without repeats excludes the past."""
        if not self._ranks.any():
            return np.zeros((0, self.scorer.n_items), np.float32)
        log_probs = self.scorer.log_probs(self._requests(request), np.zeros(1, np.int64))[0]
        for task in self._new:
            log_probs[task, request.history] = -np.inf
        log_probs = log_probs[self._ranks]
        probs: Scores = np.exp(log_probs - np.logaddexp.reduce(log_probs, axis=1, keepdims=True))
        return probs

    def _rows(self, request: Encoded, items: Int) -> Scores:
        return self.scorer.rows(self._requests(request, len(items)), items, np.arange(len(items)))

    def _requests(self, request: Encoded, n: int = 1) -> Requests:
        """The request, n times."""
        size, (user, time_ms) = len(request.history), self._asked
        last_ms = time_ms - np.round(np.asarray(request.history_age_h, np.float64) * MS_PER_HOUR).astype(np.int64)
        history = History(
            offsets=np.array([0, size]),
            item=np.asarray(request.history),
            kind=np.asarray(request.history_kind),
            count=np.asarray(request.history_count),
            last_ms=last_ms,
            interval_h=np.asarray(request.history_interval_h),
        )
        pasts = GivenPasts(n, history, np.asarray(request.context_numeric), time_ms, self.sequence)
        return Requests(
            user=np.full(n, user),
            time_ms=np.full(n, time_ms),
            as_of=np.zeros(n, np.int64),
            categorical=np.repeat(np.asarray(request.context_categorical)[None], n, axis=0),
            pasts=pasts,
        )

    def _probability(self, request: Encoded, probs: Scores, items: Int) -> Scores:
        """Probabilities of some items by task, (n, T)."""
        scores = np.zeros((len(items), len(self._ranks)), np.float32)
        scores[:, self._ranks] = probs[:, items].T
        if not self._ranks.all() and len(items):
            scores[:, ~self._ranks] = self._rows(request, items)[:, ~self._ranks]
        return scores
