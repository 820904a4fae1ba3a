"""How much of one model's quality another one retains: for everyone and by segment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.segments import MIN_SIZE, Segment, find_segments, whole_split
from edgerec.examples.evaluation_requests import (
    EvaluationRequests,
    Scores,
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
)
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate, MetricTable, ModelMetrics, TaskMetrics
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

__all__ = ["ALL", "DIFFERENCES", "ORDER", "OVERLAP", "RETAINED", "fidelity", "rank_correlation"]

ALL = "all"
RETAINED, OVERLAP, ORDER = "retained", "overlap@10", "rank_correlation"
DIFFERENCES = {"binary": "auc", "regression": "xauc"}
"""The metric of each kind of task whose difference is reported."""
LEAST_OF_CLASS = 10
"""With fewer impressions of either label, the difference of an AUC is unknown: it hangs on one or two of them, and so
does its standard error."""
AT_ONCE = 10_000
"""Lists that are compared at a time: bounds memory."""


def fidelity(
    ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests, min_size: int = MIN_SIZE
) -> MetricTable:
    """Compare the answers of two models on the same requests and impressions, "all" first, then by segment.

    Returns:
        Of retrieval tasks "retained", the ratio of NDCG@10, "overlap@10", the share of the ten best in common, and
        "rank_correlation" (Spearman) of the positions of their best hundred. Of related items "retained", the ratio of
        capped recall@10, and "overlap@10". Of binary tasks and regression targets the difference of "auc" or "xauc",
        and the "rank_correlation" of the scores. Segments smaller than `min_size` are left out.
    """
    table: MetricTable = {ALL: _of_everyone(ours, theirs, data, eval_requests)}
    for segment in find_segments(data, eval_requests, min_size=min_size):
        of_tasks = dict(_of_segment(ours, theirs, data, eval_requests, segment, min_size))
        if of_tasks:
            table[segment.name] = of_tasks
    return table


def _of_everyone(ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests) -> ModelMetrics:
    everyone = whole_split(data, eval_requests)
    by_task = dict(_of_segment(ours, theirs, data, eval_requests, everyone, min_size=1))
    if ours.related is not None and theirs.related is not None:
        name = next(t.name for t in data.tasks if t.kind == "related")
        sessions, recall = evaluation_sessions(data), "capped_recall@10"
        mine, other = (metrics.related_metrics(sessions, lists)[recall] for lists in (ours.related, theirs.related))
        by_task[name] = {RETAINED: mine.over(other), OVERLAP: metrics.overlap(ours.related, theirs.related)}
    return by_task


def _of_segment(
    ours: Answers,
    theirs: Answers,
    data: LearningData,
    eval_requests: EvaluationRequests,
    segment: Segment,
    min_size: int,
) -> Iterator[tuple[str, TaskMetrics]]:
    """Metrics by task, of at least `min_size` requests or impressions."""
    asked, rated = segment.requests, segment.impressions
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval" and asked is not None and asked.sum() >= min_size:
            mine, other = ours.lists[task.name][asked], theirs.lists[task.name][asked]
            some = eval_requests.where(asked)
            a, b = (evaluate_lists(top, task, data, some, (10,), segment.items)["ndcg@10"] for top in (mine, other))
            if a.n >= min_size:
                alike = {OVERLAP: metrics.overlap(mine, other), ORDER: rank_correlation(mine, other)}
                yield task.name, {RETAINED: a.over(b)} | (alike if segment.items is None else {})
        elif task.kind in DIFFERENCES and rated is not None and rated.sum() >= min_size:
            impressions = data.evaluation.impressions
            assert impressions is not None and ours.rows is not None and theirs.rows is not None
            label, user = evaluation_labels(data, task)[rated], impressions.requests.user[rated]
            if len(np.unique(label)) < 2:
                continue
            mine, other = ours.rows[rated, i], theirs.rows[rated, i]
            difference = _difference(task, label, mine, other, user)
            yield task.name, {DIFFERENCES[task.kind]: difference, ORDER: _score_correlation(mine, other)}


def _difference(task: Task, label: Scores, ours: Scores, theirs: Scores, user: Int) -> Estimate:
    compute = metrics.auc_metrics if task.kind == "binary" else metrics.regression_metrics
    name = DIFFERENCES[task.kind]
    if task.kind == "binary" and min(np.bincount(label.astype(np.int64), minlength=2)[:2]) < LEAST_OF_CLASS:
        return Estimate(float("nan"), len(label))
    return compute(label, ours, user)[name].minus(compute(label, theirs, user)[name])


def _score_correlation(ours: Scores, theirs: Scores) -> Estimate:
    from scipy.stats import spearmanr

    constant = len(np.unique(ours)) < 2 or len(np.unique(theirs)) < 2
    return Estimate(float("nan") if constant else float(spearmanr(ours, theirs).statistic), len(ours))


def rank_correlation(ours: Int, theirs: Int) -> Estimate:
    """Mean Spearman correlation of the lists `theirs`, (n, K), with the positions of their items in `ours`.

    Items that `ours` lacks come last; lists of fewer than two items are left out.
    """
    pieces = [slice(start, start + AT_ONCE) for start in range(0, len(ours), AT_ONCE)]
    return metrics.mean(np.concatenate([_correlations(ours[p], theirs[p]) for p in pieces]) if pieces else np.zeros(0))


def _correlations(ours: Int, theirs: Int) -> npt.NDArray[np.float64]:
    """One correlation for each list of two items or more."""
    rows = np.arange(len(ours))[:, None] * (int(max(ours.max(initial=0), theirs.max(initial=0))) + 2)
    places = np.argsort(ours, axis=1, kind="stable")
    keys = (rows + np.take_along_axis(ours, places, 1)).ravel()  # ascend over all rows
    at = np.minimum(np.searchsorted(keys, rows + theirs), len(keys) - 1)
    listed = theirs >= 0
    found = listed & (keys[at] == rows + theirs)
    n_listed, n_found = listed.sum(1, keepdims=True), found.sum(1, keepdims=True)
    order = np.argsort(np.where(found, places.ravel()[at], ours.shape[1]), axis=1)
    rank = np.where(found, np.argsort(order, axis=1), (n_found + n_listed - 1) / 2)
    off = np.where(listed, rank - (n_listed - 1) / 2, 0)
    own = np.where(listed, np.cumsum(listed, axis=1) - 1 - (n_listed - 1) / 2, 0)
    spread = np.sqrt(np.square(off).sum(1) * np.square(own).sum(1))
    values = np.divide((off * own).sum(1), spread, out=np.zeros(len(ours)), where=spread > 0)
    return np.asarray(values[n_listed[:, 0] > 1])
