"""The evaluate stage: teacher, student, pruned student, INT8 bundle and baselines on the evaluation split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.bundle import MANIFEST, Bundle, dump_json, write_bundle
from edgerec.bundle.size import bundle_size
from edgerec.devices import load_profile
from edgerec.devices.machine import versions
from edgerec.ensemble.scoring import STAGES, TorchModel
from edgerec.evaluation.about import about
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.baselines import Baselines
from edgerec.evaluation.card import model_card
from edgerec.evaluation.cold_start import cold_start_metrics, cold_start_references
from edgerec.evaluation.costs import StageCosts, measure_costs, teacher_bytes, text_bytes
from edgerec.evaluation.curves import read_curves
from edgerec.evaluation.engines import compare_engines
from edgerec.evaluation.examples import example_users
from edgerec.evaluation.faithful import evaluate_reasons
from edgerec.evaluation.findings import (
    Findings,
    against_baselines,
    baseline_failures,
    device_costs,
    keeps_teacher,
)
from edgerec.evaluation.gates import broken_gates
from edgerec.evaluation.inputs import evaluate_inputs
from edgerec.evaluation.logged_policy import evaluate_logged_policy
from edgerec.evaluation.page import EXAMPLES, write_page
from edgerec.evaluation.quality import evaluate_model, evaluate_scorer
from edgerec.evaluation.report import Report, settings_of
from edgerec.evaluation.runtime_model import RuntimeModel, Versions
from edgerec.evaluation.segment_metrics import segment_gaps, segment_metrics
from edgerec.evaluation.segments import check_segments
from edgerec.evaluation.stage_metrics import (
    beyond_accuracy,
    paired_differences,
    reliability_bins,
    replay_random_exposure,
    stage_fidelity,
)
from edgerec.examples.evaluation_requests import EvaluationRequests, find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.files import write_json
from edgerec.metrics import MetricTable, ModelMetrics
from edgerec.stages.baselines import JudgeBaselines
from edgerec.stages.run import Run
from edgerec.stages.versions import versions_of
from edgerec.training.processes import Beside

__all__ = [
    "MODEL_BYTES",
    "evaluate",
    "evaluate_stage",
    "evaluate_stages",
    "seal",
    "sizes_of",
]

MODEL_BYTES = "bundle: graphs and weights, bytes"


def evaluate(run: Run) -> Report:
    """Evaluate every stage of a run on ``[evaluation] part``; writes report/ and the bundle's report.json."""
    data = run.learning_data()
    check_segments(run.config.evaluation.segments, data)
    eval_requests = find_evaluation_requests(data)
    work = JudgeBaselines.of(run, data, eval_requests)
    alone = work.kept.exists() or not work.is_worth_a_process()
    with versions_of(run, data, eval_requests) as bundles, Beside(work, run.progress, alone) as baselines:
        table, answers = evaluate_stages(run, data, eval_requests, bundles)
        report = _report(run, data, eval_requests, table, answers, bundles, baselines)
    with run.progress.track(None, "writing the report"):
        _write(run, report, data, eval_requests, answers)
    return report


def _write(
    run: Run, report: Report, data: LearningData, eval_requests: EvaluationRequests, answers: dict[str, Answers]
) -> None:
    report.write(run.report)
    write_json(run.report / EXAMPLES, example_users(run.bundle, answers, data, eval_requests))
    write_page(report, run.report)
    card = model_card(report, data.dataset, run.config.version)
    (run.report / "model-card.md").write_text(card, encoding="utf-8")
    seal(run.bundle, report)


def _report(
    run: Run,
    data: LearningData,
    eval_requests: EvaluationRequests,
    stages: MetricTable,
    answers: dict[str, Answers],
    bundles: Versions,
    judging: Beside[Baselines],
) -> Report:
    settings, bundle = run.config.evaluation, run.bundle
    fidelity = stage_fidelity(answers, data, eval_requests)
    segments = {
        stage: segment_metrics(answers[stage], data, eval_requests, settings.segments) for stage in ("teacher", "int8")
    }
    off_policy = evaluate_logged_policy(RuntimeModel(bundles, data, eval_requests, run.progress))
    of_bundle = _of_the_bundle(run, data, eval_requests, answers["int8"], bundles)
    with run.progress.track(None, "judging the baselines"):
        baselines = judging.result()
        table = stages | baselines.metrics
        for reference, of_tasks in cold_start_references(data).items():
            table.setdefault(reference, {}).update(of_tasks)
    with run.progress.track(None, "measuring costs"):  # once the machine is idle
        costs = _costs(run, data, eval_requests)
    findings = _findings(run, data, table, baselines.chosen, fidelity, costs)
    return Report(
        name=run.config.name,
        part=settings.part,
        metrics=table,
        paired=paired_differences(table),
        fidelity=fidelity,
        reliability=reliability_bins(answers, data),
        sizes=sizes_of(run.teacher, bundle),
        notes=[*_notes(data, eval_requests, bundles), *off_policy.notes],
        failures=findings.failures,
        verdict=findings.to_json(),
        baselines=baselines.chosen,
        beyond=beyond_accuracy(answers, data, eval_requests),
        segments={f"{stage}, {name}": of for stage, by_name in segments.items() for name, of in by_name.items()},
        gaps=segment_gaps(segments["int8"]),
        replay=replay_random_exposure(answers, data) if settings.random_exposure else {},
        off_policy=off_policy.values,
        curves=read_curves(run.folder),
        settings=settings_of(run.config),
        versions=versions(),
        about=about(data, eval_requests, run.folder),
        costs=costs,
        **of_bundle,
    )


