"""The student stage: label with cross-fitted teachers, then train the student on their labels and the log's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec import metrics
from edgerec.distillation.student import new_student, train_student
from edgerec.distillation.warm_start import warm_start
from edgerec.ensemble.scoring import TorchModel, TorchScorer
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.fidelity import ALL, OVERLAP, RETAINED, fidelity
from edgerec.evaluation.gates import teacher_failures
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluation_labels, find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.files import write_json
from edgerec.metrics import MetricTable, metrics_to_json
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks
from edgerec.training.calibrate import calibrate
from edgerec.training.checkpoint import save_student


@dataclass(frozen=True)
class StudentReport:
    """What distillation made.

    Attributes:
        labelled: whether a teacher labelled what the student learned from.
        parameters: of the student. sessions, pseudo-labelled, rows: what it learned from.
        calibration: expected calibration error of each binary task on the evaluation split, before and after it.
        retained: what it retains of its teacher, for everyone and by segment, see `edgerec.evaluation.fidelity`.
        failures: which figures fall below the gates of ``[distillation]``.
    """

    labelled: bool
    parameters: int
    sessions: int
    pseudo_labelled: int
    rows: int
    calibration: dict[str, tuple[float, float]]
    retained: dict[str, dict[str, dict[str, Any]]]
    failures: tuple[str, ...]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        by = "all labelled by teachers that did not see their user" if self.labelled else "by the log's labels alone"
        errors = ", ".join(f"{task} {before:.4f} -> {after:.4f}" for task, (before, after) in self.calibration.items())
        return [
            f"student: {self.parameters:,} parameters, learned from {self.sessions:,} sessions, "
            f"{self.pseudo_labelled:,} pseudo-labelled requests and {self.rows:,} impressions, {by}",
            *([f"calibration error, before and after calibration: {errors}"] if errors else []),
            *(f"student ~ teacher, {part}: {_in_words(tasks)}" for part, tasks in self.retained.items()),
            *(f"below the gate: {line}" for line in self.failures),
        ]


def _in_words(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """The first metric of each task, which says what is retained or lost, and for rankings how similar they are."""
    texts = []
    for task, of in tasks.items():
        values = {name: e["value"] for name, e in of.items()}
        if values.get(RETAINED) is not None:
            alike = "" if values.get(OVERLAP) is None else f", {values[OVERLAP]:.0%} of the ten best"
            texts.append(f"{task} retains {values[RETAINED]:.1%}{alike}")
        for name in ("auc", "xauc"):
            if values.get(name) is not None:
                texts.append(f"{task} {name} {values[name]:+.4f}")
    return "; ".join(texts)


def distill(run: Run) -> StudentReport:
    """Train the student of a run; goes on where an earlier call was stopped."""
    d, settings, progress = run.config.distillation, run.student_settings, run.progress
    work = run.work_folder("student", ("teacher", "student", "distillation"))
    data = run.learning_data()
    examples, pseudo_labelled = labelled_examples(run, data)
    student = new_student(settings, data)
    if d.start_from is not None:
        taken = warm_start(student, Path(run.config.resolve(d.start_from)), data)
        progress.say(f"student: {taken} tensors as {d.start_from} left them")
    train_student(settings, data, examples, student, d.epochs, work / "student", progress, "student")
    out = run.folder / "student"
    shutil.rmtree(out, ignore_errors=True)
    errors = [_calibration_errors(TorchScorer([student.eval()], data), data)]
    expected = calibrate(student, data)
    save_student(student, out, {"expectations": expected})
    for log in work.glob("*-log"):
        log.rename(out / log.name)
    scorer = TorchScorer([student], data, expected)
    errors.append(_calibration_errors(scorer, data))
    retained = _retained(run, scorer, data) if examples.soft is not None else {}
    write_json(out / "fidelity.json", {"parts": metrics_to_json(retained)})
    shutil.rmtree(work)
    return StudentReport(
        labelled=examples.soft is not None,
        parameters=sum(p.numel() for p in student.parameters()),
        sessions=0 if examples.sessions is None else len(examples.sessions.requests) - pseudo_labelled,
        pseudo_labelled=pseudo_labelled,
        rows=0 if data.train.impressions is None else len(data.train.impressions.item),
        calibration={task: (errors[0][task], errors[1][task]) for task in errors[0]},
        retained=metrics_to_json(retained),
        failures=tuple(teacher_failures(retained.get(ALL, {}), d.min_ndcg_retained, d.max_auc_drop)),
    )


def _retained(run: Run, scorer: TorchScorer, data: LearningData) -> MetricTable:
    """What the student retains of its teacher on the evaluation split."""
    run.progress.say("student: compared with its teacher")
    eval_requests = find_evaluation_requests(data)
    teacher = Answers.of(TorchModel(run.scorer("teacher", data), data, eval_requests), data)
    return fidelity(Answers.of(TorchModel(scorer, data, eval_requests), data), teacher, data, eval_requests)


def _calibration_errors(scorer: TorchScorer, data: LearningData) -> dict[str, float]:
    """Expected calibration error of each binary task on the evaluation split."""
    rows = data.evaluation.impressions
    if rows is None or not len(rows.item):
        return {}
    scores = TorchModel(scorer, data, EvaluationRequests.none()).rows()
    binary = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "binary"]
    return {t.name: metrics.ece(evaluation_labels(data, t), scores[:, i]) for i, t in binary}
