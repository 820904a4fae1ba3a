"""What a model answers on the evaluation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgerec import metrics
from edgerec.examples.evaluation_requests import (
    EvaluatedModel,
    EvaluationRequests,
    Mask,
    Scores,
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
)
from edgerec.examples.load import LearningData
from edgerec.metrics import ModelMetrics
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Int

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """All answers of one model.

    Attributes:
        lists: by retrieval task, one list per request, (requests, K).
        rows: probabilities and expectations of the impressions, (R, T); None where there are no impressions.
        related: related items of each item, (N, K); None without such a task.
    """

    lists: dict[str, Int]
    rows: Scores | None
    related: Int | None

    @classmethod
    def of(cls, model: EvaluatedModel, data: LearningData, related: bool = True) -> Answers:
        """Ask a model all that the tasks allow; without `related`, all but related items, which have no request."""
        lists = {t.name: model.lists(t) for t in scored_tasks(data.tasks) if t.kind == "retrieval"}
        impressions = data.evaluation.impressions
        rows = model.rows() if impressions is not None and len(impressions.item) else None
        asked = related and any(t.kind == "related" for t in data.tasks)
        return cls(lists, rows, model.related() if asked else None)

    def of_sample(self, requests: Mask, rows: Int) -> Answers:
        """The answers to some requests, (requests,), and of some impressions."""
        lists = {task: of_task[requests] for task, of_task in self.lists.items()}
        return Answers(lists, None if self.rows is None else self.rows[rows], self.related)

    def metrics(self, data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]) -> ModelMetrics:
        """Metrics of every task that was answered; `k` are the lengths of lists."""
        by_task: ModelMetrics = {}
        impressions = data.evaluation.impressions
        for i, task in enumerate(scored_tasks(data.tasks)):
            if task.kind == "retrieval":
                by_task[task.name] = evaluate_lists(self.lists[task.name], task, data, eval_requests, k)
            elif impressions is not None and self.rows is not None:
                compute = metrics.binary_metrics if task.kind == "binary" else metrics.regression_metrics
                label, user = evaluation_labels(data, task), impressions.requests.user
                by_task[task.name] = compute(label, self.rows[:, i], user)
        if self.related is not None:
            name = next(t.name for t in data.tasks if t.kind == "related")
            by_task[name] = metrics.related_metrics(evaluation_sessions(data), self.related)
        return by_task
