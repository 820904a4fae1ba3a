"""What the bundle loses without a part of its requests: the history, the context, the attributes of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from edgerec import metrics
from edgerec.evaluation.runtime_model import RequestArguments, RuntimeModel, Versions
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_labels
from edgerec.examples.load import LearningData
from edgerec.metrics import MetricTable, ModelMetrics, main_metric
from edgerec.progress import Progress, Silent
from edgerec.runtime import Events
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int

__all__ = ["evaluate_inputs"]

Change: TypeAlias = Callable[[RequestArguments], RequestArguments]


def evaluate_inputs(
    versions: Versions,
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
    whole: ModelMetrics,
    progress: Progress,
) -> MetricTable:
    """By what is withheld and by task, the main metric minus that of `whole` requests, paired.

    `whole` holds the metrics of the bundle on the same requests with nothing withheld.
    """
    table: MetricTable = {}
    for name, change in _changes(data):
        with progress.track(None, f"int8, {name}"):
            partial = _metrics(_ChangedRequests(versions, data, eval_requests, change), data, eval_requests, k)
        table[name] = {
            task: {main: values[main].minus(whole[task][main])}
            for task, values in partial.items()
            if (main := main_metric(values)) is not None
        }
    return table


class _ChangedRequests(RuntimeModel):
    """The bundle, asked with what a change leaves of each request."""

    def __init__(
        self, versions: Versions, data: LearningData, eval_requests: EvaluationRequests, change: Change
    ) -> None:
        super().__init__(versions, data, eval_requests, Silent())
        self.change, self.only_new = change, False

    def lists(self, task: Task) -> Int:
        # A task of new items excludes the past, also where the request does not name it.
        self.only_new = task.repeats == "exclude"
        try:
            return super().lists(task)
        finally:
            self.only_new = False

    def request(self, events: slice, row: int) -> RequestArguments:
        whole = super().request(events, row)
        if not self.only_new:
            return self.change(whole)
        return self.change(whole) | {"exclude": [self.ids[i] for i in whole["history"].item]}


def _changes(data: LearningData) -> Iterator[tuple[str, Change]]:
    """Changes by name; nothing is withheld that the log does not have."""
    sources = set(data.encoder.sources.values())
    yield "without a past", lambda request: request | {"history": _first(request["history"], 0)}
    yield "with the last event alone", lambda request: request | {"history": _last(request["history"])}
    if data.train_log.kind.any():
        yield "without kinds of events", lambda request: request | {"history": _plain(request["history"])}
    if "context" in sources:
        yield "without context", lambda request: request | {"context": {}}
    if "user" in sources:
        yield "without user attributes", lambda request: request | {"user": {}}


def _first(past: Events, n: int) -> Events:
    return Events(past.item[:n], past.kind[:n], past.time_ms[:n])


def _last(past: Events) -> Events:
    if not len(past.time_ms):
        return past
    latest = slice(int(np.argmax(past.time_ms)), int(np.argmax(past.time_ms)) + 1)
    return Events(past.item[latest], past.kind[latest], past.time_ms[latest])


def _plain(past: Events) -> Events:
    return Events(past.item, np.zeros_like(past.kind), past.time_ms)


def _metrics(
    model: RuntimeModel, data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]
) -> ModelMetrics:
    """Metrics of all tasks but related items, which depend on no request."""
    by_task: ModelMetrics = {}
    impressions = data.evaluation.impressions
    scores = model.rows() if impressions is not None and len(impressions.item) else None
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval":
            by_task[task.name] = evaluate_lists(model.lists(task), task, data, eval_requests, k)
        elif impressions is not None and scores is not None:
            compute = metrics.binary_metrics if task.kind == "binary" else metrics.regression_metrics
            by_task[task.name] = compute(evaluation_labels(data, task), scores[:, i], impressions.requests.user)
    return by_task
