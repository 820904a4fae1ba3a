"""The chain of evidence: teacher, student, pruned and INT8 (through the runtime) beside the baselines, on one part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgerec.bundle import MANIFEST, Bundle, dump_json, write_bundle
from edgerec.config import Config
from edgerec.evaluation import baselines, metrics
from edgerec.evaluation.metrics import MAX_RANK, Estimate
from edgerec.evaluation.report import Report
from edgerec.progress import Progress
from edgerec.runtime import Events, Recommender
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.examples import Ragged, visit_rows
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.scoring import RELATED_K, STAGES, AnyScorer, Scores, TorchModel, load_scorer


@dataclass(frozen=True)
class Cases:
    """What is asked: of each user with a past, its first visit of the part.

    Attributes:
        rows: the requests' places in the held visits; (n,).
        pasts: distinct items of each request's whole past, int64.
        events: rows of the fit log of each request's user.
    """

    rows: Int
    pasts: list[Int]
    events: list[slice]


class Judged(Protocol):
    """A model on trial."""

    def lists(self, task: Task) -> Int:
        """The best `MAX_RANK` items of each case, -1 pads: (cases, MAX_RANK)."""

    def own_items(self, task: Task) -> list[Scores]:
        """Scores of each case's past items."""

    def rows(self) -> Scores:
        """Probabilities and expectations of the held rows, (R, T)."""

    def related(self) -> Int:
        """For every item its best related ones, (N, RELATED_K), -1 pads."""


def evaluate(config: Config, run_dir: Path, progress: Progress) -> Report:
    """Judge every stage of a run on ``[evaluation] part``; writes report/ and the bundle's report.json."""
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    cases = find_cases(data)
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    lists: dict[str, dict[str, Int]] = {}
    with Recommender.open(run_dir / "bundle") as recommender:
        for name, model in _stages(config, run_dir, data, cases, recommender, progress):
            progress.say(f"evaluate: {name}")
            found[name], lists[name] = _judge(model, data, cases, config.evaluation.k)
    found |= judge_baselines(data, cases, config.evaluation.k)
    report = Report(
        name=config.name,
        part=config.evaluation.part,
        metrics=found,
        paired=_paired(found),
        fidelity=_fidelity(lists),
        sizes=_sizes(run_dir),
        notes=_notes(data, cases),
    )
    report.write(run_dir / "report")
    _seal(run_dir / "bundle", report)
    return report


def judge_stage(config: Config, run_dir: Path, stage: str, progress: Progress) -> dict[str, dict[str, Estimate]]:
    """Metrics by task of one trained stage ("teacher", "student" or "pruned") alone, on ``[evaluation] part``."""
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    return judge_scorer(load_scorer(stage, config, run_dir, data), data, config.evaluation.k)


def judge_scorer(scorer: AnyScorer, data: LearningData, k: Sequence[int]) -> dict[str, dict[str, Estimate]]:
    """Metrics by task of a model that belongs to no stage, on the held part of `data`."""
    cases = find_cases(data)
    return _judge(TorchModel(scorer, data, cases), data, cases, k)[0]


def find_cases(data: LearningData) -> Cases:
    """The users of the held part that have a past, in the order of the held visits; none without retrieval tasks."""
    visits = data.held.visits
    if visits is None:
        return Cases(np.zeros(0, np.int64), [], [])
    log = data.fit_log
    start, end = log.offsets[visits.requests.user], log.offsets[visits.requests.user + 1]
    rows = np.flatnonzero(end > start)
    events = [slice(int(start[r]), int(end[r])) for r in rows]
    return Cases(rows, [np.unique(log.item[e]) for e in events], events)


def _stages(
    config: Config, run_dir: Path, data: LearningData, cases: Cases, recommender: Recommender, progress: Progress
) -> Iterator[tuple[str, Judged]]:
    for name in STAGES:
        yield name, TorchModel(load_scorer(name, config, run_dir, data), data, cases)
    yield "int8", RuntimeModel(recommender, data, cases, progress)


