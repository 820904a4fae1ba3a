"""The chain of evidence: teacher, student, pruned and INT8 (through the runtime) beside the baselines, on one part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgerec import metrics
from edgerec.bundle import MANIFEST, Bundle, dump_json, write_bundle
from edgerec.bundle.size import bundle_size
from edgerec.config import EvaluationConfig
from edgerec.devices.machine import versions
from edgerec.ensemble.scoring import RELATED_K, STAGES, AnyScorer, Scores, TorchModel
from edgerec.evaluation import cold_start
from edgerec.evaluation.card import model_card
from edgerec.evaluation.costs import costs
from edgerec.evaluation.curves import read_curves
from edgerec.evaluation.examples import examples
from edgerec.evaluation.faithful import deletion
from edgerec.evaluation.fidelity import ALL, Answers, differing, failures, fidelity
from edgerec.evaluation.inputs import inputs
from edgerec.evaluation.page import EXAMPLES, write_page
from edgerec.evaluation.ratios import Ratios, ratios, teacher_bytes, text_bytes
from edgerec.evaluation.report import Report, settings_of
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.evaluation.segments import check_segments, gaps, segments
from edgerec.examples.evaluation_requests import (
    EvaluatedModel,
    EvaluationRequests,
    evaluate_lists,
    evaluation_labels,
    evaluation_sessions,
    find_evaluation_requests,
    true_items,
)
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.files import write_json
from edgerec.metrics import MAX_RANK, Estimate, ItemUsage, baselines, best_of, beyond
from edgerec.progress import Progress, Silent
from edgerec.runtime import ArrayRecommender
from edgerec.stages.run import Run
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int


def evaluate(run: Run) -> Report:
    """Judge every stage of a run on ``[evaluation] part``; writes report/ and the bundle's report.json."""
    config, progress = run.config, run.progress
    data = run.learning_data()
    check_segments(config.evaluation.segments, data)
    eval_requests = find_evaluation_requests(data)
    found, answers = judge_stages(run, data, eval_requests)
    found |= judge_baselines(data, eval_requests, config.evaluation.k)
    for name, figures in cold_start_references(data).items():
        found.setdefault(name, {}).update(figures)
    kept = _fidelity(answers, data, eval_requests)
    told = {
        name: segments(answers[name], data, eval_requests, config.evaluation.segments) for name in ("teacher", "int8")
    }
    report = Report(
        name=config.name,
        part=config.evaluation.part,
        metrics=found,
        paired=_paired(found),
        fidelity=kept,
        reliability=_reliability(answers, data),
        sizes=sizes_of(run.teacher, run.bundle),
        notes=_notes(data, eval_requests),
        runtimes=judge_runtimes(run.bundle, data, eval_requests),
        reasons=judge_reasons(run.bundle, data, eval_requests, config.seed),
        failures=broken_gates(kept, config.evaluation, config.quantization.table),
        beyond=judge_beyond(answers, data, eval_requests),
        segments={f"{stage}, {part}": tasks for stage, found_ in told.items() for part, tasks in found_.items()},
        gaps=gaps(told["int8"]),
        replay=judge_replay(answers, data) if config.evaluation.random_exposure else {},
        costs=_costs(run, data, eval_requests),
        inputs=inputs(run.bundle, data, eval_requests, config.evaluation.k, found, progress),
        curves=read_curves(run.folder),
        settings=settings_of(config),
        versions=versions(),
    )
    report.write(run.report)
    write_json(run.report / EXAMPLES, some_users(run.bundle, answers, data, eval_requests))
    write_page(report, run.report)
    card = model_card(report, data.dataset, config.version)
    (run.report / "model-card.md").write_text(card, encoding="utf-8")
    seal(run.bundle, report)
    return report


def judge_stages(
    run: Run, data: LearningData, eval_requests: EvaluationRequests
) -> tuple[dict[str, dict[str, dict[str, Estimate]]], dict[str, Answers]]:
    """Metrics by stage and task of a run's teacher, student, pruned student and bundle, and what they answered."""
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    answers: dict[str, Answers] = {}
    with ArrayRecommender.of(run.bundle) as recommender:
        for name, model in _stages(run, data, eval_requests, recommender):
            run.progress.say(f"evaluate: {name}")
            found[name], answers[name] = judge_model(model, data, eval_requests, run.config.evaluation.k)
            if isinstance(model, TorchModel):
                found[name] |= judge_cold_start(model, data)
    return found, answers


