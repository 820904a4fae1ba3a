"""What a model is asked on the evaluation split, and how lists are judged there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, session_rows
from edgerec.metrics import accuracy as metrics
from edgerec.metrics.accuracy import Estimate
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int

Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class EvaluationRequests:
    """What is asked: of each user with a past, its first session of the part.

    Attributes:
        rows: the requests' places in the evaluation sessions; (n,).
        pasts: distinct items of each request's whole past, int64.
        events: rows of the training log of each request's user.
    """

    rows: Int
    pasts: list[Int]
    events: list[slice]

    @classmethod
    def none(cls) -> EvaluationRequests:
        """No case."""
        return cls(np.zeros(0, np.int64), [], [])

    def where(self, keep: npt.NDArray[np.bool_]) -> EvaluationRequests:
        """The cases for which `keep`, (n,)."""
        at = np.flatnonzero(keep)
        return EvaluationRequests(self.rows[at], [self.pasts[i] for i in at], [self.events[i] for i in at])


class Judged(Protocol):
    """A model on trial."""

    def lists(self, task: Task) -> Int:
        """The best `MAX_RANK` items of each case, -1 pads: (cases, MAX_RANK)."""

    def own_items(self, task: Task) -> list[Scores]:
        """Scores of each case's past items."""

    def rows(self) -> Scores:
        """Probabilities and expectations of the evaluation impressions, (R, T)."""

    def related(self) -> Int:
        """For every item its best related ones, (N, RELATED_K), -1 pads."""


def find_evaluation_requests(data: LearningData) -> EvaluationRequests:
    """The users of the evaluation split that have a past, in the order of the evaluation sessions; none without retrieval tasks."""
    sessions = data.evaluation.sessions
    if sessions is None:
        return EvaluationRequests.none()
    log = data.train_log
    start, end = log.offsets[sessions.requests.user], log.offsets[sessions.requests.user + 1]
    rows = np.flatnonzero(end > start)
    events = [slice(int(start[r]), int(end[r])) for r in rows]
    return EvaluationRequests(rows, [np.unique(log.item[e]) for e in events], events)


def evaluation_labels(data: LearningData, task: Task) -> Float:
    """Labels of the evaluation impressions in their unit."""
    rows = data.evaluation.impressions
    assert rows is not None
    labels = rows.labels[task.name]
    if task.kind == "binary":
        return labels
    scale = data.scales[task.name]
    return np.expm1(labels.astype(np.float64) * scale.std + scale.mean).astype(np.float32)


def judge_lists(
    top: Int,
    task: Task,
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
    among: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Estimate]:
    """Metrics of a retrieval task from a list for every case, `top` (cases, K); a case without a truth is left out.

    `among`: (n_items,), which items count as true; None: all.
    """
    truths, some = truths_of(task, data, eval_requests, among)
    exclude = [p for p, s in zip(eval_requests.pasts, some, strict=True) if s] if task.repeats == "exclude" else None
    return metrics.ranking(top[some], truths, data.n_items, exclude, k)


def truths_of(
    task: Task, data: LearningData, eval_requests: EvaluationRequests, among: npt.NDArray[np.bool_] | None = None
) -> tuple[list[Int], npt.NDArray[np.bool_]]:
    """True items of each case that has any, and which those are, (cases,)."""
    sessions = data.evaluation.sessions
    assert sessions is not None
    truths = [np.unique(sessions.truth[task.name].row(r)) for r in eval_requests.rows]
    if among is not None:
        truths = [t[among[t]] for t in truths]
    if task.repeats == "exclude":
        truths = [t[~np.isin(t, p)] for t, p in zip(truths, eval_requests.pasts, strict=True)]
    return [t for t in truths if len(t)], np.array([len(t) > 0 for t in truths], bool)


def evaluation_sessions(data: LearningData) -> list[Int]:
    """Known items of each session of the evaluation split, two and more."""
    log = data.evaluation_log
    rows = session_rows(log, log.session_starts())
    known = rows.where(log.item[rows.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    return [items.row(s) for s in np.flatnonzero(items.sizes() > 1).tolist()]