class RuntimeModel:
    """The bundle, asked through the runtime as an app asks it."""

    def __init__(self, recommender: Recommender, data: LearningData, cases: Cases, progress: Progress) -> None:
        self.recommender, self.data, self.cases, self.progress = recommender, data, cases, progress

    def lists(self, task: Task) -> Int:
        tops = np.full((len(self.cases.rows), MAX_RANK), -1, np.int64)
        with self.progress.track(len(tops), f"int8, {task.name}") as done:
            for row, asked in zip(tops, self._asked(), strict=True):
                found = self.recommender.rank(MAX_RANK, weights={task.name: 1.0}, **asked).item
                row[: len(found)] = found
                done.advance()
        return tops

    def own_items(self, task: Task) -> list[Scores]:
        at = [t.name for t in self.recommender.bundle.manifest.tasks].index(task.name)
        return [
            self.recommender.rate(past, **asked).probability[:, at]
            for past, asked in zip(self.cases.pasts, self._asked(), strict=True)
        ]

    def rows(self) -> Scores:
        rows = self.data.held.rows
        assert rows is not None
        place = np.searchsorted(self.data.held_log.row, rows.row, sorter=np.argsort(self.data.held_log.row))
        place = np.argsort(self.data.held_log.row)[place]
        log, tasks = self.data.fit_log, len(scored_tasks(self.data.tasks))
        scores = np.zeros((len(rows.item), tasks))
        with self.progress.track(len(scores), "int8, shown rows") as done:
            for r, (user, at) in enumerate(zip(rows.requests.user, place, strict=True)):
                events = slice(int(log.offsets[user]), int(log.offsets[user + 1]))
                asked = self._request(events, int(at))
                scores[r] = self.recommender.rate(rows.item[r : r + 1], **asked).probability[0]
                done.advance()
        return scores

    def related(self) -> Int:
        n = self.data.n_items
        tops = np.full((n, RELATED_K), -1, np.int64)
        for item, row in enumerate(tops):
            found, _ = self.recommender.relate(item, min(RELATED_K, n - 1))
            row[: len(found)] = found
        return tops

    def _asked(self) -> Iterator[dict[str, Any]]:
        """Each case as arguments of the runtime."""
        visits, held = self.data.held.visits, self.data.held_log
        assert visits is not None
        first = _first_rows(self.data)
        for row, events in zip(self.cases.rows, self.cases.events, strict=True):
            assert held.user[first[row]] == visits.requests.user[row]
            yield self._request(events, int(first[row]))

    def _request(self, events: slice, held_row: int) -> dict[str, Any]:
        log, held, encoder = self.data.fit_log, self.data.held_log, self.data.encoder
        values: dict[str, dict[str, object]] = {"context": {}, "user": {}, "time": {}}
        for column, index in zip(encoder.categorical, held.categorical[held_row].tolist(), strict=True):
            values[column.source][column.name] = column.values[index - 1] if index else None
        for number, value in zip(encoder.numeric, held.numeric[held_row].tolist(), strict=True):
            values[number.source][number.name] = value
        return {
            "history": Events(log.item[events], log.kind[events], log.time_ms[events]),
            "now": int(held.time_ms[held_row]),
            "context": values["context"],
            "user": values["user"],
        }


def _first_rows(data: LearningData) -> Int:
    """The held row at which each held visit starts."""
    visits, held = data.held.visits, data.held_log
    assert visits is not None
    first = held.starts_of_visits()
    key = {(int(held.user[f]), int(held.time_ms[f])): int(f) for f in first[::-1]}
    pairs = zip(visits.requests.user.tolist(), visits.requests.time_ms.tolist(), strict=True)
    return np.array([key[pair] for pair in pairs], np.int64)


