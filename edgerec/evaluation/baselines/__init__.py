"""Strong simple baselines that every model must beat: settings chosen on valid, taken as of each request's time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgerec import metrics
from edgerec.config import EvaluationConfig
from edgerec.ensemble.boosting import Boosting
from edgerec.ensemble.scoring import RELATED_K, in_units
from edgerec.evaluation.baselines.interactions import Int, Interactions
from edgerec.evaluation.baselines.ranking import Asked, Recipe, Shelf, best_recipes, lists
from edgerec.evaluation.baselines.rates import Doubles, Earlier, Rows, best_rates
from edgerec.evaluation.baselines.related import best_related, related_lists
from edgerec.examples.evaluation_requests import (
    EvaluationRequests,
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
)
from edgerec.examples.load import EvaluationPart, LearningData
from edgerec.examples.log import Log, load_log
from edgerec.examples.requests import Ragged, session_rows
from edgerec.files import replacing
from edgerec.metrics import MAX_DENSE_ITEMS, MAX_RANK, MetricTable, TaskMetrics
from edgerec.tasks import Task, scored_tasks

__all__ = ["Baselines", "evaluate_baselines"]


@dataclass(frozen=True)
class Baselines:
    """Metrics by baseline and task, and the settings that valid chose for each, in words."""

    metrics: MetricTable = field(default_factory=dict)
    chosen: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, task: Task, values: TaskMetrics, chosen: object) -> None:
        """Add the metrics of one baseline on one task."""
        self.metrics.setdefault(name, {})[task.name] = values
        self.chosen.setdefault(name, {})[task.name] = str(chosen)

    def save(self, path: Path) -> None:
        """Write a .npz file; it is whole or not there."""
        rows, deviations = [], [np.zeros(0)]
        for name, of_tasks in self.metrics.items():
            for task, values in of_tasks.items():
                for metric, estimate in values.items():
                    own = estimate.deviations
                    rows.append([name, task, metric, estimate.value, estimate.n, None if own is None else len(own)])
                    deviations += [] if own is None else [own]
        with replacing(path) as part, part.open("wb") as file:
            said = json.dumps({"rows": rows, "chosen": self.chosen})
            np.savez(file, allow_pickle=False, said=np.array(said), deviations=np.concatenate(deviations))

    @classmethod
    def load(cls, path: Path) -> Baselines:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            said, deviations = json.loads(str(arrays["said"])), arrays["deviations"]
        found, start = cls(chosen=said["chosen"]), 0
        for name, task, metric, value, n, length in said["rows"]:
            own = None if length is None else deviations[start : start + length]
            found.metrics.setdefault(name, {}).setdefault(task, {})[metric] = metrics.Estimate(value, n, own)
            start += length or 0
        return found


class _Shelves:
    """What rankers are made of, of one log, and made once for all tasks."""

    def __init__(self, log: Log, data: LearningData) -> None:
        self.log, self.n_items, self.categories = log, data.n_items, _categories(data)
        self.all_rows = Shelf(Interactions.of(log, self.n_items), self.categories)
        self._counted: dict[str, Shelf] = {}

    def of(self, task: Task) -> dict[bool, Shelf]:
        """By whether only rows are kept that the task counts."""
        shelves = {False: self.all_rows}
        if task.label is None:
            return shelves
        if task.label not in self._counted:
            self._counted[task.label] = Shelf(Interactions.of(self.log, self.n_items, task.name), self.categories)
        counted = self._counted[task.label]
        if 0 < len(counted.rows.user) < len(self.all_rows.rows.user):
            shelves[True] = counted
        return shelves


@dataclass(frozen=True)
class _Split:
    """What baselines may learn from, and the rows after it."""

    known: Log
    later: Log
    n_seen: int


def evaluate_baselines(
    data: LearningData,
    eval_requests: EvaluationRequests,
    settings: EvaluationConfig,
    boosting: Boosting | None,
) -> Baselines:
    """Evaluate what needs no training: popularity, habit, co-occurrence, EASE, rates.

    Retrieval tasks have "recent_popularity", "category_popularity" (within what the user likes), "own_frequency" (where
    repeats are allowed), "directed_co_occurrence", and where the catalog allows "item_knn" and "ease"; related items
    "co_occurrence" and "item_knn"; other tasks the rates of `edgerec.evaluation.baselines.rates`. With a split by time,
    "popularity_now" also knows the rows of the evaluation split before each request: what newer priors could gain.
    Args:
        boosting: the ensemble's boosted trees, which are "boosting" of binary tasks and regression targets.
    """
    choosing = _valid(data, settings.part)
    found = Baselines()
    retrieval = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    if retrieval:
        on_valid = _Shelves(choosing.known, data)
        shelves = on_valid if choosing.known is data.train_log else _Shelves(data.train_log, data)
        for task in retrieval:
            chosen = _chosen(task, choosing, on_valid.of(task))
            _ranked(found, task, chosen, shelves.of(task), data, eval_requests, settings.k)
    for task in data.tasks:
        if task.kind == "related" and data.n_items <= MAX_DENSE_ITEMS:
            _related(found, task, choosing, data)
    _rated(found, choosing, data, boosting)
    return found


def _categories(data: LearningData) -> dict[str, Int]:
    """Of each item, by categorical column; 0 is unknown."""
    items, columns = data.dataset.items().head(data.n_items), data.dataset.meta.items.categorical
    return {c.name: items[f"cat.{c.name}"].to_numpy().astype(np.int64) for c in columns}


def _valid(data: LearningData, part: EvaluationPart) -> _Split:
    """The split that settings are chosen on: train, and the rows of valid."""
    dataset, n_seen = data.dataset, data.dataset.meta.catalog["train"]
    if part == "valid":
        return _Split(data.train_log, data.evaluation_log, n_seen)
    assert data.scratch is not None
    frames = (dataset.training_frame("valid"), dataset.part("valid"))
    known, later = (load_log(dataset, frame, data.encoder, data.scratch) for frame in frames)
    return _Split(known, later, n_seen)


# ------------------------------------------------------------------------------------------------ lists


def _ranked(
    found: Baselines,
    task: Task,
    chosen: Mapping[str, Recipe],
    shelves: Mapping[bool, Shelf],
    data: LearningData,
    eval_requests: EvaluationRequests,
    k: Sequence[int],
) -> None:
    """Add the metrics of the chosen recipes of a retrieval task."""
    sessions = data.evaluation.sessions
    assert sessions is not None
    of_request = (sessions.requests.user[eval_requests.rows], sessions.requests.time_ms[eval_requests.rows])
    asked = Asked.of(*of_request, eval_requests.pasts if task.repeats == "exclude" else None)

    def add(name: str, recipe: Recipe, shelf: Shelf) -> None:
        (sorted_top,) = lists(shelf, [recipe], asked, MAX_RANK)
        top = np.empty_like(sorted_top)
        top[asked.order] = sorted_top
        found.add(name, task, evaluate_lists(top, task, data, eval_requests, k), recipe)

    for name, recipe in chosen.items():
        add(name, recipe, shelves[recipe.consumed])
    if not data.by_user:
        recipe = chosen["recent_popularity"]
        later = Interactions.of(data.whole_evaluation_log(), data.n_items, task.name if recipe.consumed else None)
        add("popularity_now", recipe, Shelf(shelves[recipe.consumed].rows.then(later), {}))


def _chosen(task: Task, choosing: _Split, shelves: Mapping[bool, Shelf]) -> dict[str, Recipe]:
    """The recipe of each baseline; without a request on valid the first that there is."""
    log, later = choosing.known, choosing.later
    first = later.offsets[:-1][np.diff(later.offsets) > 0]
    user = later.user[first]
    first = first[log.offsets[user + 1] > log.offsets[user]]
    user = later.user[first]
    pasts = Ragged(log.offsets, log.item).take(user).distinct()
    truths = _truths(later, first, task, choosing.n_seen)
    if task.repeats == "exclude":
        truths = [t[~np.isin(t, past)] for t, past in zip(truths, pasts, strict=True)]
    some = np.array([i for i, t in enumerate(truths) if len(t)], np.int64)
    exclude = [pasts[i] for i in some] if task.repeats == "exclude" else None
    asked = Asked.of(user[some], later.time_ms[first[some]], exclude)
    return best_recipes(shelves, asked, [truths[i] for i in some])


def _truths(log: Log, first: Int, task: Task, n_seen: int) -> list[Int]:
    """The distinct known items that the sessions of the rows `first` consumed."""
    rows = session_rows(log, first)
    counted = log.item[rows.values] < n_seen
    if task.label is not None:
        counted &= log.labels[task.name][rows.values] > 0
    rows = rows.where(counted)
    return Ragged(rows.offsets, log.item[rows.values]).distinct()


# ------------------------------------------------------------------------------------------------ related, rows


def _related(found: Baselines, task: Task, choosing: _Split, data: LearningData) -> None:
    sessions = [s for s in _sessions(choosing.later, choosing.n_seen) if len(s) > 1]
    rows = Interactions.of(data.train_log, data.n_items)
    best = best_related(Interactions.of(choosing.known, data.n_items), sessions)
    for name, (recipe, _) in best.items():
        top = related_lists(recipe, rows, RELATED_K)
        found.add(name, task, metrics.related_metrics(evaluation_sessions(data), top), recipe)


def _sessions(log: Log, n_seen: int) -> list[Int]:
    """The distinct known items of each session."""
    rows = session_rows(log, log.session_starts())
    rows = rows.where(log.item[rows.values] < n_seen)
    return Ragged(rows.offsets, log.item[rows.values]).distinct()


def _rated(found: Baselines, choosing: _Split, data: LearningData, boosting: Boosting | None) -> None:
    impressions = data.evaluation.impressions
    tasks = [t for t in scored_tasks(data.tasks) if t.kind != "retrieval"]
    if impressions is None or not tasks or not len(impressions.item):
        return
    columns = {c.name: i for i, c in enumerate(data.encoder.categorical) if c.source != "user"}
    categories = {"item": np.arange(data.n_items), **_categories(data)}

    def rows(log: Log) -> Rows:
        return Rows.of(log, tasks, columns, categories)

    chosen = best_rates(rows(choosing.known), rows(choosing.later), tasks)
    # Impressions are the rows of known items, in the order of the log.
    earlier = Earlier(rows(data.train_log), rows(data.evaluation_log))
    for name, of_tasks in chosen.items():
        for task in tasks:
            if task.name in of_tasks:
                rates = of_tasks[task.name]
                score = rates.scores(earlier, task)
                if task.kind == "regression":
                    score = np.expm1(np.clip(score, -20, 40))
                found.add(name, task, _row_metrics(score, task, data), rates)
    if boosting is None:
        return
    scores = boosting.rows(impressions.requests, impressions.item, np.arange(len(impressions.item)))
    values = in_units(scores, scored_tasks(data.tasks), data.scales, {}).astype(np.float64)
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval":
            found.add("boosting", task, _row_metrics(values[:, i], task, data), "as in the teacher")


def _row_metrics(score: Doubles, task: Task, data: LearningData) -> TaskMetrics:
    """Metrics of probabilities, or of targets in their unit, of the evaluation impressions."""
    impressions = data.evaluation.impressions
    assert impressions is not None
    compute = metrics.binary_metrics if task.kind == "binary" else metrics.regression_metrics
    return compute(evaluation_labels(data, task), score, impressions.requests.user)
