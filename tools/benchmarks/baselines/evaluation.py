"""All baselines of a data set: their settings chosen on valid, fitted once for the judged part, judged beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from edgerec.evaluation import baselines, metrics
from edgerec.evaluation.cases import find_cases, held_labels, held_sessions, judge_lists
from edgerec.evaluation.metrics import MAX_RANK, Estimate
from edgerec.progress import Progress
from edgerec.tasks import Task
from edgerec.training.load import LearningData
from tools.benchmarks.baselines import pointwise
from tools.benchmarks.baselines.closed_form import CLOSED_FORM, Peer
from tools.benchmarks.baselines.neural import NEURAL, LightGCN, SASRec
from tools.benchmarks.shared.results import Found
from tools.benchmarks.baselines.interactions import Floats, Int, Ranker, Seen

AT_ONCE = 256
RELATED_K = 10


@dataclass(frozen=True)
class Parts:
    """The data that settings are chosen with, and the data that is judged; the same where valid is judged."""

    valid: LearningData
    judged: LearningData
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


def judge_peers(parts: Parts, done: Container[str], progress: Progress) -> Iterator[tuple[str, Found]]:
    """Each baseline's name and its metrics by task, as soon as they are known; without those that are done."""
    tasks = parts.judged.tasks
    wanted = [name for name in parts.rankers if name not in done]
    retrieval = [t for t in tasks if t.kind == "retrieval"]
    if retrieval:
        yield from _rankers(parts, retrieval, wanted, progress)
    for task in tasks:
        if task.kind == "related":
            yield from _related(parts, task, done)
    if pointwise.pointwise_tasks(parts.judged):
        yield from _pointwise(parts, done, progress)


# ------------------------------------------------------------------------------------------------ ranking


class Ranking:
    """A part's cases of one retrieval task."""

    def __init__(self, data: LearningData, task: Task) -> None:
        self.data, self.task = data, task
        self.cases = find_cases(data)
        visits = data.held.visits
        assert visits is not None
        self.users = visits.requests.user[self.cases.rows]
        self.unknown = np.bincount(data.fit_log.item, minlength=data.n_items) == 0
        self.truth = np.zeros((len(self.users), data.n_items), bool)
        for row, at, past in zip(self.truth, self.cases.rows, self.cases.pasts, strict=True):
            row[visits.truth[task.name].row(at)] = True
            if task.repeats == "exclude":
                row[past] = False

    def lists(self, ranker: Ranker, k: int) -> Int:
        """The best `k` items of each case; items that nobody has had are not listed."""
        exclude = self.cases.pasts if self.task.repeats == "exclude" else None
        tops = []
        for start in range(0, len(self.users), AT_ONCE):
            scores = np.array(ranker(self.users[start : start + AT_ONCE]), np.float32)
            scores[:, self.unknown] = -np.inf
            if exclude is not None:
                for row, items in zip(scores, exclude[start : start + AT_ONCE], strict=True):
                    row[items] = -np.inf
            tops.append(baselines.top_k(scores, k))
        return np.concatenate(tops)

    def judge(self, ranker: Ranker) -> dict[str, Estimate]:
        """Metrics of the lists that `ranker` makes."""
        return judge_lists(self.lists(ranker, MAX_RANK), self.task, self.data, self.cases, (10, 20))

    def ndcg(self, ranker: Ranker) -> float:
        """NDCG@10, what settings are chosen by: the figure of `judge`, found sooner."""
        top, true = self.lists(ranker, 10), self.truth.sum(axis=1)
        some = true > 0
        gain = 1 / np.log2(np.arange(2, 12))
        hit = np.take_along_axis(self.truth, np.maximum(top, 0), axis=1) & (top >= 0)
        best = np.cumsum(gain)[np.minimum(true[some], 10) - 1]
        return float((hit[some] @ gain[: top.shape[1]] / best).mean())


