"""The student stage: label with cross-fitted teachers, then train the student on their labels and those of the log."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec import metrics
from edgerec.config import Config
from edgerec.distillation.student import new_student, train_student
from edgerec.distillation.warm_start import warm_start
from edgerec.ensemble.scoring import TorchModel, TorchScorer
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.fidelity import ALL, OVERLAP, RETAINED, fidelity
from edgerec.evaluation.gates import teacher_failures
from edgerec.examples.batches import Examples
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluation_labels, find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.files import write_json
from edgerec.metrics import MetricTable, metrics_to_json
from edgerec.models.student import Student
from edgerec.progress import Progress
from edgerec.stages.baselines import JudgeBaselines
from edgerec.stages.cost import FEW_ITEMS
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks
from edgerec.threads import cores
from edgerec.training.calibrate import calibrated
from edgerec.training.checkpoint import save_student
from edgerec.training.processes import Beside


@dataclass(frozen=True)
class StudentReport:
    """What distillation led to.

    Attributes:
        labelled: whether a teacher labelled what the student learned from.
        parameters: of the student. sessions, pseudo_labelled, impressions: what it learned from; future requests count
            as pseudo-labelled.
        calibration: expected calibration error of each binary task on the evaluation split, before and after
            calibration.
        retained: how much of its teacher's quality it retains there, for everyone and by segment, see
            `edgerec.evaluation.fidelity`.
        failures: which figures fall below the gates of ``[distillation]``.
    """

    labelled: bool
    parameters: int
    sessions: int
    pseudo_labelled: int
    impressions: int
    calibration: dict[str, tuple[float, float]]
    retained: dict[str, dict[str, dict[str, dict[str, float | int | None]]]]
    failures: tuple[str, ...]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        by = "all labelled by teachers that did not see their user" if self.labelled else "by the log's labels alone"
        errors = ", ".join(f"{task} {before:.4f} -> {after:.4f}" for task, (before, after) in self.calibration.items())
        return [
            f"student: {self.parameters:,} parameters, learned from {self.sessions:,} sessions, "
            f"{self.pseudo_labelled:,} pseudo-labelled requests and {self.impressions:,} impressions, {by}",
            *([f"calibration error, before and after calibration: {errors}"] if errors else []),
            *(f"student ~ teacher, {segment}: {_summary(figures)}" for segment, figures in self.retained.items()),
            *(f"below the gate: {line}" for line in self.failures),
        ]


def _summary(figures: Mapping[str, Mapping[str, Mapping[str, float | int | None]]]) -> str:
    """For each task the quality retained and the overlap of the lists, or the difference of the metric.

    A metric without a value, such as the AUC of one class, or what is retained of nothing, is said to be unknown.
    """
    parts = []
    for task, estimates in figures.items():
        said = []
        values = {name: estimate["value"] for name, estimate in estimates.items()}
        if values.get(RETAINED) is not None:
            overlap = "" if values.get(OVERLAP) is None else f", {values[OVERLAP]:.0%} of the ten best"
            said.append(f"{task} retains {values[RETAINED]:.1%}{overlap}")
        said += [f"{task} {name} {values[name]:+.4f}" for name in ("auc", "xauc") if values.get(name) is not None]
        parts += said or [f"{task} cannot be compared"]
    return "; ".join(parts) or "nothing to compare: the evaluation split has no request with a past and no impression"


def distill(run: Run) -> StudentReport:
    """Train the student of a run; goes on where an earlier call was stopped."""
    work = run.work_folder("student", ("teacher", "student", "distillation"))
    data = run.learning_data()
    examples, pseudo_labelled = labelled_examples(run, data)
    alone = examples.soft is None or data.n_items > FEW_ITEMS
    with Beside(_Answers(run.asked, run.folder, data, cores() > 1 and not alone), run.progress, alone) as teacher:
        student, calibration = _trained(run, data, examples, work)
        retained = {} if examples.soft is None else _retained(run, data, teacher)
    write_json(run.student / "fidelity.json", {"parts": metrics_to_json(retained)})
    for log in work.glob("*-log"):
        log.rename(run.student / log.name)
    shutil.rmtree(work)
    d = run.config.distillation
    return StudentReport(
        labelled=examples.soft is not None,
        parameters=sum(p.numel() for p in student.parameters()),
        sessions=0 if examples.sessions is None else len(examples.sessions.requests) - pseudo_labelled,
        pseudo_labelled=pseudo_labelled,
        impressions=0 if examples.impressions is None else len(examples.impressions.item),
        calibration=calibration,
        retained=metrics_to_json(retained),
        failures=tuple(teacher_failures(retained.get(ALL, {}), d.min_ndcg_retained, d.max_auc_drop)),
    )


def _trained(
    run: Run, data: LearningData, examples: Examples, work: Path
) -> tuple[Student, dict[str, tuple[float, float]]]:
    """The student, which is saved, and its calibration errors before and after calibration."""
    d, settings, progress = run.config.distillation, run.student_settings, run.progress
    student = new_student(settings, data)
    if d.start_from is not None:
        n_tensors = warm_start(student, Path(run.config.resolve(d.start_from)), data)
        progress.say(f"student: {n_tensors} tensors start from {d.start_from}")
    train_student(settings, data, examples, student, d.epochs, work / "student", progress, "student")
    shutil.rmtree(run.student, ignore_errors=True)
    before = _calibration_errors(TorchScorer([student.eval()], data), data)
    with progress.track(None, "calibrating"):
        expectations = calibrated(student, data, run.config.seed)
    save_student(student, run.student, {"expectations": expectations})
    after = _calibration_errors(TorchScorer([student], data, expectations), data)
    return student, {task: (before[task], after[task]) for task in before}


@dataclass(frozen=True)
class _Answers:
    """What the run keeps of the evaluation split beside a student's training: the teacher's answers and, in a process
    of its own, the baselines' too, for which `evaluate` would have to wait."""

    asked: Config
    folder: Path
    data: LearningData
    baselines: bool

    def __call__(self, progress: Progress) -> None:
        """Ask them."""
        run, eval_requests = Run(self.asked, self.folder, progress), find_evaluation_requests(self.data)
        Answers.of(run.model("teacher", self.data, eval_requests), self.data)
        judge = JudgeBaselines.of(run, self.data, eval_requests)
        if self.baselines and judge.is_worth_a_process():
            judge(progress)


def _retained(run: Run, data: LearningData, teacher: Beside[None]) -> MetricTable:
    """How much of its teacher's quality the student retains on the evaluation split."""
    with run.progress.track(None, "comparing with the teacher"):
        teacher.result()
        eval_requests = find_evaluation_requests(data)
        student, kept = (Answers.of(run.model(s, data, eval_requests), data) for s in ("student", "teacher"))
        return fidelity(student, kept, data, eval_requests)


def _calibration_errors(scorer: TorchScorer, data: LearningData) -> dict[str, float]:
    """Expected calibration error of each binary task on the evaluation split."""
    rows = data.evaluation.impressions
    if rows is None or not len(rows.item):
        return {}
    scores = TorchModel(scorer, data, EvaluationRequests.none()).rows()
    binary = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "binary"]
    return {t.name: metrics.ece(evaluation_labels(data, t), scores[:, i]) for i, t in binary}
