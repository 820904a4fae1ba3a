"""Segments of the evaluation split: by the length of a user's past, item frequency, context and user attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgerec.errors import ConfigError
from edgerec.examples.evaluation_requests import EvaluationRequests, Mask
from edgerec.examples.load import LearningData
from edgerec.metrics import most_frequent_items

__all__ = ["MIN_SIZE", "Segment", "check_segments", "find_segments", "whole_split"]

MIN_SIZE = 100
"""Requests or impressions that a segment needs to be reported."""
MAX_VALUES = 8
"""Only this many values of a column, the most frequent ones, are reported."""


@dataclass(frozen=True)
class Segment:
    """A part of the evaluation split.

    Attributes:
        requests: which evaluation requests belong to it, (requests,); None: it is not defined for requests.
        impressions: which impressions belong to it, (R,); None: it is not defined for impressions.
        items: which items count as true, (n_items,); None: all of them.
    """

    name: str
    requests: Mask | None
    impressions: Mask | None
    items: Mask | None = None


def check_segments(names: Sequence[str], data: LearningData) -> None:
    """Raises ConfigError for a name that is not a column of categories of the users."""
    meta = data.dataset.meta.users
    known = [column.name for column in meta.categorical] + [column.name for column in meta.multi]
    listed = ", ".join(known) or "none"
    for name in names:
        if name not in known:
            raise ConfigError(f"evaluation.segments: no categorical user column {name!r}; [data.users] has {listed}")


def whole_split(data: LearningData, eval_requests: EvaluationRequests) -> Segment:
    """All requests and impressions as one segment."""
    impressions = data.evaluation.impressions
    n_impressions = 0 if impressions is None else len(impressions.item)
    return Segment("all", np.ones(len(eval_requests.rows), bool), np.ones(n_impressions, bool))


def find_segments(
    data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str] = (), min_size: int = MIN_SIZE
) -> Iterator[Segment]:
    """All segments; `attributes` are columns of the users whose values are segments too."""
    yield from _by_past(data, eval_requests, min_size)
    yield from _by_item(data, eval_requests)
    yield from _by_value(data, eval_requests, attributes)
    yield from _by_several(data, eval_requests, attributes)


def _by_past(data: LearningData, eval_requests: EvaluationRequests, min_size: int) -> Iterator[Segment]:
    """Users with a short, medium and long past (a third of the requests each), and users without any."""
    events = np.diff(data.train_log.offsets)
    sessions, impressions = data.evaluation.sessions, data.evaluation.impressions
    of_requests = None if sessions is None else events[sessions.requests.user[eval_requests.rows]]
    of_impressions = None if impressions is None else events[impressions.requests.user]
    lengths = of_impressions if of_requests is None else of_requests
    assert lengths is not None
    if of_impressions is not None and (of_impressions == 0).sum() >= min_size:
        yield Segment("users without a past", None, of_impressions == 0)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return
    low, high = np.quantile(lengths, [1 / 3, 2 / 3]).astype(np.int64).tolist()
    for name, first, last in (
        (f"users with up to {low} events", 1, low),
        (f"users with {low + 1} to {high} events", low + 1, high),
        (f"users with more than {high} events", high + 1, np.iinfo(np.int64).max),
    ):
        if first <= last:
            masks = [None if n is None else (n >= first) & (n <= last) for n in (of_requests, of_impressions)]
            yield Segment(name, *masks)


def _by_item(data: LearningData, eval_requests: EvaluationRequests) -> Iterator[Segment]:
    """The most frequent items that make up half of the log, and the others."""
    head = most_frequent_items(np.bincount(data.train_log.item, minlength=data.n_items)[: data.n_items])
    impressions = data.evaluation.impressions
    everyone = np.ones(len(eval_requests.rows), bool)
    for name, items in ((f"the {int(head.sum())} most frequent items", head), ("all other items", ~head)):
        yield Segment(name, everyone, None if impressions is None else items[impressions.item], items)


def _by_value(data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]) -> Iterator[Segment]:
    """The most frequent values of each context column, and of the given columns of the users."""
    sessions, impressions = data.evaluation.sessions, data.evaluation.impressions
    for c, column in enumerate(data.encoder.categorical):
        if column.source == "user" and column.name not in attributes:
            continue
        of_requests = None if sessions is None else sessions.requests.categorical[eval_requests.rows, c]
        of_impressions = None if impressions is None else impressions.requests.categorical[:, c]
        indices = of_requests if of_impressions is None else of_impressions
        assert indices is not None
        counts = np.bincount(indices, minlength=len(column.values) + 1)
        for index in np.argsort(-counts, kind="stable")[:MAX_VALUES].tolist():
            value = column.values[index - 1] if index else "unknown"
            masks = [None if values is None else values == index for values in (of_requests, of_impressions)]
            yield Segment(f"{column.name} = {value}", *masks)


def _by_several(data: LearningData, eval_requests: EvaluationRequests, attributes: Sequence[str]) -> Iterator[Segment]:
    """The most frequent values of the given columns with several in a cell; who has two values is in both segments."""
    sessions, impressions = data.evaluation.sessions, data.evaluation.impressions
    users = [
        None if sessions is None else sessions.requests.user[eval_requests.rows],
        None if impressions is None else np.asarray(impressions.requests.user),
    ]
    first = 0
    for column in data.encoder.multi:
        held = data.train_log.held[:, first : first + len(column.values)]
        first += len(column.values)
        if column.name not in attributes:
            continue
        counted = users[0] if users[1] is None else users[1]
        assert counted is not None
        for index in np.argsort(-held[counted].sum(axis=0), kind="stable")[:MAX_VALUES].tolist():
            masks = [None if of is None else held[of, index] for of in users]
            yield Segment(f"{column.name} has {column.values[index]}", *masks)