def _rankers(parts: Parts, tasks: list[Task], wanted: Sequence[str], progress: Progress) -> Iterator[tuple[str, Found]]:
    chosen_on = {t.name: (Seen.of(parts.valid, t), Ranking(parts.valid, t)) for t in tasks}
    judged_on = {t.name: (Seen.of(parts.judged, t), Ranking(parts.judged, t)) for t in tasks}
    for name, peer in CLOSED_FORM.items():
        if name not in wanted:
            continue
        grid = {key: values[:1] for key, values in peer.grid.items()} if parts.quick else peer.grid
        best = _choose(replace(peer, grid=grid), chosen_on)
        found: Found = {}
        for task, (seen, ranking) in judged_on.items():
            settings = best[task]
            found[task] = ranking.judge(peer.score(seen, peer.prepare(seen, settings), settings))
            progress.say(_line(name, task, found[task]["ndcg@10"], settings))
        yield name, found
    for name, network in NEURAL.items():
        if name not in wanted:
            continue
        network = replace(network, epochs=1, every=1) if parts.quick else network
        found = {}
        for group in _alike(chosen_on):
            found |= _network(network, {t: chosen_on[t] for t in group}, {t: judged_on[t] for t in group})
        for task, estimates in found.items():
            progress.say(_line(name, task, estimates["ndcg@10"], {}))
        yield name, found


