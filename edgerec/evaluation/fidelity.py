"""How much of one model's quality another one keeps, for everyone and for parts: users, items, contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.examples.evaluation_requests import (
    EvaluatedModel,
    EvaluationRequests,
    Scores,
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
)
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate, head_of
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

ALL = "all"
LEAST = 100
"""Cases or rows that a part needs to be told."""
VALUES = 8
"""Most frequent values of each context column that are told."""
KEPT, OVERLAP, ORDER = "kept", "overlap@10", "rank_correlation"
GAPS = {"binary": "auc", "regression": "xauc"}
"""The metric of each kind of task whose difference is told."""
Mask: TypeAlias = npt.NDArray[np.bool_]
Parts: TypeAlias = dict[str, dict[str, dict[str, Estimate]]]
"""By part ("all" first), task and figure."""


@dataclass(frozen=True)
class Answers:
    """What one model says on the evaluation split.

    Attributes:
        lists: by retrieval task, (cases, K). rows: (R, T). related: (N, K).
    """

    lists: dict[str, Int]
    rows: Scores | None
    related: Int | None

    @classmethod
    def of(cls, model: EvaluatedModel, data: LearningData) -> Answers:
        """All that a model can be asked."""
        scored = scored_tasks(data.tasks)
        lists = {t.name: model.lists(t) for t in scored if t.kind == "retrieval"}
        rows = (
            model.rows() if data.evaluation.impressions is not None and len(data.evaluation.impressions.item) else None
        )
        related = model.related() if any(t.kind == "related" for t in data.tasks) else None
        return cls(lists, rows, related)


def fidelity(ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests) -> Parts:
    """What of `theirs` `ours` keeps, paired on the same cases.

    Returns:
        For everyone and each part that is large enough: of rankings "kept", the ratio of NDCG@10, "overlap@10", the
        share of the ten best in common, and "rank_correlation", of the places of their best hundred (Spearman); of
        related items "kept", the ratio of capped recall@10, and "overlap@10"; of binary tasks and amounts "auc" and
        "xauc", the differences, and "rank_correlation", of the scores.
    """
    found: Parts = {ALL: _everyone(ours, theirs, data, eval_requests)}
    for name, of_cases, of_rows, among in parts(data, eval_requests):
        part = dict(_of_part(ours, theirs, data, eval_requests, of_cases, of_rows, among))
        if part:
            found[name] = part
    return found


def _everyone(
    ours: Answers, theirs: Answers, data: LearningData, eval_requests: EvaluationRequests
) -> dict[str, dict[str, Estimate]]:
    n = 0 if data.evaluation.impressions is None else len(data.evaluation.impressions.item)
    found = dict(
        _of_part(
            ours, theirs, data, eval_requests, np.ones(len(eval_requests.rows), bool), np.ones(n, bool), None, least=1
        )
    )
    if ours.related is not None and theirs.related is not None:
        name = next(t.name for t in data.tasks if t.kind == "related")
        sessions = evaluation_sessions(data)
        a, b = (
            metrics.related_metrics(sessions, lists)["capped_recall@10"] for lists in (ours.related, theirs.related)
        )
        found[name] = {KEPT: a.over(b), OVERLAP: metrics.overlap(ours.related, theirs.related)}
    return found


def _of_part(
    ours: Answers,
    theirs: Answers,
    data: LearningData,
    eval_requests: EvaluationRequests,
    of_cases: Mask | None,
    of_rows: Mask | None,
    among: Mask | None,
    least: int | None = None,
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Figures by task of some cases and rows, of at least `LEAST` or `least`; `among`: items that count as true."""
    least = LEAST if least is None else least
    rows = data.evaluation.impressions
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval" and of_cases is not None and of_cases.sum() >= least:
            mine, other = ours.lists[task.name][of_cases], theirs.lists[task.name][of_cases]
            asked = eval_requests.where(of_cases)
            a, b = (evaluate_lists(top, task, data, asked, (10,), among)["ndcg@10"] for top in (mine, other))
            if a.n >= least:
                alike = {OVERLAP: metrics.overlap(mine, other), ORDER: same_order(mine, other)}
                yield task.name, {KEPT: a.over(b)} | (alike if among is None else {})
        elif task.kind in GAPS and of_rows is not None and of_rows.sum() >= least:
            assert rows is not None and ours.rows is not None and theirs.rows is not None
            label, user = evaluation_labels(data, task)[of_rows], rows.requests.user[of_rows]
            if len(np.unique(label)) < 2:
                continue
            mine, other = ours.rows[of_rows, i], theirs.rows[of_rows, i]
            yield task.name, {GAPS[task.kind]: _gap(task, label, mine, other, user), ORDER: _correlation(mine, other)}


def _gap(task: Task, label: Scores, ours: Scores, theirs: Scores, user: Int) -> Estimate:
    judge = metrics.auc_metrics if task.kind == "binary" else metrics.regression_metrics
    name = GAPS[task.kind]
    return judge(label, ours, user)[name].minus(judge(label, theirs, user)[name])


def _correlation(ours: Scores, theirs: Scores) -> Estimate:
    from scipy.stats import spearmanr

    constant = len(np.unique(ours)) < 2 or len(np.unique(theirs)) < 2
    return Estimate(float("nan") if constant else float(spearmanr(ours, theirs).statistic), len(ours))


