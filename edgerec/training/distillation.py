"""The student stage: label with cross-fitted teachers, then train the student on their labels and the log's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from edgerec.config import Config
from edgerec.config.stages import DistillationConfig
from edgerec.evaluation import metrics
from edgerec.evaluation.cases import Cases, find_cases, held_labels
from edgerec.evaluation.fidelity import KEPT, OVERLAP, Answers, Parts, failures, fidelity
from edgerec.evaluation.report import to_json
from edgerec.files import write_json
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Int
from edgerec.tasks.units import MS_PER_DAY
from edgerec.training.batches import Examples, JointBatches
from edgerec.training.calibrate import calibrate
from edgerec.training.checkpoint import save_student
from edgerec.training.committee.views import Views
from edgerec.training.examples import Ragged, VisitExamples, draw_visits, join_visits, make_requests
from edgerec.training.followers import followers
from edgerec.training.joint import Terms
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.log import Log
from edgerec.training.loop import LoopSettings, OnEpoch, fit
from edgerec.training.scoring import TorchModel, TorchScorer, load_scorer
from edgerec.training.soft.label import label, read
from edgerec.training.soft.store import SoftStore, key_of
from edgerec.training.teacher import COMMITTEE, WEIGHTS, batch_settings, committee_views, work_folder
from edgerec.training.warm import warm_start

ITEM_UNITS = 64
"""Least hidden units of the item tower, which is folded into the table and costs nothing on the device."""
MOST_STARTS = 1_000_000
"""Visits that the unlabelled requests are drawn beside."""
WEEKS = 4
"""An unlabelled request comes up to this many weeks after a visit, or the log's end, at the same hour and weekday.

Where each user's last event is held out, the next request is asked as soon as the log's users come back."""


@dataclass(frozen=True)
class StudentReport:
    """What distillation made.

    Attributes:
        labelled: whether a teacher labelled what the student learned from.
        parameters: of the student. visits, unlabelled, rows: what it learned from.
        calibration: expected calibration error of each binary task on the held part, before and after calibration.
        kept: what it keeps of its teacher there, for everyone and by part, see `edgerec.evaluation.fidelity`.
        failures: which figures fall below the gates of ``[distillation]``.
    """

    labelled: bool
    parameters: int
    visits: int
    unlabelled: int
    rows: int
    calibration: dict[str, tuple[float, float]]
    kept: dict[str, dict[str, dict[str, dict[str, float | int | None]]]]
    failures: tuple[str, ...]

    def lines(self) -> Sequence[str]:
        """For the screen."""
        by = "all labelled by teachers that did not see their user" if self.labelled else "by the log's labels alone"
        errors = ", ".join(f"{task} {before:.4f} -> {after:.4f}" for task, (before, after) in self.calibration.items())
        return [
            f"student: {self.parameters:,} parameters, learned from {self.visits:,} visits, {self.unlabelled:,} "
            f"requests without an outcome and {self.rows:,} shown rows, {by}",
            *([f"calibration error, before and after calibration: {errors}"] if errors else []),
            *(f"student ~ teacher, {part}: {_told(figures)}" for part, figures in self.kept.items()),
            *(f"below the gate: {line}" for line in self.failures),
        ]


def _told(figures: Mapping[str, Mapping[str, Mapping[str, float | int | None]]]) -> str:
    """The first figure of each task, which says what is kept or lost, and for rankings how alike they are."""
    texts = []
    for task, of in figures.items():
        values = {name: e["value"] for name, e in of.items()}
        if values.get(KEPT) is not None:
            alike = "" if values.get(OVERLAP) is None else f", {values[OVERLAP]:.0%} of the ten best"
            texts.append(f"{task} keeps {values[KEPT]:.1%}{alike}")
        for name in ("auc", "xauc"):
            if values.get(name) is not None:
                texts.append(f"{task} {name} {values[name]:+.4f}")
    return "; ".join(texts)


def distill(config: Config, run_dir: Path, progress: Progress) -> StudentReport:
    """Train the student of a run; goes on where an earlier call was stopped."""
    work = work_folder(run_dir, "student", config, ("teacher", "student", "distillation"))
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    examples, unlabelled = soft_examples(config, run_dir, data, progress)
    student = new_student(config, data)
    if config.distillation.start_from is not None:
        taken = warm_start(student, Path(config.resolve(config.distillation.start_from)), data)
        progress.say(f"student: {taken} tensors as {config.distillation.start_from} left them")
    train_student(config, data, examples, student, config.distillation.epochs, work / "student", progress, "student")
    out = run_dir / "student"
    shutil.rmtree(out, ignore_errors=True)
    errors = [_calibration_errors(TorchScorer([student.eval()], data), data)]
    expected = calibrate(student, data)
    save_student(student, out, {"expectations": expected})
    for log in work.glob("*-log"):
        log.rename(out / log.name)
    scorer = TorchScorer([student], data, expected)
    errors.append(_calibration_errors(scorer, data))
    kept = _kept(config, run_dir, scorer, data, progress) if examples.soft is not None else {}
    write_json(out / "fidelity.json", {"parts": to_json(kept)})
    shutil.rmtree(work)
    d = config.distillation
    return StudentReport(
        labelled=examples.soft is not None,
        parameters=sum(p.numel() for p in student.parameters()),
        visits=0 if examples.visits is None else len(examples.visits.requests) - unlabelled,
        unlabelled=unlabelled,
        rows=0 if data.fit.rows is None else len(data.fit.rows.item),
        calibration={task: (errors[0][task], errors[1][task]) for task in errors[0]},
        kept=to_json(kept),
        failures=tuple(failures(kept, d.least_kept, d.most_lost)) if kept else (),
    )


def _kept(config: Config, run_dir: Path, scorer: TorchScorer, data: LearningData, progress: Progress) -> Parts:
    """What the student keeps of its teacher on the held part."""
    progress.say("student: held against its teacher")
    cases = find_cases(data)
    teacher = Answers.of(TorchModel(load_scorer("teacher", config, run_dir, data), data, cases), data)
    return fidelity(Answers.of(TorchModel(scorer, data, cases), data), teacher, data, cases)


def _calibration_errors(scorer: TorchScorer, data: LearningData) -> dict[str, float]:
    """Expected calibration error of each binary task on the held part."""
    rows = data.held.rows
    if rows is None or not len(rows.item):
        return {}
    scores = TorchModel(scorer, data, Cases.none()).rows()
    binary = [(i, t) for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "binary"]
    return {t.name: metrics.ece(held_labels(data, t), scores[:, i]) for i, t in binary}


def sizes_of(config: Config) -> StudentSizes:
    """The widths that the settings ask for."""
    dim, hidden, heads, factor = config.student.widths
    return StudentSizes.of(dim, hidden, heads, factor, max(hidden, ITEM_UNITS), config.student.followers)


def new_student(config: Config, data: LearningData) -> Student:
    """An untrained student, the same for the same seed."""
    torch.manual_seed(config.seed)
    sizes = sizes_of(config)
    student = Student(data.shape, data.features, len(scored_tasks(data.tasks)), sizes, config.distillation.dropout)
    if student.followers is not None:
        student.followers.start(*followers(data, sizes.followers))
    return student


def train_student(
    config: Config,
    data: LearningData,
    examples: Examples,
    student: Student,
    epochs: int,
    folder: Path,
    progress: Progress,
    title: str,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train `student` in place on hard and soft labels; for `on_epoch`, the held part is judged after each epoch."""
    d = config.distillation
    settings = replace(
        batch_settings(config, data, d.history_dropout), visits_per_epoch=d.visits_per_epoch, easy_epochs=d.easy_epochs
    )
    loop = LoopSettings(
        epochs,
        d.learning_rate,
        d.weight_decay,
        None,
        terms_of(d),
        keep_last=True,
        training=config.training,
    )
    train_batches = JointBatches(examples, settings, config.seed)
    held = None if on_epoch is None else JointBatches(data.held, settings, config.seed, train=False)
    fit(student, data.tasks, train_batches, held, loop, folder, progress, title, on_epoch)


