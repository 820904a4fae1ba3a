"""Some users as examples: their past, what they did next, and the list of each stage with the bundle's reasons.

They are for the readers of a run's report. They never go into a bundle, since they are histories of people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from edgerec.evaluation.answers import Answers
from edgerec.evaluation.runtime_model import RequestArguments, RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests, true_items
from edgerec.examples.load import LearningData
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Int

__all__ = ["Entry", "Example", "example_users"]

USERS, LIST_LENGTH, PAST_LENGTH = 3, 6, 8


class Entry(TypedDict):
    """An item of a list; `hit`: the user then consumed it."""

    title: str
    hit: bool


class Example(TypedDict):
    """A user of examples.json. `lists` is by stage; `reasons` are those of the bundle's list; items are titles."""

    task: str
    events: int
    lists: dict[str, list[Entry]]
    reasons: list[list[str]]
    past: list[str]
    next: list[str]


def example_users(
    bundle: Path, answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> list[Example]:
    """Users with a short, medium and long past, for the first retrieval task; nothing without such a task."""
    task = next((t for t in scored_tasks(data.tasks) if t.kind == "retrieval"), None)
    if task is None or not len(eval_requests.rows):
        return []
    truths, has_truth = true_items(task, data, eval_requests)
    true_of = dict(zip(np.flatnonzero(has_truth).tolist(), truths, strict=True))
    if not true_of:
        return []
    by_length = sorted(true_of, key=lambda i: len(eval_requests.pasts[i]))
    chosen = {by_length[int(at)] for at in (len(by_length) - 1) * np.linspace(0.1, 0.9, USERS)}
    titles = data.dataset.items()["title"].to_list()
    with ArrayRecommender.of(bundle) as recommender:
        model = RuntimeModel(recommender, data, eval_requests, Silent())
        requests = dict(zip(chosen, model.session_requests(chosen), strict=True))
        examples: list[Example] = []
        for i in (i for i in by_length if i in chosen):
            events = data.train_log.item[eval_requests.events[i]]
            examples.append(
                {
                    "task": task.name,
                    "events": len(events),
                    "lists": {
                        stage: _entries(of.lists[task.name][i], true_of[i], titles) for stage, of in answers.items()
                    },
                    "reasons": _reasons(recommender, task.name, requests[i]),
                    "past": [titles[j] for j in events[-PAST_LENGTH:][::-1]],
                    "next": [titles[j] for j in true_of[i][:PAST_LENGTH]],
                }
            )
    return examples


def _entries(items: Int, true: Int, titles: Sequence[str]) -> list[Entry]:
    return [{"title": titles[j], "hit": bool(j in true)} for j in items[:LIST_LENGTH] if j >= 0]


def _reasons(recommender: ArrayRecommender, task: str, request: RequestArguments) -> list[list[str]]:
    ranked = recommender.rank(LIST_LENGTH, weights={task: 1.0}, **request)
    rows = recommender.recommendations(ranked, explain=True)
    return [[reason.title or "popular now" for reason in row.reasons] for row in rows]
