"""What the bundle loses when it is not told a part of a request: its past, its context, who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgerec import metrics
from edgerec.evaluation.report import Metrics, main_figure
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_labels
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate
from edgerec.progress import Progress, Silent
from edgerec.runtime import ArrayRecommender, Events
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

__all__ = ["inputs"]

Request: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Request], Request]


def inputs(
    bundle: Path,
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
    whole: Metrics,
    progress: Progress,
) -> Metrics:
    """By what is withheld and by task, the difference of the main figure to `whole`, which is of the same cases."""
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    with ArrayRecommender.of(bundle) as recommender:
        for name, change in _changes(data):
            progress.say(f"evaluate: int8, {name}")
            told = _figures(_Told(recommender, data, eval_requests, change), data, eval_requests, k)
            found[name] = {
                task: {main: of[main].minus(whole["int8"][task][main])}
                for task, of in told.items()
                if (main := main_figure(of)) is not None
            }
    return found


class _Told(RuntimeModel):
    """The bundle, told what a change leaves of each request."""

    def __init__(
        self, recommender: ArrayRecommender, data: LearningData, eval_requests: EvaluationRequests, change: Change
    ) -> None:
        super().__init__(recommender, data, eval_requests, Silent())
        self.change, self.new_alone = change, False

    def lists(self, task: Task) -> Int:
        self.new_alone = task.repeats == "exclude"  # of a task of new items the past stays left out, told or not
        try:
            return super().lists(task)
        finally:
            self.new_alone = False

    def request(self, events: slice, held_row: int) -> Request:
        whole = super().request(events, held_row)
        if not self.new_alone:
            return self.change(whole)
        return self.change(whole) | {"exclude": [self.ids[i] for i in whole["history"].item]}


def _changes(data: LearningData) -> Iterator[tuple[str, Change]]:
    """Those that leave something out which there is."""
    sources = {c.source for c in data.encoder.categorical} | {n.source for n in data.encoder.numeric}
    yield "without a past", lambda asked: asked | {"history": _first(asked["history"], 0)}
    yield "with the last event alone", lambda asked: asked | {"history": _last(asked["history"])}
    if data.train_log.kind.any():
        yield "without kinds of events", lambda asked: asked | {"history": _plain(asked["history"])}
    if "context" in sources:
        yield "without context", lambda asked: asked | {"context": {}}
    if "user" in sources:
        yield "without user attributes", lambda asked: asked | {"user": {}}


def _first(past: Events, n: int) -> Events:
    return Events(past.item[:n], past.kind[:n], past.time_ms[:n])


def _last(past: Events) -> Events:
    if not len(past.time_ms):
        return past
    latest = slice(int(np.argmax(past.time_ms)), int(np.argmax(past.time_ms)) + 1)
    return Events(past.item[latest], past.kind[latest], past.time_ms[latest])


def _plain(past: Events) -> Events:
    return Events(past.item, np.zeros_like(past.kind), past.time_ms)


def _figures(
    model: RuntimeModel, data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]
) -> dict[str, dict[str, Estimate]]:
    """By task; related items know no request."""
    found: dict[str, dict[str, Estimate]] = {}
    rows = data.evaluation.impressions
    scores = model.rows() if rows is not None and len(rows.item) else None
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval":
            found[task.name] = evaluate_lists(model.lists(task), task, data, eval_requests, k)
        elif rows is not None and scores is not None:
            judge = metrics.binary_metrics if task.kind == "binary" else metrics.regression_metrics
            found[task.name] = judge(evaluation_labels(data, task), scores[:, i], rows.requests.user)
    return found