def same_order(ours: Int, theirs: Int) -> Estimate:
    """Mean rank correlation (Spearman) of `theirs` (n, K) with their places in `ours`; those that lack come last."""
    values = []
    for mine, other in zip(ours, theirs, strict=True):
        other = other[other >= 0]
        if len(other) < 2:
            continue
        order = np.argsort(mine, kind="stable")
        at = np.minimum(np.searchsorted(mine, other, sorter=order), len(mine) - 1)
        place = np.where(mine[order[at]] == other, order[at], len(mine)).astype(np.float64)
        rank = _ranks(place)
        spread = rank.std() * np.arange(len(other)).std()
        if spread > 0:
            values.append(
                float(((rank - rank.mean()) * (np.arange(len(other)) - (len(other) - 1) / 2)).mean() / spread)
            )
        else:
            values.append(0.0)
    return metrics.mean(np.array(values))


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = ((ends - counts) + (counts - 1) / 2)[inverse]
    return ranks


# ------------------------------------------------------------------------------------------------ parts


def parts(
    data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str] = ()
) -> Iterator[tuple[str, Mask | None, Mask | None, Mask | None]]:
    """Name, cases, rows and true items of each part; `attributes`: columns of the users that make parts too."""
    yield from _by_past(data, eval_requests)
    yield from _by_item(data, eval_requests)
    yield from _by_value(data, eval_requests, attributes)


def _by_past(
    data: LearningData, eval_requests: EvaluationRequests
) -> Iterator[tuple[str, Mask | None, Mask | None, Mask | None]]:
    """Users of little, middling and much past: thirds of those who are asked, and those without any."""
    events = np.diff(data.train_log.offsets)
    sessions, rows = data.evaluation.sessions, data.evaluation.impressions
    of_cases = None if sessions is None else events[sessions.requests.user[eval_requests.rows]]
    of_rows = None if rows is None else events[rows.requests.user]
    seen = of_rows if of_cases is None else of_cases
    assert seen is not None
    if of_rows is not None and (of_rows == 0).sum() >= LEAST:
        yield "users without a past", None, of_rows == 0, None
    seen = seen[seen > 0]
    if not len(seen):
        return
    low, high = np.quantile(seen, [1 / 3, 2 / 3]).astype(np.int64).tolist()
    for name, first, last in (
        (f"users with up to {low} events", 1, low),
        (f"users with {low + 1} to {high} events", low + 1, high),
        (f"users with more than {high} events", high + 1, np.iinfo(np.int64).max),
    ):
        if first <= last:
            masks = [None if e is None else (e >= first) & (e <= last) for e in (of_cases, of_rows)]
            yield name, masks[0], masks[1], None


def _by_item(
    data: LearningData, eval_requests: EvaluationRequests
) -> Iterator[tuple[str, Mask | None, Mask | None, Mask | None]]:
    """The most frequent items that make up half of the log, and the others."""
    head = head_of(np.bincount(data.train_log.item, minlength=data.n_items)[: data.n_items])
    rows = data.evaluation.impressions
    everyone = np.ones(len(eval_requests.rows), bool)
    for name, among in ((f"the {int(head.sum())} most frequent items", head), ("all other items", ~head)):
        yield name, everyone, None if rows is None else among[rows.item], among


def _by_value(
    data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]
) -> Iterator[tuple[str, Mask | None, Mask | None, Mask | None]]:
    """The most frequent values of each column that a request brings, and of some of the users'."""
    sessions, rows = data.evaluation.sessions, data.evaluation.impressions
    for c, column in enumerate(data.encoder.categorical):
        if column.source == "user" and column.name not in attributes:
            continue
        of_cases = None if sessions is None else sessions.requests.categorical[eval_requests.rows, c]
        of_rows = None if rows is None else rows.requests.categorical[:, c]
        seen = of_cases if of_rows is None else of_rows
        assert seen is not None
        counts = np.bincount(seen, minlength=len(column.values) + 1)
        for index in np.argsort(-counts, kind="stable")[:VALUES].tolist():
            value = column.values[index - 1] if index else "unknown"
            masks = [None if values is None else values == index for values in (of_cases, of_rows)]
            yield f"{column.name} = {value}", masks[0], masks[1], None


# ------------------------------------------------------------------------------------------------ gates


def failures(found: Parts, min_ndcg_retained: float, max_auc_drop: float) -> Sequence[str]:
    """What of the "all" part falls below the gates by more than chance: one line each.

    A figure fails where its one-sided 95 % interval lies below the gate, so that few cases alone do not fail.
    """
    gates = {KEPT: (min_ndcg_retained, "of its teacher's quality is kept")}
    gates |= {name: (-max_auc_drop, f"is its {name} less its teacher's") for name in GAPS.values()}
    return _below(found[ALL], gates)


def differing(found: Mapping[str, Mapping[str, Estimate]], min_overlap: float, max_auc_drop: float) -> Sequence[str]:
    """The same for a graph beside the weights that it was made of, by task and figure."""
    lists = {OVERLAP: (min_overlap, "of the ten best are those of the same weights in float32")}
    rows = {name: (-max_auc_drop, f"is its {name} less that of the same weights in float32") for name in GAPS.values()}
    return [line for task, of in found.items() for line in _below({task: of}, lists if OVERLAP in of else rows)]


def _below(found: Mapping[str, Mapping[str, Estimate]], gates: Mapping[str, tuple[float, str]]) -> list[str]:
    lines = []
    for task, figures in found.items():
        for name, (gate, what) in gates.items():
            estimate = figures.get(name)
            if estimate is None or not np.isfinite(estimate.value):
                continue
            error = estimate.se if np.isfinite(estimate.se) else 0.0
            if estimate.value + 1.645 * error < gate:
                lines.append(f"{task}: {estimate.value:.4f} ±{error:.4f} {what}, the gate is {gate:g}")
    return lines