def terms_of(settings: DistillationConfig) -> Terms:
    """The terms of the loss that the settings ask for."""
    names = [f.name for f in fields(Terms)]
    return Terms(**{name: getattr(settings, name) for name in names})


def needs_teacher(settings: DistillationConfig) -> bool:
    """Does any term learn from a teacher?"""
    terms = terms_of(settings)
    return any((terms.probabilities, terms.listwise, terms.top_list, terms.neighbours, terms.alignment))


def soft_examples(
    config: Config, run_dir: Path, data: LearningData, progress: Progress, folder: Path | None = None
) -> tuple[Examples, int]:
    """The fit examples with a teacher's labels and with unlabelled requests, and how many of the latter there are.

    Labels are kept in `folder`, or else in ``soft/`` of the run, and made again only for another teacher, dataset or
    other requests.
    """
    fit_examples = replace(data.fit, graph=None)  # a student reads none
    if not needs_teacher(config.distillation):
        return _as_served(fit_examples, data), 0
    visits = data.fit.visits
    views, d, extra = committee_views(config, data), config.distillation, 0
    if visits is not None:
        visits = _served(visits, views)
        for make, share in ((_unlabelled, d.unlabelled), (_ahead, d.ahead)):
            if share > 0:
                more = _served(make(data, share, config.seed), views)
                visits, extra = join_visits(visits, more), extra + len(more.requests)
    examples = replace(fit_examples, visits=visits)
    folder = folder or run_dir / "soft"
    store = SoftStore.open(folder, _labels_key(config, run_dir, visits))
    made = store.bytes
    label(config, run_dir, examples, data, store, progress)
    if store.bytes > made:
        progress.say(f"labels: {store.bytes / 1e6:,.1f} MB in {folder.name}/, made in {store.seconds:,.0f} s")
    assert data.scratch is not None
    soft = read(store, data, data.scratch.folder_of("soft"))
    return replace(_as_served(examples, data), soft=soft), extra


