"""What a model is asked on the held part, and how lists are judged there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, visit_rows
from edgerec.metrics import accuracy as metrics
from edgerec.metrics.accuracy import Estimate
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int

Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Cases:
    """What is asked: of each user with a past, its first visit of the part.

    Attributes:
        rows: the requests' places in the held visits; (n,).
        pasts: distinct items of each request's whole past, int64.
        events: rows of the fit log of each request's user.
    """

    rows: Int
    pasts: list[Int]
    events: list[slice]

    @classmethod
    def none(cls) -> Cases:
        """No case."""
        return cls(np.zeros(0, np.int64), [], [])

    def where(self, keep: npt.NDArray[np.bool_]) -> Cases:
        """The cases for which `keep`, (n,)."""
        at = np.flatnonzero(keep)
        return Cases(self.rows[at], [self.pasts[i] for i in at], [self.events[i] for i in at])


class Judged(Protocol):
    """A model on trial."""

    def lists(self, task: Task) -> Int:
        """The best `MAX_RANK` items of each case, -1 pads: (cases, MAX_RANK)."""

    def own_items(self, task: Task) -> list[Scores]:
        """Scores of each case's past items."""

    def rows(self) -> Scores:
        """Probabilities and expectations of the held rows, (R, T)."""

    def related(self) -> Int:
        """For every item its best related ones, (N, RELATED_K), -1 pads."""


def find_cases(data: LearningData) -> Cases:
    """The users of the held part that have a past, in the order of the held visits; none without retrieval tasks."""
    visits = data.held.visits
    if visits is None:
        return Cases.none()
    log = data.fit_log
    start, end = log.offsets[visits.requests.user], log.offsets[visits.requests.user + 1]
    rows = np.flatnonzero(end > start)
    events = [slice(int(start[r]), int(end[r])) for r in rows]
    return Cases(rows, [np.unique(log.item[e]) for e in events], events)


def held_labels(data: LearningData, task: Task) -> Float:
    """Labels of the held rows in their unit."""
    rows = data.held.rows
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
    cases: Cases,
    k: Sequence[int],
    among: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Estimate]:
    """Metrics of a retrieval task from a list for every case, `top` (cases, K); a case without a truth is left out.

    `among`: (n_items,), which items count as true; None: all.
    """
    truths, some = truths_of(task, data, cases, among)
    exclude = [p for p, s in zip(cases.pasts, some, strict=True) if s] if task.repeats == "exclude" else None
    return metrics.ranking(top[some], truths, data.n_items, exclude, k)


def truths_of(
    task: Task, data: LearningData, cases: Cases, among: npt.NDArray[np.bool_] | None = None
) -> tuple[list[Int], npt.NDArray[np.bool_]]:
    """True items of each case that has any, and which those are, (cases,)."""
    visits = data.held.visits
    assert visits is not None
    truths = [np.unique(visits.truth[task.name].row(r)) for r in cases.rows]
    if among is not None:
        truths = [t[among[t]] for t in truths]
    if task.repeats == "exclude":
        truths = [t[~np.isin(t, p)] for t, p in zip(truths, cases.pasts, strict=True)]
    return [t for t in truths if len(t)], np.array([len(t) > 0 for t in truths], bool)


def held_sessions(data: LearningData) -> list[Int]:
    """Known items of each session of the held part, two and more."""
    log = data.held_log
    rows = visit_rows(log, log.starts_of_visits())
    known = rows.where(log.item[rows.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    return [items.row(s) for s in np.flatnonzero(items.sizes() > 1).tolist()]
