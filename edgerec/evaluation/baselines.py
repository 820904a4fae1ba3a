"""Metrics of the closed-form baselines that every model must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgerec import metrics
from edgerec.ensemble.scoring import RELATED_K
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_sessions
from edgerec.examples.load import LearningData
from edgerec.metrics import MAX_DENSE_ITEMS, MAX_RANK, Baseline, MetricTable
from edgerec.tasks import scored_tasks

__all__ = ["evaluate_baselines"]


def evaluate_baselines(data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]) -> MetricTable:
    """Metrics by baseline and task.

    Returns:
        Of retrieval tasks "recent_popularity", "own_frequency" and, if the catalog is small enough, "ease"; of related
        items "co_occurrence"; of binary tasks "item_rate" and "own_rate".
    """
    table: MetricTable = {}
    retrieval = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    if retrieval:
        histories = [data.train_log.item[events] for events in eval_requests.events]
        for name, model in _ranking_baselines(data):
            for task in retrieval:
                exclude = eval_requests.pasts if task.repeats == "exclude" else None
                top = metrics.top_items(model, histories, MAX_RANK, exclude)
                table.setdefault(name, {})[task.name] = evaluate_lists(top, task, data, eval_requests, k)
    related = [t.name for t in data.tasks if t.kind == "related"]
    if related and data.n_items <= MAX_DENSE_ITEMS:
        top = metrics.related_by_sessions(data.train_log.session, data.train_log.item, data.n_items, RELATED_K)
        table["co_occurrence"] = {related[0]: metrics.related_metrics(evaluation_sessions(data), top)}
    return table | _rate_baselines(data)


def _ranking_baselines(data: LearningData) -> Iterator[tuple[str, Baseline]]:
    log, n = data.train_log, data.n_items
    popularity = metrics.RecentPopularity(log.item, log.time_ms, n)
    yield "recent_popularity", popularity
    yield "own_frequency", metrics.OwnFrequency(popularity.popularity)
    if n <= MAX_DENSE_ITEMS:
        yield "ease", metrics.Ease(log.user, log.item, n)


def _rate_baselines(data: LearningData) -> MetricTable:
    """Past rate of the item and of the user as scores of each binary task."""
    impressions = data.evaluation.impressions
    binary = [t for t in scored_tasks(data.tasks) if t.kind == "binary"]
    if impressions is None or not binary:
        return {}
    statistics, numbers = list(data.statistics.names), data.encoder.numeric_names
    table: MetricTable = {"item_rate": {}, "own_rate": {}}
    for task in binary:
        label, user = impressions.labels[task.name], impressions.requests.user
        of_item = data.statistics.values[-1][impressions.item, statistics.index(f"rate.{task.name}.item")]
        of_requests = impressions.requests.numeric(np.arange(len(impressions.item)))
        own = of_requests[:, numbers.index(f"rate.{task.name}")]
        table["item_rate"][task.name] = metrics.auc_metrics(label, of_item, user)
        table["own_rate"][task.name] = metrics.auc_metrics(label, own, user)
    return table
