"""Are cold-start items, of which only text and attributes are known, recommended to the right users?

Cold-start items are ranked among themselves, for each user who consumed one of them in the evaluation split. All of
them have the same popularity, none, so popularity ranks them like chance, which is computed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.scoring import AnyScorer
from edgerec.examples.evaluation_requests import Scores
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.metrics import MetricTable, ModelMetrics, TaskMetrics, mean
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

__all__ = [
    "COLD_START_SUFFIX",
    "ColdStartRequests",
    "Score",
    "attribute_popularity",
    "cold_start_metrics",
    "cold_start_references",
    "cold_start_report",
    "cold_start_requests",
    "evaluate_cold_start",
    "text_similarity",
]

Score: TypeAlias = Callable[[Int], Scores]
"""From positions in the evaluation sessions, (B,), to scores of the catalog, (B, n_items)."""

COLD_START_SUFFIX = "_cold_start"
"""Ends the name of a retrieval task that is evaluated on cold-start items only."""
BATCH = 256
TOP = 10
QUANTILES = 10
"""Items are grouped by the tenths of a numeric attribute."""


@dataclass(frozen=True)
class ColdStartRequests:
    """Users with a past who consumed a cold-start item in the evaluation split, at their first session there.

    Attributes:
        rows: positions in the evaluation sessions, (n,).
        items: the cold-start items, (M,).
        truth: bool (n, M), which of them each user consumed, at least one.
    """

    rows: Int
    items: Int
    truth: npt.NDArray[np.bool_]


def cold_start_requests(data: LearningData, task: Task) -> ColdStartRequests:
    """All requests of a retrieval task; none without an items file, which gives the attributes of items not yet seen.

    A cold-start item is in the catalog and in the evaluation split, but not in the training split.
    """
    sessions, evaluation = data.evaluation.sessions, data.evaluation_log
    assert sessions is not None, "a retrieval task has sessions"
    consumed = evaluation.labels[task.name] > 0 if task.label is not None else np.ones(len(evaluation), bool)
    at = np.flatnonzero(consumed & (evaluation.item >= data.evaluation.n_seen) & (evaluation.item < data.n_items))
    items, place = np.unique(evaluation.item[at], return_inverse=True)
    users = sessions.requests.user
    truth = np.zeros((len(data.train_log.offsets) - 1, len(items)), bool)
    truth[evaluation.user[at], place] = True
    known = np.diff(data.train_log.offsets)[users] > 0
    rows = np.flatnonzero(known & truth[users].any(axis=1))
    return ColdStartRequests(rows, items.astype(np.int64), truth[users[rows]])


def evaluate_cold_start(score: Score, eval_requests: ColdStartRequests) -> TaskMetrics:
    """How the cold-start items are ranked for each user; means and errors over users, given these cold-start items.

    Equal scores are in random order: what is reported is the exact expectation over it.
    Returns:
        "ndcg@10", with binary gain. "mrr": reciprocal rank of the first true item. "hit@10": is a true item among the
        first ten? "auc": share of the pairs of a true and another cold-start item that are in order, over users who did
        not consume all of them.
    """
    batches = [eval_requests.rows[start : start + BATCH] for start in range(0, len(eval_requests.rows), BATCH)]
    scores = np.concatenate([score(rows)[:, eval_requests.items] for rows in batches]) if batches else np.zeros((0, 0))
    each = [_of_user(row, truth) for row, truth in zip(scores, eval_requests.truth, strict=True)]
    ndcg, mrr, hit, auc = np.array(each, np.float64).reshape(-1, 4).T
    return {
        f"ndcg@{TOP}": mean(ndcg),
        "mrr": mean(mrr),
        f"hit@{TOP}": mean(hit),
        "auc": mean(auc[np.isfinite(auc)]),
    }


def _of_user(score: Scores, truth: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """NDCG, MRR, hit rate and AUC of one user."""
    true, other = score[truth], score[~truth]
    best = true.max()
    above, tied, tied_true = int((other > best).sum()), int((score == best).sum()), int((true == best).sum())
    first = _first_of(tied, tied_true)
    ranks = above + 1 + np.arange(len(first))
    won = (true[:, None] > other).mean() + (true[:, None] == other).mean() / 2 if len(other) else math.nan
    return _ndcg(score, truth), float(first @ (1 / ranks)), float(first[ranks <= TOP].sum()), float(won)


def _ndcg(score: Scores, truth: npt.NDArray[np.bool_]) -> float:
    """Expected NDCG of one user: each position has the share of true items among the items with its score.

    >>> round(_ndcg(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])), 4)  # first or second
    0.8155
    """
    _, group = np.unique(-score, return_inverse=True)
    share = np.bincount(group, truth) / np.bincount(group)
    gain = 1 / np.log2(np.arange(min(TOP, len(score))) + 2)
    return float(share[np.sort(group)[:TOP]] @ gain / gain[: int(truth.sum())].sum())


def _first_of(n: int, true: int) -> npt.NDArray[np.float64]:
    """Probabilities that the first of `true` items is at position 1, 2, ... of `n` in random order.

    >>> _first_of(3, 1).round(3).tolist(), _first_of(3, 2).round(3).tolist()
    ([0.333, 0.333, 0.333], [0.667, 0.333])
    """
    ways = [math.comb(n - position, true - 1) for position in range(1, n - true + 2)]
    total = math.comb(n, true)
    return np.array([way / total for way in ways])


def cold_start_metrics(scorer: AnyScorer, data: LearningData) -> ModelMetrics:
    """Metrics of a model on the cold-start items, by retrieval task; empty where there are none."""
    by_task: ModelMetrics = {}
    sessions = data.evaluation.sessions
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval" or sessions is None:
            continue
        eval_requests = cold_start_requests(data, task)
        if len(eval_requests.rows):
            score = partial(_task_scores, scorer, sessions.requests, i)
            by_task[task.name + COLD_START_SUFFIX] = evaluate_cold_start(score, eval_requests)
    return by_task


def _task_scores(scorer: AnyScorer, requests: Requests, task: int, rows: Int) -> Scores:
    return scorer.log_probs(requests, rows)[:, task]


def cold_start_references(data: LearningData) -> MetricTable:
    """Metrics of the references of `cold_start_report`, by reference and retrieval task."""
    table: MetricTable = {}
    for task in scored_tasks(data.tasks):
        if task.kind == "retrieval":
            for name, values in cold_start_report(data, task, {}).items():
                table.setdefault(name, {})[task.name + COLD_START_SUFFIX] = values
    return table


def cold_start_report(data: LearningData, task: Task, scores: Mapping[str, Score]) -> dict[str, TaskMetrics]:
    """Metrics of `scores` by name, and of "chance" (and popularity), "attribute_popularity" and "text_similarity".

    All of them are of the same users, so that `Estimate.minus` gives paired differences. Empty without requests.
    """
    eval_requests = cold_start_requests(data, task)
    if not len(eval_requests.rows):
        return {}
    popular = attribute_popularity(data)
    references: dict[str, Score] = {
        "chance": lambda rows: np.zeros((len(rows), data.n_items)),
        "attribute_popularity": lambda rows: np.tile(popular, (len(rows), 1)),
    }
    if data.features.text.shape[1]:
        references["text_similarity"] = text_similarity(data)
    return {name: evaluate_cold_start(score, eval_requests) for name, score in {**scores, **references}.items()}


def attribute_popularity(data: LearningData) -> npt.NDArray[np.float64]:
    """Mean training popularity of the items with the same attribute, averaged over the attributes, (n_items,).

    Items have the same attribute if they share a category, or a tenth of a number; zero where there are no attributes.
    """
    n_seen = data.evaluation.n_seen
    counts = np.bincount(data.train_log.item, minlength=data.n_items)[:n_seen].astype(np.float64)
    groups: list[Int] = list(data.features.categorical.numpy().T)
    for number in data.features.numeric.numpy().T:
        edges = np.quantile(number[:n_seen], np.arange(1, QUANTILES) / QUANTILES)
        groups.append(np.searchsorted(edges, number, side="right").astype(np.int64))
    popularity = np.zeros(data.n_items)
    for group in groups:
        size = int(group.max(initial=0)) + 1
        total, items = np.bincount(group[:n_seen], counts, size), np.bincount(group[:n_seen], minlength=size)
        of_group = np.where(items > 0, total / np.maximum(items, 1), counts.mean())
        popularity += of_group[group] / len(groups)
    return popularity


def text_similarity(data: LearningData) -> Score:
    """Cosine similarity of an item's text with the mean text of the user's past items, without any learning."""
    text = data.features.text.numpy()
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)

    def score(rows: Int) -> Scores:
        sessions, log = data.evaluation.sessions, data.train_log
        assert sessions is not None
        users: Sequence[int] = sessions.requests.user[rows].tolist()
        pasts = [np.unique(log.item[log.offsets[u] : log.offsets[u + 1]]) for u in users]
        scores: Scores = np.stack([unit[past].mean(axis=0) for past in pasts]) @ unit.T
        return scores

    return score
