"""All baselines of a data set: settings chosen on valid, then fitted once and evaluated on the evaluation split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from edgerec import metrics as computed
from edgerec.evaluation.baselines.interactions import Floats, Int, Interactions, Ranker
from edgerec.examples.evaluation_requests import (
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
    find_evaluation_requests,
)
from edgerec.examples.load import LearningData
from edgerec.metrics import MAX_RANK, Estimate, TaskMetrics, baselines
from edgerec.progress import Progress
from edgerec.tasks import Task
from tools.benchmarks.baselines import pointwise
from tools.benchmarks.baselines.closed_form import CLOSED_FORM, ClosedForm
from tools.benchmarks.baselines.neural import NEURAL, LightGCN, SASRec
from tools.benchmarks.shared.results import Metrics

AT_ONCE = 256
RELATED_K = 10


@dataclass(frozen=True)
class Splits:
    """The data that settings are chosen with, and the data of the evaluation split; the same where that is valid."""

    valid: LearningData
    evaluation: LearningData
    by_days: bool
    """Rates come from earlier days: the split cuts the calendar."""
    rankers: tuple[str, ...]
    """Ranking baselines that are fitted."""
    quick: bool = False
    """The first setting of each grid and one epoch: to try the tool, not to compare."""


RANKERS = (*CLOSED_FORM, *NEURAL)


def names_of(tasks: Sequence[Task], rankers: Sequence[str]) -> set[str]:
    """All baselines of such tasks."""
    kinds = {task.kind for task in tasks}
    names: set[str] = set()
    if "retrieval" in kinds:
        names |= {*rankers}
    if "related" in kinds:
        names |= {*RELATED}
    return names | {*POINTWISE, *EXPERTS} if kinds & {"binary", "regression"} else names


def evaluate_baselines(splits: Splits, done: Container[str], progress: Progress) -> Iterator[tuple[str, Metrics]]:
    """Each baseline's name and its metrics by task, as soon as they are known; without those that are done."""
    tasks = splits.evaluation.tasks
    wanted = [name for name in splits.rankers if name not in done]
    retrieval = [t for t in tasks if t.kind == "retrieval"]
    if retrieval:
        yield from _rankers(splits, retrieval, wanted, progress)
    for task in tasks:
        if task.kind == "related":
            yield from _related(splits, task, done)
    if pointwise.pointwise_tasks(splits.evaluation):
        yield from _pointwise(splits, done, progress)


# ------------------------------------------------------------------------------------------------ ranking


class Ranking:
    """A split's evaluation requests of one retrieval task."""

    def __init__(self, data: LearningData, task: Task) -> None:
        self.data, self.task = data, task
        self.requests = find_evaluation_requests(data)
        sessions = data.evaluation.sessions
        assert sessions is not None
        self.users = sessions.requests.user[self.requests.rows]
        self.unknown = np.bincount(data.train_log.item, minlength=data.n_items) == 0
        self.truth = np.zeros((len(self.users), data.n_items), bool)
        for row, at, past in zip(self.truth, self.requests.rows, self.requests.pasts, strict=True):
            row[sessions.truth[task.name].row(at)] = True
            if task.repeats == "exclude":
                row[past] = False

    def lists(self, ranker: Ranker, k: int) -> Int:
        """The best `k` items of each request; items that nobody has had are not listed."""
        exclude = self.requests.pasts if self.task.repeats == "exclude" else None
        tops = []
        for start in range(0, len(self.users), AT_ONCE):
            scores = np.array(ranker(self.users[start : start + AT_ONCE]), np.float32)
            scores[:, self.unknown] = -np.inf
            if exclude is not None:
                for row, items in zip(scores, exclude[start : start + AT_ONCE], strict=True):
                    row[items] = -np.inf
            tops.append(baselines.top_k(scores, k))
        return np.concatenate(tops)

    def evaluate(self, ranker: Ranker) -> TaskMetrics:
        """Metrics of the lists that `ranker` makes."""
        return evaluate_lists(self.lists(ranker, MAX_RANK), self.task, self.data, self.requests, (10, 20))

    def ndcg(self, ranker: Ranker) -> float:
        """NDCG@10, what settings are chosen by: the figure of `evaluate`, computed faster."""
        top, true = self.lists(ranker, 10), self.truth.sum(axis=1)
        some = true > 0
        gain = 1 / np.log2(np.arange(2, 12))
        hit = np.take_along_axis(self.truth, np.maximum(top, 0), axis=1) & (top >= 0)
        best = np.cumsum(gain)[np.minimum(true[some], 10) - 1]
        return float((hit[some] @ gain[: top.shape[1]] / best).mean())


def consumed_of(data: LearningData, task: Task) -> Interactions:
    """The training rows that `task` counts as consumption."""
    return Interactions.of(data.train_log, data.n_items, None if task.label is None else task.name)


Candidate: TypeAlias = tuple[Interactions, Ranking]
"""What a ranker of one task learns from, and what it is evaluated on."""