def _judge(
    model: Judged, data: LearningData, cases: Cases, k: Sequence[int]
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Int]]:
    """Metrics by task, and the ranked lists by retrieval task."""
    found: dict[str, dict[str, Estimate]] = {}
    lists: dict[str, Int] = {}
    rows = data.held.rows
    scores = model.rows() if rows is not None else None
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval":
            lists[task.name] = model.lists(task)
            found[task.name] = judge_lists(lists[task.name], task, data, cases, k)
            if task.repeats == "allow" and any(len(p) for p in cases.pasts):
                found[f"{task.name}_again"] = _again(model.own_items(task), task, data, cases)
        elif rows is not None and scores is not None:
            label, score, user = held_labels(data, task), scores[:, i], rows.requests.user
            judge = metrics.binary if task.kind == "binary" else metrics.regression
            found[task.name] = judge(label, score, user)
    if any(t.kind == "related" for t in data.tasks):
        name = next(t.name for t in data.tasks if t.kind == "related")
        found[name] = metrics.related(held_sessions(data), model.related())
    return found, lists


def held_labels(data: LearningData, task: Task) -> Float:
    """Labels of the held rows in their unit."""
    rows = data.held.rows
    assert rows is not None
    labels = rows.labels[task.name]
    if task.kind == "binary":
        return labels
    scale = data.scales[task.name]
    return np.expm1(labels.astype(np.float64) * scale.std + scale.mean).astype(np.float32)


def judge_lists(top: Int, task: Task, data: LearningData, cases: Cases, k: Sequence[int]) -> dict[str, Estimate]:
    """Metrics of a retrieval task from a list for every case, `top` (cases, K); a case without a truth is left out."""
    visits = data.held.visits
    assert visits is not None
    truths = [np.unique(visits.truth[task.name].row(r)) for r in cases.rows]
    if task.repeats == "exclude":
        truths = [t[~np.isin(t, p)] for t, p in zip(truths, cases.pasts, strict=True)]
    some = np.array([len(t) > 0 for t in truths], bool)
    exclude = [p for p, s in zip(cases.pasts, some, strict=True) if s] if task.repeats == "exclude" else None
    return metrics.ranking(top[some], [t for t in truths if len(t)], data.n_items, exclude, k)


def _again(own: Sequence[Scores], task: Task, data: LearningData, cases: Cases) -> dict[str, Estimate]:
    """Bought again? Every past item of every case with a truth, judged by AUC."""
    visits = data.held.visits
    assert visits is not None
    truths = [visits.truth[task.name].row(r) for r in cases.rows]
    some = [i for i, t in enumerate(truths) if len(t)]
    label = np.concatenate([np.isin(cases.pasts[i], truths[i]) for i in some]).astype(np.float64)
    score = np.concatenate([own[i] for i in some])
    user = np.repeat(np.arange(len(some)), [len(cases.pasts[i]) for i in some])
    return metrics.ordering(label, score, user)


