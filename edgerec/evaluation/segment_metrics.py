"""Quality by segment: for whom a model is better or worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgerec import metrics
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.segments import MIN_SIZE, Segment, find_segments
from edgerec.examples.evaluation_requests import EvaluationRequests, Mask, evaluate_lists, evaluation_labels
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate, MetricTable, TaskMetrics
from edgerec.tasks import Task, scored_tasks

__all__ = ["segment_differences", "segment_gaps", "segment_metrics"]

MAIN = {"retrieval": "ndcg@10", "binary": "auc", "regression": "xauc"}
"""The metric of each kind of task by which segments are compared."""


def segment_metrics(
    answers: Answers,
    data: LearningData,
    eval_requests: EvaluationRequests,
    attributes: Sequence[str],
    min_size: int = MIN_SIZE,
) -> MetricTable:
    """Metrics of one model by segment and task; segments of fewer than `min_size` requests or impressions are left out.

    Returns:
        "ndcg@10" and "recall@20" of retrieval tasks, "auc" and "logloss" of binary tasks, "xauc" and "mae" of
        regression targets.
    """
    table: MetricTable = {}
    for segment in find_segments(data, eval_requests, attributes):
        of_tasks = dict(_of_segment(answers, data, eval_requests, segment, min_size))
        if of_tasks:
            table[segment.name] = of_tasks
    return table


def segment_differences(
    ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]
) -> MetricTable:
    """By segment and task, the main metric of one model minus that of another, paired on the same requests."""
    mine, other = (segment_metrics(of, data, eval_requests, attributes) for of in (ours, theirs))
    differences: MetricTable = {}
    for segment, tasks in mine.items():
        for task, values in tasks.items():
            name = next((m for m in MAIN.values() if m in values), None)
            others = other.get(segment, {}).get(task, {})
            if name is not None and name in others:
                differences.setdefault(segment, {})[task] = {name: values[name].minus(others[name])}
    return differences


def segment_gaps(table: MetricTable) -> MetricTable:
    """By column, its best value minus its worst, with the error of two independent groups.

    Only segments named "COLUMN = VALUE" are compared; the two values are part of the name of the gap.
    """
    columns: dict[str, MetricTable] = {}
    for name, tasks in table.items():
        column, is_value, value = name.partition(" = ")
        if is_value:
            for task, values in tasks.items():
                columns.setdefault(column, {}).setdefault(task, {})[value] = values
    gaps: MetricTable = {}
    for column, by_task in columns.items():
        for task, by_value in by_task.items():
            main = next((m for m in MAIN.values() if all(m in of for of in by_value.values())), None)
            known = {v: of[main] for v, of in by_value.items() if main and math.isfinite(of[main].value)}
            if main is None or len(known) < 2:
                continue
            best, worst = (pick(known, key=lambda v: known[v].value) for pick in (max, min))
            gaps.setdefault(f"{column}: {best} - {worst}", {})[task] = {main: _gap(known[best], known[worst])}
    return gaps


def _gap(a: Estimate, b: Estimate) -> Estimate:
    errors = np.array([e.se for e in (a, b) if math.isfinite(e.se)])
    return Estimate(a.value - b.value, a.n + b.n, errors if len(errors) == 2 else None)


def _of_segment(
    answers: Answers, data: LearningData, eval_requests: EvaluationRequests, segment: Segment, min_size: int
) -> Iterator[tuple[str, TaskMetrics]]:
    asked, rated = segment.requests, segment.impressions
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval" and asked is not None and asked.sum() >= min_size:
            lists, some = answers.lists[task.name][asked], eval_requests.where(asked)
            values = evaluate_lists(lists, task, data, some, (10, 20), segment.items)
            if values["ndcg@10"].n >= min_size:
                yield task.name, {name: values[name] for name in ("ndcg@10", "recall@20")}
        elif task.kind != "retrieval" and rated is not None and rated.sum() >= min_size and answers.rows is not None:
            yield from _of_impressions(answers, data, task, i, rated)


def _of_impressions(
    answers: Answers, data: LearningData, task: Task, column: int, rated: Mask
) -> Iterator[tuple[str, TaskMetrics]]:
    impressions = data.evaluation.impressions
    assert impressions is not None and answers.rows is not None
    label, user = evaluation_labels(data, task)[rated], impressions.requests.user[rated]
    if len(np.unique(label)) < 2:
        return
    is_binary = task.kind == "binary"
    compute = metrics.binary_metrics if is_binary else metrics.regression_metrics
    values = compute(label, answers.rows[rated, column], user)
    yield task.name, {name: values[name] for name in (("auc", "logloss") if is_binary else ("xauc", "mae"))}