def _rankers(
    splits: Splits, tasks: list[Task], wanted: Sequence[str], progress: Progress
) -> Iterator[tuple[str, Metrics]]:
    valid = {t.name: (consumed_of(splits.valid, t), Ranking(splits.valid, t)) for t in tasks}
    evaluation = {t.name: (consumed_of(splits.evaluation, t), Ranking(splits.evaluation, t)) for t in tasks}
    for name, baseline in CLOSED_FORM.items():
        if name not in wanted:
            continue
        grid = {key: values[:1] for key, values in baseline.grid.items()} if splits.quick else baseline.grid
        best = _choose(replace(baseline, grid=grid), valid)
        metrics: Metrics = {}
        for task, (log, ranking) in evaluation.items():
            settings = best[task]
            metrics[task] = ranking.evaluate(baseline.score(log, baseline.prepare(log, settings), settings))
            progress.say(_line(name, task, metrics[task]["ndcg@10"], settings))
        yield name, metrics
    for name, network in NEURAL.items():
        if name not in wanted:
            continue
        network = replace(network, epochs=1, every=1) if splits.quick else network
        metrics = {}
        for group in _of_same_rows(valid):
            metrics |= _network(network, {t: valid[t] for t in group}, {t: evaluation[t] for t in group})
        for task, estimates in metrics.items():
            progress.say(_line(name, task, estimates["ndcg@10"], {}))
        yield name, metrics


