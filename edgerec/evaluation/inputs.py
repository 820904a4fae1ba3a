"""What the bundle loses without a part of its requests: the history, the context, the attributes of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from edgerec.evaluation.answers import Answers
from edgerec.evaluation.runtime_model import RequestArguments, RuntimeModel, Versions
from edgerec.examples.evaluation_requests import EvaluationRequests, thinned
from edgerec.examples.load import LearningData
from edgerec.metrics import MetricTable, main_metric
from edgerec.progress import Progress, Silent
from edgerec.runtime import Events
from edgerec.tasks import Task
from edgerec.tasks.buffers import ints
from edgerec.tasks.history import Int

__all__ = ["evaluate_inputs"]

MOST_REQUESTS, MOST_ROWS = 2_000, 5_000
"""That are asked again for each change."""

Change: TypeAlias = Callable[[RequestArguments], RequestArguments]


def evaluate_inputs(
    versions: Versions,
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
    whole: Answers,
    progress: Progress,
) -> MetricTable:
    """By what is withheld and by task, the main metric minus that of `whole` requests, paired.

    `whole` holds the answers of the bundle to the same requests with nothing withheld. Of many requests and impressions
    an even sample is asked again: differences of the same requests are known well from few.
    """
    asked = eval_requests.every(MOST_REQUESTS)
    eval_requests = eval_requests.where(asked)
    data, rows = thinned(data, MOST_ROWS)
    before = whole.of_sample(asked, rows).metrics(data, eval_requests, k)
    table: MetricTable = {}
    for name, change in _changes(data):
        with progress.track(None, f"int8, {name}"):
            model = _ChangedRequests(versions, data, eval_requests, change)
            partial = Answers.of(model, data, related=False).metrics(data, eval_requests, k)
        table[name] = {
            task: {main: values[main].minus(before[task][main])}
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
    at = int(np.asarray(past.time_ms).argmax())
    latest = slice(at, at + 1)
    return Events(past.item[latest], past.kind[latest], past.time_ms[latest])


def _plain(past: Events) -> Events:
    return Events(past.item, ints([0] * len(past.kind)), past.time_ms)
