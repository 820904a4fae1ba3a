"""The student stage: label with cross-fitted teachers, then train the student on their labels and the log's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgerec.config import Config
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress, Track
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.batches import Examples, JointBatches, SoftLabels
from edgerec.training.calibration import fit_expectation
from edgerec.training.checkpoint import save_student
from edgerec.training.committee.committee import Committee
from edgerec.training.committee.views import Views
from edgerec.training.examples import Ragged, Requests, VisitExamples, draw_visits, join_visits, make_requests
from edgerec.training.folds import by_fold
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.loop import LoopSettings, OnEpoch, fit
from edgerec.training.network import AT_ONCE, network_rows
from edgerec.training.scratch import AT_ONCE as AT_ONCE_ROWS
from edgerec.training.scratch import pieces
from edgerec.training.statistics import MS_PER_DAY
from edgerec.training.teacher import batch_settings, committee_views, load_committee, work_folder

MOST_STARTS = 1_000_000
"""Visits that the unlabelled requests are drawn beside."""
WEEKS = 4
"""An unlabelled request comes up to this many weeks after a visit, at the same hour and weekday."""


@dataclass(frozen=True)
class StudentReport:
    """What distillation made: parameters of the student, what it learned from, and whether a teacher labelled that."""

    labelled: bool
    parameters: int
    visits: int
    unlabelled: int
    rows: int

    def lines(self) -> Sequence[str]:
        """For the screen."""
        by = "all labelled by teachers that did not see their user" if self.labelled else "by the log's labels alone"
        return [
            f"student: {self.parameters:,} parameters, learned from {self.visits:,} visits, {self.unlabelled:,} "
            f"requests without an outcome and {self.rows:,} shown rows, {by}"
        ]


def distill(config: Config, run_dir: Path, progress: Progress) -> StudentReport:
    """Train the student of a run; goes on where an earlier call was stopped."""
    work = work_folder(run_dir, "student", config, ("teacher", "student", "distillation"))
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    examples, unlabelled = soft_examples(config, run_dir, data, progress)
    student = new_student(config, data)
    train_student(config, data, examples, student, config.distillation.epochs, work / "student", progress, "student")
    out = run_dir / "student"
    shutil.rmtree(out, ignore_errors=True)
    save_student(student, out, {"expectations": expectations(student, data)})
    for log in work.glob("*-log"):
        log.rename(out / log.name)
    shutil.rmtree(work)
    return StudentReport(
        labelled=examples.soft is not None,
        parameters=sum(p.numel() for p in student.parameters()),
        visits=0 if examples.visits is None else len(examples.visits.requests) - unlabelled,
        unlabelled=unlabelled,
        rows=0 if data.fit.rows is None else len(data.fit.rows.item),
    )


def new_student(config: Config, data: LearningData) -> Student:
    """An untrained student, the same for the same seed."""
    torch.manual_seed(config.seed)
    s = config.student
    sizes = StudentSizes.of(s.dim, s.hidden, s.heads)
    return Student(data.shape, data.features, len(scored_tasks(data.tasks)), sizes, config.distillation.dropout)


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
    settings = replace(batch_settings(config, data, d.history_dropout), visits_per_epoch=d.visits_per_epoch)
    loop = LoopSettings(
        epochs,
        d.learning_rate,
        d.weight_decay,
        None,
        d.soft_share,
        d.temperature,
        keep_last=True,
        training=config.training,
    )
    train_batches = JointBatches(examples, settings, config.seed)
    held = None if on_epoch is None else JointBatches(data.held, settings, config.seed, train=False)
    fit(student, data.tasks, train_batches, held, loop, folder, progress, title, on_epoch)


def soft_examples(
    config: Config, run_dir: Path, data: LearningData, progress: Progress, work: Path | None = None
) -> tuple[Examples, int]:
    """The fit examples with a teacher's labels and with unlabelled requests, and how many of the latter there are.

    Labels are kept in `work`, or else under ``work/soft-*`` of the run, and made again only for another teacher,
    dataset or number of requests.
    """
    fit_examples = replace(data.fit, graph=None)  # a student reads none
    if config.distillation.soft_share == 0:
        return fit_examples, 0
    visits = data.fit.visits
    extra = None
    views = committee_views(config, data)
    if visits is not None:
        visits = _served(visits, views)
    if visits is not None and config.distillation.unlabelled > 0:
        extra = _served(_unlabelled(data, config.distillation.unlabelled, config.seed), views)
        visits = join_visits(visits, extra)
    examples = replace(fit_examples, visits=visits)
    work = work or work_folder(run_dir, "soft", config, ("teacher", "committee", "distillation"))
    soft = _label(config, run_dir, examples, data, work, progress)
    return replace(examples, soft=soft), 0 if extra is None else len(extra.requests)


def expectations(student: Student, data: LearningData) -> dict[str, dict[str, float]]:
    """Calibration of every regression task on the last fifth of the fit rows.

    Returns:
        By task: "slope" and "offset", see `fit_expectation`, and "cap", the largest label, in the label's unit.
    """
    rows = data.fit.rows
    if rows is None:
        return {}
    latest = _latest_fifth(rows.requests)
    logits = network_rows(student.eval(), data, rows.requests, rows.item, latest)
    found = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "regression":
            scale = data.scales[task.name]
            labels = np.expm1(rows.labels[task.name][latest].astype(np.float64) * scale.std + scale.mean)
            slope, offset = fit_expectation(logits[:, i].astype(np.float64), labels)
            found[task.name] = {"slope": slope, "offset": offset, "cap": float(labels.max())}
    return found


def _latest_fifth(requests: Requests) -> Int:
    """Places of the latest fifth of the requests, ascending; of very many an even part of them."""
    every = np.arange(0, len(requests), -(-len(requests) // AT_ONCE_ROWS))
    latest = np.argsort(requests.time_ms[every], kind="stable")[-max(len(every) // 5, 1) :]
    return np.sort(every[latest])


def _unlabelled(data: LearningData, share: float, seed: int) -> VisitExamples:
    """Requests of the same users whole weeks after a visit, whose outcome nobody knows."""
    assert data.fit.visits is not None
    log, end_ms = data.fit_log, int(data.statistics.moments_ms[-1])
    rng = np.random.default_rng((seed, 1))
    # With repetition: a visit may be followed by several of them.
    wanted = int(len(data.fit.visits.requests) * share)
    first = draw_visits(log, MOST_STARTS, rng)
    chosen = np.sort(rng.choice(first, wanted))
    time_ms = log.time_ms[chosen] + 7 * MS_PER_DAY * rng.integers(1, WEEKS + 1, len(chosen))
    chosen, time_ms = chosen[time_ms <= end_ms], time_ms[time_ms <= end_ms]
    requests = make_requests(log, data.encoder, data.statistics, log, chosen, time_ms, time_ms, data.sequence)
    none = Ragged.empty(len(chosen))
    return VisitExamples(requests, none, dict.fromkeys(data.fit.visits.truth, none))


def _label(
    config: Config, run_dir: Path, examples: Examples, data: LearningData, work: Path, progress: Progress
) -> SoftLabels:
    visits, rows = examples.visits, examples.rows
    total = (0 if visits is None else len(visits.requests)) + (0 if rows is None else len(rows.item))
    complete = work / "complete"
    if not complete.exists():
        committee = load_committee(config, run_dir, data)
        with progress.track(total, "labels") as done:
            if visits is not None and committee.retrieval:
                _label_visits(visits, committee, work / "visits.npy", done)
            if rows is not None:
                _label_rows(examples, committee, work / "rows.npy", done)
            if any(t.kind == "related" for t in data.tasks):
                np.save(work / "related.npy", _label_related(committee))
        complete.touch()
    # Mapped, not read: an epoch touches a random part of them.
    kept = {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in work.glob("*.npy")}
    return SoftLabels(kept.get("visits"), kept.get("rows"), kept.get("related"))


def _label_visits(visits: VisitExamples, committee: Committee, path: Path, done: Track) -> None:
    """Write the log-shares of every item for every retrieval task, centred, float16 (R, tasks, N)."""
    requests = visits.requests
    shape = (len(requests), len(committee.retrieval), committee.data.n_items)
    soft = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    serving = np.full(len(requests), -1) if committee.views is None else committee.views.serving(requests)
    for view in np.unique(serving).tolist():
        for f, members in by_fold(requests.user, len(committee.networks)):
            mine = members[serving[members] == view]
            for chosen in np.array_split(mine, -(-len(mine) // AT_ONCE)) if len(mine) else ():
                shares = committee.log_shares(requests, chosen, view, f)
                soft[chosen] = (shares - shares.mean(axis=2, keepdims=True)).astype(np.float16)
                done.advance(len(chosen))
    soft.flush()


def _label_rows(examples: Examples, committee: Committee, path: Path, done: Track) -> None:
    """Write probabilities of binary tasks and logits of regression tasks, float32 (R, T)."""
    rows, trees = examples.rows, committee.members.boosting
    assert rows is not None
    binary = [i for i, t in enumerate(committee.tasks) if t.kind == "binary"]
    soft = np.lib.format.open_memmap(path, "w+", np.float32, (len(rows.item), len(committee.tasks)))
    for start, end in pieces(len(rows.item)):
        piece = np.arange(start, end)
        network = np.zeros((len(piece), len(committee.tasks)), np.float32)
        for f, mine in by_fold(rows.requests.user[start:end], len(committee.networks)):
            model = committee.networks[f]
            network[mine] = network_rows(model, committee.data, rows.requests, rows.item, piece[mine], done)
        found = committee.blend_rows(network, None if trees is None else trees.fit_rows(piece))
        found[:, binary] = np.exp(found[:, binary])
        soft[start:end] = found
    soft.flush()


def _label_related(committee: Committee) -> npt.NDArray[np.float16]:
    """Scores of every pair of items at the last moment by all models: sessions have no single owner."""
    n = committee.data.n_items
    parts = np.array_split(np.arange(n), -(-n // AT_ONCE))
    scores = np.concatenate([committee.related(query) for query in parts])
    centred: npt.NDArray[np.float16] = (scores - scores.mean(axis=1, keepdims=True)).astype(np.float16)
    return centred


def _served(visits: VisitExamples, views: Views | None) -> VisitExamples:
    """The visits whose outcome the committee can judge without having seen it."""
    if views is None:
        return visits
    chosen = np.flatnonzero(views.serving(visits.requests) >= 0)
    truth = {name: lists.take(chosen) for name, lists in visits.truth.items()}
    return VisitExamples(visits.requests.take(chosen), visits.items.take(chosen), truth)
