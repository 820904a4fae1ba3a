"""Quality for whom: by the length of a user's past, how frequent an item is, context values and user attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgerec import metrics
from edgerec.errors import ConfigError
from edgerec.evaluation.fidelity import GAPS, LEAST, Answers, Mask, parts
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_labels
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate
from edgerec.tasks import Task, scored_tasks

__all__ = ["check_segments", "gaps", "gaps_of_parts", "segments"]

Segments = dict[str, dict[str, dict[str, Estimate]]]
MAIN = {"retrieval": "ndcg@10", "binary": "auc", "regression": "xauc"}
"""The figure of each kind of task by which groups are compared."""


def check_segments(names: Sequence[str], data: LearningData) -> None:
    """Raises ConfigError for a name that is no categorical column of the users."""
    known = [column.name for column in data.encoder.categorical if column.source == "user"]
    there = ", ".join(known) or "none"
    for name in names:
        if name not in known:
            raise ConfigError(f"evaluation.segments: no categorical user column {name!r}; [data.users] has {there}")


def segments(
    answers: Answers, data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]
) -> Segments:
    """Figures of one model by part and task; parts of fewer than `LEAST` cases or rows are left out.

    Returns:
        By part: of retrieval tasks "ndcg@10" and "recall@20", of binary ones "auc" and "logloss", of amounts "xauc" and
        "mae".
    """
    found: Segments = {}
    for name, of_cases, of_rows, among in parts(data, eval_requests, attributes):
        figures = dict(_of_part(answers, data, eval_requests, of_cases, of_rows, among))
        if figures:
            found[name] = figures
    return found


def gaps_of_parts(
    ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]
) -> Segments:
    """By part and task, what one model's main figure has more than another's, paired on the same cases."""
    mine, other = (segments(of, data, eval_requests, attributes) for of in (ours, theirs))
    told: Segments = {}
    for part, tasks in mine.items():
        for task, figures in tasks.items():
            name = next((m for m in MAIN.values() if m in figures), None)
            same = other.get(part, {}).get(task, {})
            if name is not None and name in same:
                told.setdefault(part, {})[task] = {name: figures[name].minus(same[name])}
    return told


def gaps(found: Segments) -> Segments:
    """By column, what its best value has more than its worst, with the error of two independent groups.

    A column's parts are named "COLUMN = VALUE"; the groups are told in the figure's name.
    """
    columns: dict[str, dict[str, dict[str, dict[str, Estimate]]]] = {}
    for name, tasks in found.items():
        column, is_value, value = name.partition(" = ")
        if is_value:
            for task, figures in tasks.items():
                columns.setdefault(column, {}).setdefault(task, {})[value] = figures
    told: Segments = {}
    for column, by_task in columns.items():
        for task, by_value in by_task.items():
            main = next((m for m in MAIN.values() if all(m in f for f in by_value.values())), None)
            known = {v: f[main] for v, f in by_value.items() if main and math.isfinite(f[main].value)}
            if main is None or len(known) < 2:
                continue
            best, worst = (pick(known, key=lambda v: known[v].value) for pick in (max, min))
            a, b = known[best], known[worst]
            errors = np.array([e.se for e in (a, b) if math.isfinite(e.se)])
            estimate = Estimate(a.value - b.value, a.n + b.n, errors if len(errors) == 2 else None)
            told.setdefault(f"{column}: {best} less {worst}", {})[task] = {main: estimate}
    return told


def _of_part(
    answers: Answers,
    data: LearningData,
    eval_requests: EvaluationRequests,
    of_cases: Mask | None,
    of_rows: Mask | None,
    among: Mask | None,
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval" and of_cases is not None and of_cases.sum() >= LEAST:
            lists = answers.lists[task.name][of_cases]
            told = evaluate_lists(lists, task, data, eval_requests.where(of_cases), (10, 20), among)
            if told["ndcg@10"].n >= LEAST:
                yield task.name, {name: told[name] for name in ("ndcg@10", "recall@20")}
        elif task.kind in GAPS and of_rows is not None and of_rows.sum() >= LEAST and answers.rows is not None:
            yield from _of_rows(answers, data, task, i, of_rows)


def _of_rows(
    answers: Answers, data: LearningData, task: Task, at: int, of_rows: Mask
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    rows = data.evaluation.impressions
    assert rows is not None and answers.rows is not None
    label, score, user = evaluation_labels(data, task)[of_rows], answers.rows[of_rows, at], rows.requests.user[of_rows]
    if len(np.unique(label)) < 2:
        return
    names, judge = (
        (("auc", "logloss"), metrics.binary_metrics)
        if task.kind == "binary"
        else (("xauc", "mae"), metrics.regression_metrics)
    )
    told = judge(label, score, user)
    yield task.name, {name: told[name] for name in names}
