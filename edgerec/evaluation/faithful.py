"""Are the bundle's reasons faithful? The item that a reason names is removed from the past, and the item scored again.

Source: the deletion test of Samek et al., IEEE TNNLS 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgerec import metrics
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.metrics import TaskMetrics
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender, Events
from edgerec.tasks.buffers import Ints

__all__ = ["deletion_test", "evaluate_reasons"]

MAX_REQUESTS = 300


def evaluate_reasons(bundle: Path, data: LearningData, eval_requests: EvaluationRequests, seed: int) -> TaskMetrics:
    """The deletion test of a bundle on the evaluation requests."""
    with ArrayRecommender.of(bundle) as recommender:
        model = RuntimeModel(recommender, data, eval_requests, Silent())
        return deletion_test(recommender, model.requests(), seed)


def deletion_test(recommender: ArrayRecommender, requests: Iterable[Mapping[str, Any]], seed: int) -> TaskMetrics:
    """For the best item of each request whose past has two items or more.

    Args:
        requests: arguments of `ArrayRecommender.rank`, with "history" by index.
    Returns:
        In how many requests the utility falls more without the strongest reason than without another past item, drawn
        at random; and the share of the utility that is lost in both cases. Nothing without such requests.
    """
    random = np.random.default_rng(seed)
    lost = []
    for request in islice((r for r in requests if len(np.unique(r["history"].item)) > 1), MAX_REQUESTS):
        best = recommender.rank(1, **request)
        if not len(best.item) or len(best.history) < 2 or best.utility[0] <= 0:
            continue
        top = int(np.argmax(best.reason[0]))
        other = int(random.choice(np.delete(np.arange(len(best.history)), top)))
        without = [_without(recommender, best.item, best.history[at], request) for at in (top, other)]
        lost.append([1 - utility / best.utility[0] for utility in without])
    if not lost:
        return {}
    by_top, by_other = np.array(lost).T
    return {
        "top reason matters more": metrics.mean((by_top > by_other) + 0.5 * (by_top == by_other)),
        "lost without the top reason": metrics.mean(by_top),
        "lost without another past item": metrics.mean(by_other),
    }


def _without(recommender: ArrayRecommender, item: Ints, removed: int, request: Mapping[str, Any]) -> float:
    past = request["history"]
    rest = past.item != removed
    history = Events(past.item[rest], past.kind[rest], past.time_ms[rest])
    return recommender.rate(item, **{**request, "history": history}).utility[0]
