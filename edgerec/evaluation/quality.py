"""Metrics of one model on the evaluation split: of a trained model, or of a bundle through the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgerec import metrics
from edgerec.ensemble.scoring import AnyScorer, Scores, TorchModel
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import (
    EvaluatedModel,
    EvaluationRequests,
    find_evaluation_requests,
)
from edgerec.examples.load import LearningData
from edgerec.metrics import ModelMetrics, TaskMetrics
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender
from edgerec.tasks import Task

__all__ = ["evaluate_bundle", "evaluate_model", "evaluate_scorer"]


def evaluate_bundle(bundle: Path, data: LearningData, k: Sequence[int], progress: Progress) -> ModelMetrics:
    """Metrics of a bundle, asked through the runtime."""
    eval_requests = find_evaluation_requests(data)
    with ArrayRecommender.of(bundle) as recommender:
        return evaluate_model(RuntimeModel(recommender, data, eval_requests, progress), data, eval_requests, k)[0]


def evaluate_scorer(scorer: AnyScorer, data: LearningData, k: Sequence[int]) -> ModelMetrics:
    """Metrics of a model in torch."""
    eval_requests = find_evaluation_requests(data)
    return evaluate_model(TorchModel(scorer, data, eval_requests), data, eval_requests, k)[0]


def evaluate_model(
    model: EvaluatedModel, data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]
) -> tuple[ModelMetrics, Answers]:
    """Metrics of a model, and the answers that they were computed from.

    A retrieval task with repeats also has "TASK_again": the AUC of telling which past items are consumed again.
    """
    answers = Answers.of(model, data)
    by_task: ModelMetrics = {}
    tasks = {t.name: t for t in data.tasks}
    for name, of_task in answers.metrics(data, eval_requests, k).items():
        by_task[name] = of_task
        task = tasks[name]
        if task.kind == "retrieval" and task.repeats == "allow" and any(len(past) for past in eval_requests.pasts):
            by_task[f"{name}_again"] = _repeat_metrics(model.own_items(task), task, data, eval_requests)
    return by_task, answers


def _repeat_metrics(
    own: Sequence[Scores], task: Task, data: LearningData, eval_requests: EvaluationRequests
) -> TaskMetrics:
    """AUC over the past items of each request that has a true item; positives are those that are consumed again."""
    sessions = data.evaluation.sessions
    assert sessions is not None
    truths = [sessions.truth[task.name].row(r) for r in eval_requests.rows]
    used = [i for i, truth in enumerate(truths) if len(truth)]
    label = np.concatenate([np.isin(eval_requests.pasts[i], truths[i]) for i in used]).astype(np.float64)
    score = np.concatenate([own[i] for i in used])
    user = np.repeat(np.arange(len(used)), [len(eval_requests.pasts[i]) for i in used])
    return metrics.auc_metrics(label, score, user)