def _line(name: str, task: str, estimate: Estimate, settings: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{key} {value}" for key, value in settings.items())
    return f"{name}, {task}: {estimate.value:.4f} ±{estimate.se:.4f}" + (f" ({chosen})" if chosen else "")


def _choose(baseline: ClosedForm, valid: Mapping[str, Candidate]) -> dict[str, dict[str, Any]]:
    """The settings with the highest NDCG@10 of each task; the costly part is done once for tasks that share rows."""
    best: dict[str, dict[str, Any]] = {}
    costly = {key: baseline.grid[key] for key in baseline.costly}
    cheap = {key: values for key, values in baseline.grid.items() if key not in costly}
    for group in _of_same_rows(valid):
        log = valid[group[0]][0]
        value = dict.fromkeys(group, -np.inf)
        for outer in _products(costly):
            prepared = baseline.prepare(log, outer)
            for inner in _products(cheap):
                settings = outer | inner
                ranker = baseline.score(log, prepared, settings)
                for task in group:
                    ndcg = valid[task][1].ndcg(ranker)
                    if ndcg > value[task]:
                        value[task], best[task] = ndcg, settings
    return best


def _products(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _of_same_rows(on: Mapping[str, Candidate]) -> list[list[str]]:
    """Tasks in groups that learn from the same rows."""
    groups: dict[str | None, list[str]] = {}
    for task, (_, ranking) in on.items():
        groups.setdefault(ranking.task.label, []).append(task)
    return list(groups.values())


def _network(
    network: LightGCN | SASRec, valid: Mapping[str, Candidate], evaluation: Mapping[str, Candidate]
) -> Metrics:
    """Each task's best epoch on valid, until two looks find no better; a new network is trained for as long."""
    best = dict.fromkeys(valid, (0, -np.inf))

    def look(epoch: int, ranker: Ranker) -> bool:
        for task, (_, ranking) in valid.items():
            ndcg = ranking.ndcg(ranker)
            if ndcg > best[task][1]:
                best[task] = (epoch, ndcg)
        return epoch - max(e for e, _ in best.values()) < 2 * network.every

    network.fit(next(iter(valid.values()))[0], 0, look)
    metrics: Metrics = {}

    def evaluate(epoch: int, ranker: Ranker) -> bool:
        for task, (_, ranking) in evaluation.items():
            if best[task][0] == epoch:
                metrics[task] = ranking.evaluate(ranker)
        return len(metrics) < len(evaluation)

    network.fit(next(iter(evaluation.values()))[0], 0, evaluate)
    return metrics


# ------------------------------------------------------------------------------------------------ related


def _related(splits: Splits, task: Task, done: Container[str]) -> Iterator[tuple[str, Metrics]]:
    sessions = {id(data): evaluation_sessions(data) for data in (splits.valid, splits.evaluation)}

    def evaluate(make: Related, data: LearningData) -> TaskMetrics:
        return computed.related_metrics(sessions[id(data)], make(data))

    for name, variants in RELATED.items():
        if name not in done:
            best = variants[0]
            if not splits.quick:
                best = max(variants, key=lambda make: evaluate(make, splits.valid)["capped_recall@10"].value)
            yield name, {task.name: evaluate(best, splits.evaluation)}


def cosine_lists(data: LearningData, of: str, power: float) -> Int:
    """For every item the items with most sessions (or users) in common, over the product of both numbers ** `power`."""
    log, n = data.train_log, data.n_items
    together: Floats = baselines.co_counts(log.session if of == "session" else log.user, log.item, n, "cosine")
    size: Floats = np.maximum(np.diag(together), 1).astype(np.float32) ** power
    together = together / size[:, None] / size[None, :]
    np.fill_diagonal(together, 0)
    return baselines.top_k(np.where(together > 0, together, -np.inf), RELATED_K)


Related: TypeAlias = Callable[[LearningData], Int]
RELATED: dict[str, list[Related]] = {
    "co-occurrence in a session": [
        lambda data, power=power: baselines.related_by_sessions(  # type: ignore[misc]
            data.train_log.session, data.train_log.item, data.n_items, RELATED_K, power
        )
        for power in (0.0, 0.5, 0.75, 1.0)
    ],
    "related item-kNN, cosine": [
        lambda data, of=of, power=power: cosine_lists(data, of, power)  # type: ignore[misc]
        for of in ("session", "user")
        for power in (0.25, 0.5)
    ],
}
"""For every item its list, by several settings."""


# ------------------------------------------------------------------------------------------------ pointwise


def _pointwise(splits: Splits, done: Container[str], progress: Progress) -> Iterator[tuple[str, Metrics]]:
    if all(name in done for name in (*POINTWISE, *EXPERTS)):
        return
    valid = pointwise.make_table(splits.valid, splits.by_days)
    same = splits.evaluation is splits.valid
    evaluation = valid if same else pointwise.make_table(splits.evaluation, splits.by_days)
    for name in POINTWISE:
        if name not in done:
            yield name, _one_task_at_a_time(name, splits, valid, evaluation, progress)
    for name in EXPERTS:
        if name not in done:
            yield name, _all_tasks_at_once(name, splits, valid, evaluation, progress)


def _one_task_at_a_time(
    name: str, splits: Splits, valid: pointwise.Table, evaluation: pointwise.Table, progress: Progress
) -> Metrics:
    settings, train_model = POINTWISE[name]
    metrics: Metrics = {}
    for task in pointwise.pointwise_tasks(splits.evaluation):
        chosen = settings[0]
        if not splits.quick:
            answer = train_model(valid, task)
            quality = {s: _quality(splits.valid, task, answer(s)) for s in settings}
            chosen = max(quality, key=lambda s: quality[s])
        metrics[task.name] = evaluate_rows(splits.evaluation, task, train_model(evaluation, task)(chosen))
        if name == "LightGBM" and task.kind == "regression":
            median = pointwise.boosted(evaluation, task, median=True)(pointwise.ROUNDS)
            metrics[task.name]["mae"] = evaluate_rows(splits.evaluation, task, median)["mae"]
        progress.say(f"{name}, {task.name}: {_main(task, metrics[task.name]):.4f} ({chosen})")
    return metrics


def _all_tasks_at_once(
    name: str, splits: Splits, valid: pointwise.Table, evaluation: pointwise.Table, progress: Progress
) -> Metrics:
    tasks = pointwise.pointwise_tasks(splits.evaluation)
    tried = pointwise.networks(valid, tasks, EXPERTS[name])
    fitted = tried if evaluation is valid else pointwise.networks(evaluation, tasks, EXPERTS[name])
    metrics: Metrics = {}
    for task in tasks:
        epoch = int(np.argmax([_quality(splits.valid, task, scores[task.name]) for scores in tried]))
        metrics[task.name] = evaluate_rows(splits.evaluation, task, fitted[epoch][task.name])
        progress.say(f"{name}, {task.name}: {_main(task, metrics[task.name]):.4f} ({epoch + 1} epochs)")
    return metrics


Fit: TypeAlias = Callable[[pointwise.Table, Task], Callable[[Any], pointwise.Array]]
POINTWISE: dict[str, tuple[tuple[float, ...], Fit]] = {
    "logistic, linear": (pointwise.STRENGTHS, pointwise.logistic),
    "LightGBM": (tuple(range(50, pointwise.ROUNDS + 1, 50)), pointwise.boosted),
}
"""One task at a time: settings that valid chooses from, and what answers for each of them."""
EXPERTS = {"shared-bottom": 1, "MMoE": 4}
"""All tasks at once, by number of experts."""


def evaluate_rows(data: LearningData, task: Task, score: pointwise.Array) -> TaskMetrics:
    """Metrics of probabilities, or of log(1 + target), of the impressions of the evaluation split."""
    rows = data.evaluation.impressions
    assert rows is not None
    label = evaluation_labels(data, task)
    if task.kind == "binary":
        return computed.binary_metrics(label, np.clip(score, 0, 1), rows.requests.user)
    return computed.regression_metrics(label, np.expm1(np.clip(score, -20, 40)), rows.requests.user)


def _quality(data: LearningData, task: Task, score: pointwise.Array) -> float:
    """What settings are chosen by: AUC, or XAUC."""
    label = evaluation_labels(data, task)
    return computed.auc(label, score) if task.kind == "binary" else computed.xauc(label, score)


def _main(task: Task, metrics: TaskMetrics) -> float:
    return metrics["auc" if task.kind == "binary" else "xauc"].value
