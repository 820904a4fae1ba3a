"""The stages before the bundle, asked like the bundle: the engine of a `ArrayRecommender` that runs torch models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgerec.ensemble.scoring import AnyScorer, Scores
from edgerec.examples.pasts import GivenPasts
from edgerec.examples.requests import Requests
from edgerec.runtime import Ranked
from edgerec.tasks import Encoded
from edgerec.tasks.history import Float, History, Int
from edgerec.tasks.units import MS_PER_HOUR

NOBODY = -1
"""A user that the log does not know."""


class TorchEngine:
    """Scores requests of the runtime by the models of a stage. It gives no reasons: `Ranked.reason` is zero.

    The runtime keeps a past as distinct items. A teacher's sequence model reads the last event of each of them here,
    not, as in the report, all raw events.
    """

    def __init__(self, scorer: AnyScorer, users: Mapping[str, int], sequence: int = 0) -> None:
        """`users`: index of each user of the log, by id. `sequence`: latest events that the models read."""
        self.scorer, self.users, self.sequence = scorer, users, sequence
        self._asked = (NOBODY, 0)
        kinds = np.array([t.kind for t in scorer.tasks])
        self._ranks = kinds == "retrieval"
        self._new = [i for i, t in enumerate(scorer.tasks) if t.kind == "retrieval" and t.repeats == "exclude"]

    def ask_as(self, user: str | None, time_ms: int) -> None:
        """Say who asks from now on, and when: boosting knows users by their own rates, and the time of day."""
        self._asked = (NOBODY if user is None else self.users.get(user, NOBODY), time_ms)

    def recommend(self, request: Encoded, weights: Float, exclude: Int, k: int) -> Ranked:
        """See `edgerec.runtime.engine.Engine`."""
        shares = self._shares(request)
        utility = weights[self._ranks] @ shares
        counts = ~self._ranks & (weights != 0)
        if counts.any():
            utility = utility + self._rows(request, np.arange(self.scorer.n_items))[:, counts] @ weights[counts]
        utility[exclude] = -np.inf
        best = np.argsort(-utility, kind="stable")[:k]
        return self._ranked(request, best, utility[best], self._probability(request, shares, best))

    def score(self, request: Encoded, weights: Float, candidates: Int) -> Ranked:
        """See `edgerec.runtime.engine.Engine`."""
        probability = self._probability(request, self._shares(request), candidates)
        return self._ranked(request, candidates, probability @ weights, probability)

    def similar(self, item: int, exclude: Int, k: int) -> tuple[Int, Float]:
        """See `edgerec.runtime.engine.Engine`."""
        scores = self.scorer.related(np.array([item]))[0]
        share = np.exp(scores - np.logaddexp.reduce(scores)).astype(np.float32)
        share[[item, *exclude]] = -np.inf
        best = np.argsort(-share, kind="stable")[:k]
        return best, share[best]

    def _ranked(self, request: Encoded, item: Int, utility: Scores, probability: Scores) -> Ranked:
        reason = np.zeros((len(item), len(request.history)), np.float32)
        return Ranked(item, utility.astype(np.float32), probability.astype(np.float32), reason, request.history)

    def _shares(self, request: Encoded) -> Scores:
        """Probability to be the next item, (retrieval tasks, N); a task without repeats leaves the past out."""
        if not self._ranks.any():
            return np.zeros((0, self.scorer.n_items), np.float32)
        log = self.scorer.log_probs(self._requests(request), np.zeros(1, np.int64))[0]
        for task in self._new:
            log[task, request.history] = -np.inf
        log = log[self._ranks]
        shares: Scores = np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True))
        return shares

    def _rows(self, request: Encoded, items: Int) -> Scores:
        return self.scorer.rows(self._requests(request, len(items)), items, np.arange(len(items)))

    def _requests(self, request: Encoded, n: int = 1) -> Requests:
        """The request n times."""
        size, (user, time_ms) = len(request.history), self._asked
        last_ms = time_ms - np.round(request.history_age_h.astype(np.float64) * MS_PER_HOUR).astype(np.int64)
        history = History(
            offsets=np.array([0, size]),
            item=request.history,
            kind=request.history_kind,
            count=request.history_count,
            last_ms=last_ms,
            interval_h=request.history_interval_h,
        )
        pasts = GivenPasts(n, history, request.context_numeric, time_ms, self.sequence)
        return Requests(
            user=np.full(n, user),
            time_ms=np.full(n, time_ms),
            as_of=np.zeros(n, np.int64),
            categorical=np.repeat(request.context_categorical[None], n, axis=0),
            pasts=pasts,
        )

    def _probability(self, request: Encoded, shares: Scores, items: Int) -> Scores:
        """All tasks of some items, (n, T)."""
        found = np.zeros((len(items), len(self._ranks)), np.float32)
        found[:, self._ranks] = shares[:, items].T
        if not self._ranks.all() and len(items):
            found[:, ~self._ranks] = self._rows(request, items)[:, ~self._ranks]
        return found