def some_users(
    bundle: Path, answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> list[dict[str, Any]]:
    """See `edgerec.evaluation.examples`."""
    with ArrayRecommender.of(bundle) as recommender:
        return examples(answers, RuntimeModel(recommender, data, eval_requests, Silent()), data, eval_requests)


RUNTIME_REQUESTS = 200


def judge_runtimes(bundle: Path, data: LearningData, eval_requests: EvaluationRequests) -> dict[str, Estimate]:
    """Does the runtime without onnxruntime list what the one with it lists? JavaScript: `tools/benchmark runtimes`."""
    lists = []
    for engine in ("onnxruntime", "numpy"):
        with ArrayRecommender.of(bundle, engine) as recommender:
            model = RuntimeModel(recommender, data, eval_requests, Silent())
            asked = model.asked() if data.evaluation.sessions is not None else model.asked_of_rows()
            found = [recommender.rank(10, **request).item for request in islice(asked, RUNTIME_REQUESTS)]
            lists.append(np.array([np.pad(row, (0, 10 - len(row)), constant_values=-1) for row in found], np.int64))
    name = f"numpy beside onnxruntime, same of the ten best, {len(lists[0])} requests"
    return {name: metrics.overlap(lists[0], lists[1])} if len(lists[0]) else {}


def judge_reasons(
    bundle: Path, data: LearningData, eval_requests: EvaluationRequests, seed: int
) -> dict[str, Estimate]:
    """What the bundle's reasons are worth, on the evaluation requests."""
    with ArrayRecommender.of(bundle) as recommender:
        model = RuntimeModel(recommender, data, eval_requests, Silent())
        return deletion(
            recommender, model.asked() if data.evaluation.sessions is not None else model.asked_of_rows(), seed
        )


COLD_START_SUFFIX = "_arrivals"
"""Ends the name of a task that is judged on items of the catalogue that no fit row holds, see `evaluation.cold`."""


def judge_cold_start(model: TorchModel, data: LearningData) -> dict[str, dict[str, Estimate]]:
    """How a model orders, for each user, the items that nobody had before the part; nothing where there are none."""
    found = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval":
            continue
        eval_requests, sessions = cold_start.cold_start_requests(data, task), data.evaluation.sessions
        if len(eval_requests.rows) and sessions is not None:
            requests = sessions.requests
            score = partial(_of_task, model.scorer, requests, i)
            found[task.name + COLD_START_SUFFIX] = cold_start.judge(score, eval_requests)
    return found


def _of_task(scorer: AnyScorer, requests: Requests, task: int, rows: Int) -> Scores:
    return scorer.log_probs(requests, rows)[:, task]


def cold_start_references(data: LearningData) -> dict[str, dict[str, dict[str, Estimate]]]:
    """The same of chance, which popularity cannot beat there, of like attributes and of like texts."""
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for task in scored_tasks(data.tasks):
        if task.kind == "retrieval":
            for name, figures in cold_start.cold_start_report(data, task, {}).items():
                found.setdefault(name, {})[task.name + COLD_START_SUFFIX] = figures
    return found


def judge_bundle(
    bundle: Path, data: LearningData, k: Sequence[int], progress: Progress
) -> dict[str, dict[str, Estimate]]:
    """Metrics by task of a run's bundle alone, through the runtime."""
    eval_requests = find_evaluation_requests(data)
    with ArrayRecommender.of(bundle) as recommender:
        return judge_model(RuntimeModel(recommender, data, eval_requests, progress), data, eval_requests, k)[0]


def judge_stage(run: Run, stage: str) -> dict[str, dict[str, Estimate]]:
    """Metrics by task of one trained stage ("teacher", "student" or "pruned") alone, on ``[evaluation] part``."""
    data = run.learning_data()
    return judge_scorer(run.scorer(stage, data), data, run.config.evaluation.k)


def judge_scorer(scorer: AnyScorer, data: LearningData, k: Sequence[int]) -> dict[str, dict[str, Estimate]]:
    """Metrics by task of a model that belongs to no stage, on the evaluation split of `data`."""
    eval_requests = find_evaluation_requests(data)
    return judge_model(TorchModel(scorer, data, eval_requests), data, eval_requests, k)[0]


def _stages(
    run: Run, data: LearningData, eval_requests: EvaluationRequests, recommender: ArrayRecommender
) -> Iterator[tuple[str, EvaluatedModel]]:
    for name in STAGES:
        yield name, TorchModel(run.scorer(name, data), data, eval_requests)
    yield "int8", RuntimeModel(recommender, data, eval_requests, run.progress)


def judge_model(
    model: EvaluatedModel, data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]
) -> tuple[dict[str, dict[str, Estimate]], Answers]:
    """Metrics by task, and what they were computed from."""
    found: dict[str, dict[str, Estimate]] = {}
    answers, rows = Answers.of(model, data), data.evaluation.impressions
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval":
            found[task.name] = evaluate_lists(answers.lists[task.name], task, data, eval_requests, k)
            if task.repeats == "allow" and any(len(p) for p in eval_requests.pasts):
                found[f"{task.name}_again"] = _again(model.own_items(task), task, data, eval_requests)
        elif rows is not None and answers.rows is not None:
            label, score, user = evaluation_labels(data, task), answers.rows[:, i], rows.requests.user
            judge = metrics.binary_metrics if task.kind == "binary" else metrics.regression_metrics
            found[task.name] = judge(label, score, user)
    if answers.related is not None:
        name = next(t.name for t in data.tasks if t.kind == "related")
        found[name] = metrics.related_metrics(evaluation_sessions(data), answers.related)
    return found, answers


