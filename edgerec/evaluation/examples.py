"""Some users with their past, what they did next, and the list of each stage with the bundle's reasons.

They are for whoever reads the report of a run; they never go into a bundle, as they are people's histories.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerec.evaluation.fidelity import Answers
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests, true_items
from edgerec.examples.load import LearningData
from edgerec.tasks import scored_tasks

__all__ = ["examples"]

USERS, SHOWN, PAST = 3, 6, 8


def examples(
    answers: Mapping[str, Answers], model: RuntimeModel, data: LearningData, eval_requests: EvaluationRequests
) -> list[dict[str, Any]]:
    """For the first retrieval task: users of little, middling and much past; nothing without such a task."""
    task = next((t for t in scored_tasks(data.tasks) if t.kind == "retrieval"), None)
    if task is None or not len(eval_requests.rows):
        return []
    truths, some = true_items(task, data, eval_requests)
    at = np.flatnonzero(some)
    if not len(at):
        return []
    titles = data.dataset.items()["title"].to_list()
    longest = at[np.argsort([len(eval_requests.pasts[i]) for i in at], kind="stable")]
    chosen = {int(i) for i in longest[((len(longest) - 1) * np.linspace(0.1, 0.9, USERS)).astype(np.int64)]}
    requests = {i: asked for i, asked in enumerate(model.asked()) if i in chosen}
    found = []
    for i in sorted(chosen, key=lambda c: len(eval_requests.pasts[c])):
        true = truths[int(np.flatnonzero(at == i)[0])]
        events = data.train_log.item[eval_requests.events[i]]
        lists = {
            stage: [{"title": titles[j], "hit": bool(j in true)} for j in of.lists[task.name][i][:SHOWN] if j >= 0]
            for stage, of in answers.items()
        }
        ranked = model.recommender.rank(SHOWN, weights={task.name: 1.0}, **requests[i])
        rows = model.recommender.recommendations(ranked, explain=True)
        reasons = [[reason.title or "popular now" for reason in row.reasons] for row in rows]
        found.append(
            {
                "task": task.name,
                "events": len(events),
                "lists": lists,
                "reasons": reasons,
                "past": [titles[j] for j in events[-PAST:][::-1]],
                "next": [titles[j] for j in true[:PAST]],
            }
        )
    return found
