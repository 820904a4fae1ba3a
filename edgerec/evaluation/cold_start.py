"""New cold-start items: items that no fit row holds, known by text and attributes alone. Do they reach the right users?

Only the cold-start items are ranked, against each other, for each user who consumed one of them in the evaluation split. Among them
popularity is no help, since all have none: it ranks as chance does, which is computed and not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.metrics import Estimate, mean
from edgerec.tasks import Task
from edgerec.tasks.history import Int

if TYPE_CHECKING:
    from edgerec.examples.load import LearningData

__all__ = [
    "ColdStartRequests",
    "Score",
    "attribute_popularity",
    "cold_start_report",
    "cold_start_requests",
    "judge",
    "text_likeness",
]

Scores: TypeAlias = npt.NDArray[np.floating[Any]]
Score: TypeAlias = Callable[[Int], Scores]
"""From places in the evaluation sessions, (B,), to scores of the catalogue, (B, n_items)."""

AT_ONCE = 256
TOP = 10
GROUPS = 10
"""Equally large groups that a number cuts the seen items into."""


@dataclass(frozen=True)
class ColdStartRequests:
    """Users with a past who consumed an cold-start item in the evaluation split, asked at their first session of it.

    Attributes:
        rows: places in the evaluation sessions, (n,).
        items: the cold-start items, (M,).
        truth: bool (n, M), what each user consumed of them, at least one.
    """

    rows: Int
    items: Int
    truth: npt.NDArray[np.bool_]


def cold_start_requests(data: LearningData, task: Task) -> ColdStartRequests:
    """All cases of a retrieval task; none unless an items file tells the attributes of items before they are seen.

    An cold-start item is an item of the evaluation impressions that is in the catalogue and in no fit row.
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


def judge(score: Score, eval_requests: ColdStartRequests) -> dict[str, Estimate]:
    """How the cold-start items are ordered for each user; means and errors over users, given these cold-start items.

    Equal scores stand in random order, and what is reported is the expectation over it, exactly.
    Returns:
        "ndcg@10", with binary gain. "mrr": reciprocal rank of the first true cold-start item. "hit@10": is one among the first
        ten? "auc": share of the pairs of a true and another cold-start item that are in order, of users who did not consume all
        of them.
    """
    parts = [eval_requests.rows[start : start + AT_ONCE] for start in range(0, len(eval_requests.rows), AT_ONCE)]
    scores = np.concatenate([score(rows)[:, eval_requests.items] for rows in parts]) if parts else np.zeros((0, 0))
    each = [_one(row, truth) for row, truth in zip(scores, eval_requests.truth, strict=True)]
    ndcg, mrr, hit, auc = np.array(each, np.float64).reshape(-1, 4).T
    return {
        f"ndcg@{TOP}": mean(ndcg),
        "mrr": mean(mrr),
        f"hit@{TOP}": mean(hit),
        "auc": mean(auc[np.isfinite(auc)]),
    }


def _one(score: Scores, truth: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """NDCG, MRR, hit rate and AUC of one user."""
    true, other = score[truth], score[~truth]
    best = true.max()
    above, tied, tied_true = int((other > best).sum()), int((score == best).sum()), int((true == best).sum())
    first = _first_of(tied, tied_true)
    ranks = above + 1 + np.arange(len(first))
    won = (true[:, None] > other).mean() + (true[:, None] == other).mean() / 2 if len(other) else math.nan
    return _ndcg(score, truth), float(first @ (1 / ranks)), float(first[ranks <= TOP].sum()), float(won)


def _ndcg(score: Scores, truth: npt.NDArray[np.bool_]) -> float:
    """Expected NDCG of one user: each place has the share of true items among those of its score.

    >>> round(_ndcg(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])), 4)  # first or second
    0.8155
    """
    _, group = np.unique(-score, return_inverse=True)
    share = np.bincount(group, truth) / np.bincount(group)
    gain = 1 / np.log2(np.arange(min(TOP, len(score))) + 2)
    return float(share[np.sort(group)[:TOP]] @ gain / gain[: int(truth.sum())].sum())


def _first_of(n: int, true: int) -> npt.NDArray[np.float64]:
    """Probabilities that the first of `true` items stands at place 1, 2, ... of `n` in random order.

    >>> _first_of(3, 1).round(3).tolist(), _first_of(3, 2).round(3).tolist()
    ([0.333, 0.333, 0.333], [0.667, 0.333])
    """
    ways = [math.comb(n - place, true - 1) for place in range(1, n - true + 2)]
    total = math.comb(n, true)
    return np.array([way / total for way in ways])


def cold_start_report(data: LearningData, task: Task, scores: Mapping[str, Score]) -> dict[str, dict[str, Estimate]]:
    """Judge `scores` by name, beside "chance" (and popularity), "attribute_popularity" and "text_likeness".

    All of them on the same users, so that `Estimate.minus` gives paired differences. Empty without a case.
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
        references["text_likeness"] = text_likeness(data)
    return {name: judge(score, eval_requests) for name, score in {**scores, **references}.items()}


def attribute_popularity(data: LearningData) -> npt.NDArray[np.float64]:
    """How often the training rows hold an item of like attributes, (n_items,): the mean over the item's attributes.

    Items of the same category are alike, and of numbers those in the same tenth; zero where there are no attributes.
    """
    n_seen = data.evaluation.n_seen
    counts = np.bincount(data.train_log.item, minlength=data.n_items)[:n_seen].astype(np.float64)
    groups: list[Int] = list(data.features.categorical.numpy().T)
    for number in data.features.numeric.numpy().T:
        edges = np.quantile(number[:n_seen], np.arange(1, GROUPS) / GROUPS)
        groups.append(np.searchsorted(edges, number, side="right").astype(np.int64))
    found = np.zeros(data.n_items)
    for group in groups:
        size = int(group.max(initial=0)) + 1
        total, items = np.bincount(group[:n_seen], counts, size), np.bincount(group[:n_seen], minlength=size)
        of_group = np.where(items > 0, total / np.maximum(items, 1), counts.mean())
        found += of_group[group] / len(groups)
    return found


def text_likeness(data: LearningData) -> Score:
    """Cosine of an item's text with the mean text of the user's past items; no learning at all."""
    text = data.features.text.numpy()
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)

    def score(rows: Int) -> Scores:
        sessions, log = data.evaluation.sessions, data.train_log
        assert sessions is not None
        users: Sequence[int] = sessions.requests.user[rows].tolist()
        pasts = [np.unique(log.item[log.offsets[u] : log.offsets[u + 1]]) for u in users]
        found: Scores = np.stack([unit[past].mean(axis=0) for past in pasts]) @ unit.T
        return found

    return score