def _as_served(examples: Examples, data: LearningData) -> Examples:
    """With the item statistics that the device has: those of the log's end, also of users whose own part ended before.

    Where time splits the log, requests keep the statistics of their time, since all who ask come after its end. So do
    shown rows, since an item's later rates hold the row's own outcome.
    """
    visits = examples.visits
    if visits is None or not data.by_user:
        return examples
    last = np.full(len(visits.requests), len(data.statistics.moments_ms) - 1)
    return replace(examples, visits=replace(visits, requests=replace(visits.requests, moment=last)))


def _labels_key(config: Config, run_dir: Path, visits: VisitExamples | None) -> str:
    """What labels depend on: the teacher, the log, and which requests are asked."""
    settings = config.model_dump(mode="json", include={"seed", "task", "evaluation", "committee"})
    teacher = run_dir / "teacher"
    files = (*sorted(teacher.glob("*.safetensors")), *sorted((teacher / COMMITTEE).glob(WEIGHTS)))
    dataset = (run_dir / "dataset" / "dataset.json").read_bytes()
    asked = [] if visits is None else [visits.requests.user, visits.requests.time_ms]
    requests = [np.ascontiguousarray(column).tobytes() for column in asked]
    return key_of(settings, config.student.max_history, dataset, *requests, *(path.read_bytes() for path in files))


def _unlabelled(data: LearningData, share: float, seed: int) -> VisitExamples:
    """Requests of the same users some time after a visit, whose outcome nobody knows."""
    assert data.fit.visits is not None
    log, end_ms = data.fit_log, int(data.statistics.moments_ms[-1])
    rng = np.random.default_rng((seed, 1))
    # With repetition: a visit may be followed by several of them.
    wanted = int(len(data.fit.visits.requests) * share)
    first = draw_visits(log, MOST_STARTS, rng)
    chosen = np.sort(rng.choice(first, wanted))
    after = _gaps(log, first, wanted, rng) if data.by_user else 7 * MS_PER_DAY * rng.integers(1, WEEKS + 1, wanted)
    time_ms = log.time_ms[chosen] + after
    chosen, time_ms = chosen[time_ms <= end_ms], time_ms[time_ms <= end_ms]
    return _without_outcome(data, chosen, time_ms)


def _ahead(data: LearningData, share: float, seed: int) -> VisitExamples:
    """Requests of the same users after the end of the log, or of their own part of it: where the student will be asked.

    What the whole teacher says of them is no leak: nothing that it saw tells their outcome.
    """
    assert data.fit.visits is not None
    log, end_ms = data.fit_log, int(data.statistics.moments_ms[-1])
    rng = np.random.default_rng((seed, 2))
    wanted, week = int(len(data.fit.visits.requests) * share), 7 * MS_PER_DAY
    first = draw_visits(log, MOST_STARTS, rng)
    if data.by_user:
        last = log.offsets[1:][np.diff(log.offsets) > 0] - 1
        chosen = np.sort(rng.choice(last, wanted))
        return _without_outcome(data, chosen, log.time_ms[chosen] + _gaps(log, first, wanted, rng))
    chosen = np.sort(rng.choice(first, wanted))
    weeks = -(-(end_ms - log.time_ms[chosen]) // week) + rng.integers(0, WEEKS, wanted)
    return _without_outcome(data, chosen, log.time_ms[chosen] + week * weeks)


def _gaps(log: Log, first: Int, n: int, rng: np.random.Generator) -> Int:
    """`n` draws of the time, in ms, from one of the visits that begin at the rows `first` to its user's next one."""
    following = log.ends_of_visits(first)
    followed = following < log.offsets[log.user[first] + 1]
    gaps = log.time_ms[following[followed]] - log.time_ms[first[followed]]
    return np.maximum(rng.choice(gaps, n), 1) if len(gaps) else np.full(n, MS_PER_DAY)


def _without_outcome(data: LearningData, first: Int, time_ms: Int) -> VisitExamples:
    """Requests like the visits that start at the rows `first`, but of other times."""
    assert data.fit.visits is not None
    log, none = data.fit_log, Ragged.empty(len(first))
    requests = make_requests(log, data.encoder, data.statistics, log, first, time_ms, time_ms, data.sequence)
    return VisitExamples(requests, none, dict.fromkeys(data.fit.visits.truth, none))


def _served(visits: VisitExamples, views: Views | None) -> VisitExamples:
    """The visits whose outcome the committee can judge without having seen it."""
    if views is None:
        return visits
    chosen = np.flatnonzero(views.serving(visits.requests) >= 0)
    truth = {name: lists.take(chosen) for name, lists in visits.truth.items()}
    return VisitExamples(visits.requests.take(chosen), visits.items.take(chosen), truth)