def _again(
    own: Sequence[Scores], task: Task, data: LearningData, eval_requests: EvaluationRequests
) -> dict[str, Estimate]:
    """Bought again? Every past item of every case with a truth, judged by AUC."""
    sessions = data.evaluation.sessions
    assert sessions is not None
    truths = [sessions.truth[task.name].row(r) for r in eval_requests.rows]
    some = [i for i, t in enumerate(truths) if len(t)]
    label = np.concatenate([np.isin(eval_requests.pasts[i], truths[i]) for i in some]).astype(np.float64)
    score = np.concatenate([own[i] for i in some])
    user = np.repeat(np.arange(len(some)), [len(eval_requests.pasts[i]) for i in some])
    return metrics.auc_metrics(label, score, user)


def judge_baselines(
    data: LearningData, eval_requests: EvaluationRequests, k: Sequence[int]
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Metrics by baseline and task."""
    log, n = data.train_log, data.n_items
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
        histories = [log.item[e] for e in eval_requests.events]
        for name, model in models.items():
            for task in retrieval:
                exclude = eval_requests.pasts if task.repeats == "exclude" else None
                top = baselines.top_items(model, histories, MAX_RANK, exclude)
                found.setdefault(name, {})[task.name] = evaluate_lists(top, task, data, eval_requests, k)
    related = [t.name for t in data.tasks if t.kind == "related"]
    if related and n <= baselines.MAX_DENSE_ITEMS:
        top = baselines.related_by_sessions(log.session, log.item, n, RELATED_K)
        found["co_occurrence"] = {related[0]: metrics.related_metrics(evaluation_sessions(data), top)}
    return found | _rate_baselines(data)


def _rate_baselines(data: LearningData) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Past rate of the item, and of the user, for every binary task."""
    rows = data.evaluation.impressions
    binary = [t for t in scored_tasks(data.tasks) if t.kind == "binary"]
    if rows is None or not binary:
        return {}
    names, numbers = list(data.statistics.names), data.encoder.numeric_names
    found: dict[str, dict[str, dict[str, Estimate]]] = {"item_rate": {}, "own_rate": {}}
    for task in binary:
        label, user = rows.labels[task.name], rows.requests.user
        item = data.statistics.values[-1][rows.item, names.index(f"rate.{task.name}.item")]
        own = rows.requests.numbers(np.arange(len(rows.item)))[:, numbers.index(f"rate.{task.name}")]
        found["item_rate"][task.name] = metrics.auc_metrics(label, item, user)
        found["own_rate"][task.name] = metrics.auc_metrics(label, own, user)
    return found


def _paired(found: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """int8 - student, student - teacher, and int8 - each baseline, on the same cases."""
    stages = ("teacher", "student", "pruned", "int8")
    pairs = [("student", "teacher"), ("int8", "student")] + [("int8", name) for name in found if name not in stages]
    return {
        f"{a} - {b}": {
            task: {m: found[a][task][m].minus(other) for m, other in values.items() if m in found[a][task]}
            for task, values in found[b].items()
            if task in found[a]
        }
        for a, b in pairs
    }


def _fidelity(
    answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """What INT8 keeps of the same weights in fp32, and what it keeps of the teacher, for everyone and by part."""
    found = {"int8 ~ pruned": fidelity(answers["int8"], answers["pruned"], data, eval_requests)[ALL]}
    for part, figures in fidelity(answers["int8"], answers["teacher"], data, eval_requests).items():
        found["int8 ~ teacher" if part == ALL else f"int8 ~ teacher, {part}"] = figures
    return {name: figures for name, figures in found.items() if figures}


def judge_beyond(
    answers: Mapping[str, Answers], data: LearningData, eval_requests: EvaluationRequests
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """What accuracy does not tell, by stage and retrieval task."""
    tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    if not tasks or not len(eval_requests.rows):
        return {}
    log, known = data.train_log, data.train_log.item < data.n_items
    catalogue = ItemUsage(log.user[known], log.item[known], data.n_items)
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for task in tasks:
        truths, some = true_items(task, data, eval_requests)
        pasts = [p for p, s in zip(eval_requests.pasts, some, strict=True) if s]
        for stage, of in answers.items():
            found.setdefault(stage, {})[task.name] = beyond(of.lists[task.name][some], truths, pasts, catalogue)
    return found


MIN_OVERLAP = {"int8": 0.95, "int4": 0.8, "pq": 0.8}
"""Share of the ten best that a table of each kind has in common with 32-bit weights, where the settings say nothing."""
REPLAYED = (1, 2, 5, 10)
"""Random items of which the best is shown; 1 is what the log earned."""


def judge_replay(answers: Mapping[str, Answers], data: LearningData) -> dict[str, dict[str, dict[str, Estimate]]]:
    """By stage and task, the mean label of the item that scores highest of some that were shown at random."""
    rows = data.evaluation.impressions
    if rows is None:
        return {}
    tasks = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind != "retrieval"]
    user = rows.requests.user
    return {
        stage: {
            t.name: {f"best of {m}": best_of(evaluation_labels(data, t), of.rows[:, i], user, m) for m in REPLAYED}
            for i, t in tasks
        }
        for stage, of in answers.items()
        if of.rows is not None and tasks
    }


def broken_gates(
    kept: Mapping[str, dict[str, dict[str, Estimate]]], gates: EvaluationConfig, table: str
) -> tuple[str, ...]:
    """What of the bundle falls below the gates of ``[evaluation]``."""
    min_overlap = MIN_OVERLAP[table] if gates.min_overlap is None else gates.min_overlap
    of_teacher, of_weights = kept.get("int8 ~ teacher", {}), kept.get("int8 ~ pruned", {})
    below = failures({ALL: of_teacher}, gates.min_ndcg_retained, gates.max_auc_drop)
    return (*below, *differing(of_weights, min_overlap, gates.max_auc_drop))


def _reliability(answers: Mapping[str, Answers], data: LearningData) -> dict[str, dict[str, list[list[float]]]]:
    """For each stage and binary task, what a reliability plot shows."""
    tasks = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "binary"]
    return {
        stage: {t.name: metrics.reliability(evaluation_labels(data, t), of.rows[:, i]) for i, t in tasks}
        for stage, of in answers.items()
        if of.rows is not None and tasks
    }


MODEL_BYTES = "bundle: graphs and weights, bytes"


def _costs(run: Run, data: LearningData, eval_requests: EvaluationRequests) -> dict[str, dict[str, float]]:
    """See `edgerec.evaluation.costs`, of all stages of a run."""
    text = text_bytes(run.config.teacher.text_model) if data.dataset.meta.text else 0
    sizes = {stage: sum(p.stat().st_size for p in (run.folder / stage).glob("*.safetensors")) for stage in STAGES}
    sizes["teacher"] = teacher_bytes(run.teacher) + text
    loaders = {stage: partial(run.scorer, stage, data) for stage in STAGES}
    return costs(loaders, sizes, run.bundle, data, eval_requests)


def compare_size_and_speed(run: Run) -> Ratios:
    """How much smaller and faster than its teacher the bundle of a run is."""
    data = run.learning_data()
    teacher, text_model = run.scorer("teacher", data), run.config.teacher.text_model
    return ratios(teacher, run.teacher, text_model, run.bundle, data, run.progress)


def sizes_of(teacher: Path, bundle: Path) -> dict[str, int]:
    """What teacher and bundle weigh."""
    return {
        "teacher, bytes": sum(p.stat().st_size for p in teacher.glob("*.safetensors")),
        MODEL_BYTES: bundle_size(bundle).model,
        "bundle: catalogue, bytes": (bundle / "catalog.sqlite").stat().st_size,
    }


def _notes(data: LearningData, eval_requests: EvaluationRequests) -> list[str]:
    notes = []
    rows = data.evaluation.impressions
    if rows is not None and len(rows.item) < len(data.evaluation_log):
        notes.append(f"{len(data.evaluation_log) - len(rows.item)} rows of items that were never seen are not judged")
    sessions = data.evaluation.sessions
    if sessions is not None:
        notes.append(
            f"{len(sessions.requests) - len(eval_requests.rows)} users without a past are not judged by their ranking"
        )
    return notes


def seal(folder: Path, report: Report) -> None:
    """Put the report into the bundle; its manifest is written anew around it."""
    bundle = Bundle.open(folder)
    manifest = json.loads((folder / MANIFEST).read_bytes()) | {"metrics": report.to_json()["metrics"]["int8"]}
    files: dict[str, bytes | Path] = {name: bundle.path(name) for name in bundle.manifest.files}
    write_bundle(folder, {**files, "report.json": dump_json(report.sealed())}, manifest)
