"""What a model answers on the evaluation split."""

from __future__ import annotations

from dataclasses import dataclass

from edgerec.examples.evaluation_requests import EvaluatedModel, Scores
from edgerec.examples.load import LearningData
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
    def of(cls, model: EvaluatedModel, data: LearningData) -> Answers:
        """Ask a model all that the tasks allow."""
        lists = {t.name: model.lists(t) for t in scored_tasks(data.tasks) if t.kind == "retrieval"}
        impressions = data.evaluation.impressions
        rows = model.rows() if impressions is not None and len(impressions.item) else None
        related = model.related() if any(t.kind == "related" for t in data.tasks) else None
        return cls(lists, rows, related)
