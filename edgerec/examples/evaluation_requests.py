"""The requests on which models are evaluated, what was true of them, and metrics of the lists that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, session_rows
from edgerec.metrics import TaskMetrics
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int

Scores = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EvaluationRequests:
    """One request for each user with a past: the first session of the user in the evaluation split.

    Attributes:
        rows: positions of the requests among the evaluation sessions, (n,).
        pasts: for each request, the distinct items of the user's whole past, int64.
        events: for each request, the rows of the training log of its user.
    """

    rows: Int
    pasts: list[Int]
    events: list[slice]

    @classmethod
    def none(cls) -> EvaluationRequests:
        """No request."""
        return cls(np.zeros(0, np.int64), [], [])

    def every(self, most: int) -> Mask:
        """An even sample of at most `most` requests, (n,)."""
        return np.asarray(np.arange(len(self.rows)) % max(-(-len(self.rows) // most), 1) == 0)

    def where(self, mask: Mask) -> EvaluationRequests:
        """The requests for which `mask`, (n,), is true."""
        at = np.flatnonzero(mask)
        return EvaluationRequests(self.rows[at], [self.pasts[i] for i in at], [self.events[i] for i in at])


def thinned(data: LearningData, most: int) -> tuple[LearningData, Int]:
    """The data with at most about `most` evaluation impressions, all of every k-th user; and which those are."""
    impressions = data.evaluation.impressions
    if impressions is None:
        return data, np.zeros(0, np.int64)
    number = np.unique(impressions.requests.user, return_inverse=True)[1]
    chosen = np.flatnonzero(number % max(-(-len(impressions.item) // most), 1) == 0)
    evaluation = replace(data.evaluation, impressions=impressions.take(chosen))
    return replace(data, evaluation=evaluation), chosen


class EvaluatedModel(Protocol):
    """What a model answers to be evaluated."""

    def lists(self, task: Task) -> Int:
        """The best `MAX_RANK` items of each request, padded with -1: (requests, MAX_RANK)."""

    def own_items(self, task: Task) -> list[Scores]:
        """For each request, the scores of its user's past items."""

    def rows(self) -> Scores:
        """Probabilities and expectations of the evaluation impressions, (R, T)."""

    def related(self) -> Int:
        """For every item its best related items, padded with -1: (N, RELATED_K)."""


def find_evaluation_requests(data: LearningData) -> EvaluationRequests:
    """Requests of the users of the evaluation split who have a past, in the order of the evaluation sessions.

    There are none without retrieval tasks.
    """
    sessions = data.evaluation.sessions
    if sessions is None:
        return EvaluationRequests.none()
    log = data.train_log
    start, end = log.offsets[sessions.requests.user], log.offsets[sessions.requests.user + 1]
    rows = np.flatnonzero(end > start)
    events = [slice(int(start[r]), int(end[r])) for r in rows]
    pasts = Ragged(log.offsets, log.item).take(sessions.requests.user[rows]).distinct()
    return EvaluationRequests(rows, pasts, events)


def evaluation_labels(data: LearningData, task: Task) -> Float:
    """Labels of the evaluation impressions, in the unit of the log."""
    impressions = data.evaluation.impressions
    assert impressions is not None
    labels = impressions.labels[task.name]
    if task.kind == "binary":
        return labels
    scale = data.scales[task.name]
    return np.expm1(labels.astype(np.float64) * scale.std + scale.mean).astype(np.float32)


def evaluate_lists(
    top: Int,
    task: Task,
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
    among: Mask | None = None,
) -> TaskMetrics:
    """Metrics of a retrieval task from one list per request, `top` (requests, K).

    Requests without a true item are left out. `among`, (n_items,), says which items count as true; None: all.
    """
    truths, has_truth = true_items(task, data, eval_requests, among)
    exclude = None
    if task.repeats == "exclude":
        exclude = [past for past, use in zip(eval_requests.pasts, has_truth, strict=True) if use]
    return metrics.ranking_metrics(top[has_truth], truths, data.n_items, exclude, k)


def true_items(
    task: Task, data: LearningData, eval_requests: EvaluationRequests, among: Mask | None = None
) -> tuple[list[Int], Mask]:
    """True items of each request that has any, and which requests those are, (requests,)."""
    sessions = data.evaluation.sessions
    assert sessions is not None
    truths = Ragged.of(sessions.truth[task.name].take(eval_requests.rows).distinct())
    kept = np.ones(len(truths.values), bool) if among is None else among[truths.values]
    if task.repeats == "exclude":
        past = Ragged.of(eval_requests.pasts)
        kept &= ~np.isin(truths.owner() << 32 | truths.values, past.owner() << 32 | past.values)
    truths = truths.where(kept)
    some = truths.sizes() > 0
    return [truths.row(r) for r in np.flatnonzero(some).tolist()], some


def evaluation_sessions(data: LearningData) -> list[Int]:
    """Known items of each session of the evaluation split that has two or more of them."""
    log = data.evaluation_log
    rows = session_rows(log, log.session_starts())
    known = rows.where(log.item[rows.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    return [items.row(s) for s in np.flatnonzero(items.sizes() > 1).tolist()]