def _of_the_bundle(
    run: Run, data: LearningData, eval_requests: EvaluationRequests, int8: Answers, bundles: Versions
) -> dict[str, Any]:
    """What a report says of the bundle alone, by the name of the field."""
    bundle, settings, track = run.bundle, run.config.evaluation, run.progress.track
    found: dict[str, Any] = {}
    with track(None, "judging what a request holds"):
        found["inputs"] = evaluate_inputs(bundles, data, eval_requests, settings.k, int8, run.progress)
    with track(None, "checking the reasons"):
        found["reasons"] = evaluate_reasons(bundle, data, eval_requests, run.config.seed)
    with track(None, "comparing the engines"):
        found["runtimes"] = compare_engines(bundle, data, eval_requests)
    return found


def _findings(
    run: Run,
    data: LearningData,
    table: MetricTable,
    baselines: Mapping[str, Mapping[str, str]],
    fidelity: MetricTable,
    costs: Mapping[str, StageCosts],
) -> Findings:
    """The verdict's four answers, and the gates that are broken."""
    settings, impressions = run.config.evaluation, data.evaluation.impressions
    users = 0 if impressions is None else len(np.unique(impressions.requests.user))
    rated = {t.name: users for t in data.tasks if t.kind in ("binary", "regression")}
    against = against_baselines(table, baselines, rated)
    device = load_profile(run.config.device)
    fits = tuple(device_costs(costs.get("int8", {}), device))
    failures = [
        *broken_gates(fidelity, settings, run.config.quantization.table),
        *(baseline_failures(against) if settings.beat_baselines else ()),
        *(f"{device.name}: {cost}, over the budget" for cost in fits if not cost.here and not cost.kept),
    ]
    kept = keeps_teacher(fidelity.get("int8 ~ teacher", {}), settings)
    fallback = {task: str(by) for task, by in Bundle.open(run.bundle).manifest.fallback.items()}
    return Findings(against, kept, device.name, fits, tuple(failures), fallback)


def evaluate_stages(
    run: Run, data: LearningData, eval_requests: EvaluationRequests, bundles: Versions
) -> tuple[MetricTable, dict[str, Answers]]:
    """Metrics of a run's teacher, student, pruned student and bundle, and the answers of each."""
    table: MetricTable = {}
    answers: dict[str, Answers] = {}
    for stage, model in _models(run, data, eval_requests, bundles):
        with run.progress.track(None, f"judging {stage}"):
            table[stage], answers[stage] = evaluate_model(model, data, eval_requests, run.config.evaluation.k)
            if isinstance(model, TorchModel):
                table[stage] |= cold_start_metrics(model.scorer, data)
    return table, answers


def evaluate_stage(run: Run, stage: str) -> ModelMetrics:
    """Metrics of "teacher", "student" or "pruned", on ``[evaluation] part``."""
    data = run.learning_data()
    return evaluate_scorer(run.scorer(stage, data), data, run.config.evaluation.k)


def _models(
    run: Run, data: LearningData, eval_requests: EvaluationRequests, bundles: Versions
) -> Iterator[tuple[str, TorchModel | RuntimeModel]]:
    for stage in STAGES:
        yield stage, run.model(stage, data, eval_requests)
    yield "int8", RuntimeModel(bundles, data, eval_requests, run.progress)


def _costs(run: Run, data: LearningData, eval_requests: EvaluationRequests) -> dict[str, StageCosts]:
    """Costs of all stages of a run, see `edgerec.evaluation.costs`."""
    text = text_bytes(run.config.teacher.text_model) if data.dataset.meta.text else 0
    sizes = {stage: sum(p.stat().st_size for p in (run.folder / stage).glob("*.safetensors")) for stage in STAGES}
    sizes["teacher"] = teacher_bytes(run.teacher) + text
    loaders = {stage: partial(run.scorer, stage, data) for stage in STAGES}
    return measure_costs(loaders, sizes, run.bundle, data, eval_requests)


def sizes_of(teacher: Path, bundle: Path) -> dict[str, int]:
    """Sizes of teacher and bundle in bytes."""
    return {
        "teacher, bytes": sum(p.stat().st_size for p in teacher.glob("*.safetensors")),
        MODEL_BYTES: bundle_size(bundle).model,
        "bundle: catalog, bytes": (bundle / "catalog.sqlite").stat().st_size,
    }


def _notes(data: LearningData, eval_requests: EvaluationRequests, bundles: Versions) -> list[str]:
    notes = []
    impressions, sessions = data.evaluation.impressions, data.evaluation.sessions
    if data.judged > 1:
        notes.append(
            f"one in {data.judged} users of {data.part} is judged, see [evaluation] users; counts are of these"
        )
    if impressions is not None and len(impressions.item) < len(data.evaluation_log):
        left_out = len(data.evaluation_log) - len(impressions.item)
        notes.append(f"{left_out} impressions of items that are not in the training split are left out")
    if sessions is not None:
        left_out = len(sessions.requests) - len(eval_requests.rows)
        notes.append(f"{left_out} users without a past are left out of the ranking metrics")
    if len(bundles.earlier):
        notes.append(
            f"int8 is asked as of each request: of the items it knows what was known at {len(bundles.earlier)} times"
        )
    return notes


def seal(folder: Path, report: Report) -> None:
    """Put the report into the bundle, and its metrics into the manifest."""
    bundle = Bundle.open(folder)
    manifest = json.loads((folder / MANIFEST).read_bytes()) | {"metrics": report.to_json()["metrics"]["int8"]}
    files: dict[str, bytes | Path] = {name: bundle.path(name) for name in bundle.manifest.files}
    write_bundle(folder, {**files, "report.json": dump_json(report.sealed())}, manifest)