def held_sessions(data: LearningData) -> list[Int]:
    """Known items of each session of the held part, two and more."""
    log = data.held_log
    rows = visit_rows(log, log.starts_of_visits())
    known = rows.where(log.item[rows.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    return [items.row(s) for s in np.flatnonzero(items.sizes() > 1).tolist()]


def judge_baselines(data: LearningData, cases: Cases, k: Sequence[int]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Metrics by baseline and task."""
    log, n = data.fit_log, data.n_items
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    retrieval = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    if retrieval:
        popularity = baselines.RecentPopularity(log.item, log.time_ms, n)
        models: dict[str, baselines.Baseline] = {
            "recent_popularity": popularity,
            "own_frequency": baselines.OwnFrequency(popularity.popularity),
        }
        if n <= baselines.MAX_DENSE_ITEMS:
            models["ease"] = baselines.Ease(log.user, log.item, n)
        histories = [log.item[e] for e in cases.events]
        for name, model in models.items():
            for task in retrieval:
                exclude = cases.pasts if task.repeats == "exclude" else None
                top = baselines.top_items(model, histories, MAX_RANK, exclude)
                found.setdefault(name, {})[task.name] = judge_lists(top, task, data, cases, k)
    related = [t.name for t in data.tasks if t.kind == "related"]
    if related and n <= baselines.MAX_DENSE_ITEMS:
        top = baselines.related_by_sessions(log.visit, log.item, n, RELATED_K)
        found["co_occurrence"] = {related[0]: metrics.related(held_sessions(data), top)}
    return found | _rate_baselines(data)


def _rate_baselines(data: LearningData) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Past rate of the item, and of the user, for every binary task."""
    rows = data.held.rows
    binary = [t for t in scored_tasks(data.tasks) if t.kind == "binary"]
    if rows is None or not binary:
        return {}
    names, numbers = list(data.statistics.names), data.encoder.numeric_names
    found: dict[str, dict[str, dict[str, Estimate]]] = {"item_rate": {}, "own_rate": {}}
    for task in binary:
        label, user = rows.labels[task.name], rows.requests.user
        item = data.statistics.values[-1][rows.item, names.index(f"rate.{task.name}.item")]
        own = rows.requests.numbers(np.arange(len(rows.item)))[:, numbers.index(f"rate.{task.name}")]
        found["item_rate"][task.name] = metrics.ordering(label, item, user)
        found["own_rate"][task.name] = metrics.ordering(label, own, user)
    return found


def _paired(found: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """int8 - student, student - teacher, and int8 - each baseline, on the same cases."""
    stages = ("teacher", "student", "pruned", "int8")
    pairs = [("student", "teacher"), ("int8", "student")] + [("int8", name) for name in found if name not in stages]
    return {
        f"{a} - {b}": {
            task: {m: found[a][task][m].minus(other) for m, other in values.items() if m in found[a][task]}
            for task, values in found[b].items()
        }
        for a, b in pairs
    }


def _fidelity(lists: Mapping[str, Mapping[str, Int]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Overlap of the top 10: INT8 against the same weights in fp32, and against the teacher."""
    return {
        f"int8 ~ {name}": {
            task: {"overlap@10": metrics.overlap(lists["int8"][task], lists[name][task])} for task in lists["int8"]
        }
        for name in ("pruned", "teacher")
        if lists["int8"]
    }


def _sizes(run_dir: Path) -> dict[str, int]:
    bundle = run_dir / "bundle"
    sizes = {p.name: p.stat().st_size for p in bundle.iterdir()}
    model = sum(size for name, size in sizes.items() if name.endswith(".onnx") or name == "weights.bin")
    teacher = sum(p.stat().st_size for p in (run_dir / "teacher").glob("*.safetensors"))
    return {
        "teacher, bytes": teacher,
        "bundle: graphs and weights, bytes": model,
        "bundle: catalogue, bytes": sizes["catalog.sqlite"],
    }


def _notes(data: LearningData, cases: Cases) -> list[str]:
    notes = []
    rows = data.held.rows
    if rows is not None and len(rows.item) < len(data.held_log):
        notes.append(f"{len(data.held_log) - len(rows.item)} rows of items that were never seen are not judged")
    visits = data.held.visits
    if visits is not None:
        notes.append(f"{len(visits.requests) - len(cases.rows)} users without a past are not judged by their ranking")
    return notes


def _seal(folder: Path, report: Report) -> None:
    """Put the report into the bundle; its manifest is written anew around it."""
    bundle = Bundle.open(folder)
    manifest = json.loads((folder / MANIFEST).read_bytes()) | {"metrics": report.to_json()["metrics"]["int8"]}
    files: dict[str, bytes | Path] = {name: bundle.path(name) for name in bundle.manifest.files}
    write_bundle(folder, {**files, "report.json": dump_json(report.to_json())}, manifest)