def _line(name: str, task: str, estimate: Estimate, settings: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{key} {value}" for key, value in settings.items())
    return f"{name}, {task}: {estimate.value:.4f} ±{estimate.se:.4f}" + (f" ({chosen})" if chosen else "")


def _choose(peer: Peer, on: Mapping[str, tuple[Seen, Ranking]]) -> dict[str, dict[str, Any]]:
    """The settings with the highest NDCG@10 of each task; the costly part is done once for tasks that share rows."""
    best: dict[str, dict[str, Any]] = {}
    costly = {key: peer.grid[key] for key in peer.costly}
    cheap = {key: values for key, values in peer.grid.items() if key not in costly}
    for group in _alike(on):
        seen = on[group[0]][0]
        value = dict.fromkeys(group, -np.inf)
        for outer in _products(costly):
            prepared = peer.prepare(seen, outer)
            for inner in _products(cheap):
                settings = outer | inner
                ranker = peer.score(seen, prepared, settings)
                for task in group:
                    ndcg = on[task][1].ndcg(ranker)
                    if ndcg > value[task]:
                        value[task], best[task] = ndcg, settings
    return best


def _products(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _alike(on: Mapping[str, tuple[Seen, Ranking]]) -> list[list[str]]:
    """Tasks in groups that learn from the same rows."""
    groups: dict[str | None, list[str]] = {}
    for task, (_, ranking) in on.items():
        groups.setdefault(ranking.task.label, []).append(task)
    return list(groups.values())


def _network(
    network: LightGCN | SASRec, chosen_on: Mapping[str, tuple[Seen, Ranking]], on: Mapping[str, tuple[Seen, Ranking]]
) -> Found:
    """Each task's best epoch on valid, until two looks find no better; a new network is trained for as long."""
    best = dict.fromkeys(chosen_on, (0, -np.inf))
    seen = next(iter(chosen_on.values()))[0]

    def look(epoch: int, ranker: Ranker) -> bool:
        for task, (_, ranking) in chosen_on.items():
            ndcg = ranking.ndcg(ranker)
            if ndcg > best[task][1]:
                best[task] = (epoch, ndcg)
        return epoch - max(e for e, _ in best.values()) < 2 * network.every

    network.fit(seen, 0, look)
    found: Found = {}

    def keep(epoch: int, ranker: Ranker) -> bool:
        for task, (_, ranking) in on.items():
            if best[task][0] == epoch:
                found[task] = ranking.judge(ranker)
        return len(found) < len(on)

    network.fit(next(iter(on.values()))[0], 0, keep)
    return found


# ------------------------------------------------------------------------------------------------ related


def _related(parts: Parts, task: Task, done: Container[str]) -> Iterator[tuple[str, Found]]:
    sessions = {id(data): held_sessions(data) for data in (parts.valid, parts.judged)}

    def judge(make: Related, data: LearningData) -> dict[str, Estimate]:
        return metrics.related(sessions[id(data)], make(data))

    for name, variants in RELATED.items():
        if name not in done:
            tried = (
                {0: 0.0}
                if parts.quick
                else {i: judge(v, parts.valid)["capped_recall@10"].value for i, v in enumerate(variants)}
            )
            yield name, {task.name: judge(variants[max(tried, key=lambda i: tried[i])], parts.judged)}


def cosine_lists(data: LearningData, of: str, power: float) -> Int:
    """For every item the items with most sessions (or users) in common, over the product of both numbers ** `power`."""
    log, n = data.fit_log, data.n_items
    together: Floats = baselines.co_counts(log.visit if of == "visit" else log.user, log.item, n, "cosine")
    size: Floats = np.maximum(np.diag(together), 1).astype(np.float32) ** power
    together = together / size[:, None] / size[None, :]
    np.fill_diagonal(together, 0)
    return baselines.top_k(np.where(together > 0, together, -np.inf), RELATED_K)


Related: TypeAlias = Callable[[LearningData], Int]
RELATED: dict[str, list[Related]] = {
    "co-occurrence in a session": [
        lambda data, power=power: baselines.related_by_sessions(  # type: ignore[misc]
            data.fit_log.visit, data.fit_log.item, data.n_items, RELATED_K, power
        )
        for power in (0.0, 0.5, 0.75, 1.0)
    ],
    "related item-kNN, cosine": [
        lambda data, of=of, power=power: cosine_lists(data, of, power)  # type: ignore[misc]
        for of in ("visit", "user")
        for power in (0.25, 0.5)
    ],
}
"""For every item its list, by several settings."""


# ------------------------------------------------------------------------------------------------ pointwise


def _pointwise(parts: Parts, done: Container[str], progress: Progress) -> Iterator[tuple[str, Found]]:
    tasks = pointwise.pointwise_tasks(parts.judged)
    if all(name in done for name in (*POINTWISE, *EXPERTS)):
        return
    valid = pointwise.make_table(parts.valid, parts.by_days)
    judged = valid if parts.judged is parts.valid else pointwise.make_table(parts.judged, parts.by_days)
    for name, (settings, fit) in POINTWISE.items():
        if name not in done:
            found: Found = {}
            for task in tasks:
                chosen = settings[0]
                if not parts.quick:
                    answer = fit(valid, task)
                    quality = {s: _quality(parts.valid, task, answer(s)) for s in settings}
                    chosen = max(quality, key=lambda s: quality[s])
                found[task.name] = judge_rows(parts.judged, task, fit(judged, task)(chosen))
                if name == "LightGBM" and task.kind == "regression":
                    median = pointwise.boosted(judged, task, value=True)(pointwise.ROUNDS)
                    found[task.name]["mae"] = judge_rows(parts.judged, task, median)["mae"]
                progress.say(f"{name}, {task.name}: {_main(task, found[task.name]):.4f} ({chosen})")
            yield name, found
    for name, experts in EXPERTS.items():
        if name not in done:
            tried = pointwise.networks(valid, tasks, experts)
            again = tried if judged is valid else pointwise.networks(judged, tasks, experts)
            found = {}
            for task in tasks:
                epoch = int(np.argmax([_quality(parts.valid, task, after[task.name]) for after in tried]))
                found[task.name] = judge_rows(parts.judged, task, again[epoch][task.name])
                progress.say(f"{name}, {task.name}: {_main(task, found[task.name]):.4f} ({epoch + 1} epochs)")
            yield name, found


Fit: TypeAlias = Callable[[pointwise.Table, Task], Callable[[Any], pointwise.Array]]
POINTWISE: dict[str, tuple[tuple[float, ...], Fit]] = {
    "logistic, linear": (pointwise.STRENGTHS, pointwise.logistic),
    "LightGBM": (tuple(range(50, pointwise.ROUNDS + 1, 50)), pointwise.boosted),
}
"""One task at a time: settings that valid chooses from, and what answers for each of them."""
EXPERTS = {"shared-bottom": 1, "MMoE": 4}
"""All tasks at once, by number of experts."""


def judge_rows(data: LearningData, task: Task, score: pointwise.Array) -> dict[str, Estimate]:
    """Metrics of probabilities, or of log(1 + amount), of the held rows."""
    rows = data.held.rows
    assert rows is not None
    label = held_labels(data, task)
    if task.kind == "binary":
        return metrics.binary(label, np.clip(score, 0, 1), rows.requests.user)
    return metrics.regression(label, np.expm1(np.clip(score, -20, 40)), rows.requests.user)


def _quality(data: LearningData, task: Task, score: pointwise.Array) -> float:
    """What settings are chosen by: AUC, or XAUC."""
    label = held_labels(data, task)
    return metrics.auc(label, score) if task.kind == "binary" else metrics.xauc(label, score)


def _main(task: Task, found: Mapping[str, Estimate]) -> float:
    return found["auc" if task.kind == "binary" else "xauc"].value
