"""Calibrate a trained student in place: its probabilities, its rankings, and its expected regression targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.examples.requests import ImpressionExamples, Requests, SessionExamples
from edgerec.models.student import Student
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.calibration import fit_expectation, fit_odds, fit_temperature
from edgerec.training.joint import exclude_history
from edgerec.training.predictions import group_by_as_of, network_logits

MOST_LOGITS = 4_000_000
"""Held in memory while a ranking is calibrated."""
LEAST_ROWS, LEAST_OF_CLASS, LEAST_REQUESTS = 400, 20, 60
"""Held out, with either label of a binary task, and with a true item: fewer tell less than many that were learned from.
"""
MOST_REQUESTS = 250_000
"""Of more requests an even sample is looked at: two numbers a task are known well by then."""


def calibrated(student: Student, data: LearningData, seed: int) -> dict[str, dict[str, float]]:
    """Calibrate a student in place on what it did not learn from, see `calibrate`."""
    held = HeldOut.of(data, seed)
    return calibrate(student, data, held.sessions, held.impressions)


def calibrate(
    student: Student,
    data: LearningData,
    sessions: SessionExamples | None = None,
    impressions: ImpressionExamples | None = None,
) -> dict[str, dict[str, float]]:
    """Calibrate every task in place; regression is left to `expectations`.

    Args:
        sessions, impressions: what the student did not learn from, where it looks less sure than it is of what it
            knows; for a task of which they hold too little, the latest fifth of what it learned from.
    Returns:
        See `expectations`.
    """
    if impressions is not None and len(impressions.item) < LEAST_ROWS:
        impressions = None
    _calibrate_rows(student.eval(), data, impressions)
    _calibrate_rankings(student, data, sessions)
    return expectations(student, data, impressions)


def _calibrate_rows(student: Student, data: LearningData, held_out: ImpressionExamples | None) -> None:
    """Calibrate the odds of binary tasks; a conditional task comes after its condition."""
    tasks = scored_tasks(data.tasks)
    if data.train.impressions is None:
        return
    place = {t.name: i for i, t in enumerate(tasks)}
    binary = [t for t in tasks if t.kind == "binary"]
    told = [t.name for t in binary if held_out is not None and _tells(held_out.labels[t.name])]
    rows = {held: _RatedRows.of(student, data, held_out if held else None) for held in {t.name in told for t in binary}}
    done: dict[str, tuple[float, float]] = {}

    def probability(task: Task | None, among: _RatedRows) -> npt.NDArray[np.float64]:
        """Of a calibrated task, and of what it comes after."""
        if task is None:
            return np.ones(len(among.logits))
        slope, offset = done[task.name]
        odds = slope * among.logits[:, place[task.name]] + offset
        return np.asarray(probability(condition(task), among) * expit(odds))

    def condition(task: Task) -> Task | None:
        return next((t for t in binary if t.name == task.after), None)

    while len(done) < len(binary):
        for task in binary:
            if task.name in done or (task.after is not None and task.after not in done):
                continue
            i, among = place[task.name], rows[task.name in told]
            labels = among.rows.labels[task.name][among.chosen].astype(np.float64)
            done[task.name] = fit_odds(among.logits[:, i], probability(condition(task), among), labels)
    for name, (slope, offset) in done.items():
        student.rescale(place[name], slope, offset)


def _tells(labels: npt.NDArray[np.float32]) -> bool:
    positive = int((labels > 0.5).sum())
    return min(positive, len(labels) - positive) >= LEAST_OF_CLASS


@dataclass(frozen=True)
class _RatedRows:
    """Impressions `chosen` of `rows`, and the student's logits of them as it was trained, (R, T)."""

    rows: ImpressionExamples
    chosen: Int
    logits: npt.NDArray[np.float64]

    @classmethod
    def of(cls, student: Student, data: LearningData, held_out: ImpressionExamples | None) -> _RatedRows:
        """What is held out, or the latest fifth of what was learned from."""
        assert data.train.impressions is not None
        rows, chosen = _chosen(data.train.impressions, held_out)
        logits = network_logits(student, data, rows.requests, rows.item, chosen)
        return cls(rows, chosen, logits.astype(np.float64))


def _calibrate_rankings(student: Student, data: LearningData, held_out: SessionExamples | None) -> None:
    """Calibrate how far the best items of a ranking stand above the others."""
    n_seen, learned = data.train.n_seen, data.train.sessions
    if learned is None:
        return
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval":
            continue
        tells = held_out is not None and (held_out.truth[task.name].sizes() > 0).sum() >= LEAST_REQUESTS
        sessions = held_out if held_out is not None and tells else learned
        latest = np.arange(len(sessions.requests)) if tells else _latest_fifth(sessions.requests)
        latest = latest[:: -(-len(latest) * n_seen // MOST_LOGITS)]
        truth = sessions.truth[task.name].take(latest)
        chosen = latest[truth.sizes() > 0]
        if not len(chosen):
            continue
        truth = sessions.truth[task.name].take(chosen)
        logits = np.zeros((len(chosen), n_seen), np.float32)
        with torch.inference_mode():
            for items, places in group_by_as_of(student, data, sessions.requests, chosen):
                batch = sessions.requests.batch(chosen[places])
                scores = student.score_catalog(batch, items, [i])[:, 0]
                scores = exclude_history(scores, batch) if task.repeats == "exclude" else scores
                logits[places] = scores[:, :n_seen].numpy()
        probs = np.zeros_like(logits)
        probs[truth.owner(), truth.values] = 1 / truth.sizes()[truth.owner()]
        student.rescale(i, fit_temperature(logits, probs), 0.0)


def expectations(
    student: Student, data: LearningData, held_out: ImpressionExamples | None = None
) -> dict[str, dict[str, float]]:
    """Calibration of every regression task on what is held out, or else on the last fifth of the training rows.

    Returns:
        By task: "slope" and "offset", see `fit_expectation`, and "cap", the largest label, in the label's unit.
    """
    if data.train.impressions is None:
        return {}
    rows, chosen = _chosen(data.train.impressions, held_out)
    logits = network_logits(student.eval(), data, rows.requests, rows.item, chosen)
    latest = _latest_fifth(data.train.impressions.requests)
    calibrations = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "regression":
            labels = _in_unit(rows, task.name, chosen, data)
            slope, offset = fit_expectation(logits[:, i].astype(np.float64), labels)
            cap = float(_in_unit(data.train.impressions, task.name, latest, data).max())
            calibrations[task.name] = {"slope": slope, "offset": offset, "cap": cap}
    return calibrations


def _chosen(rows: ImpressionExamples, held_out: ImpressionExamples | None) -> tuple[ImpressionExamples, Int]:
    """The impressions that calibrate, and which of them."""
    if held_out is not None:
        return held_out, np.arange(len(held_out.item))
    return rows, _latest_fifth(rows.requests)


def _in_unit(rows: ImpressionExamples, task: str, chosen: Int, data: LearningData) -> npt.NDArray[np.float64]:
    """Labels of a regression task in their own unit."""
    scale = data.scales[task]
    return np.expm1(rows.labels[task][chosen].astype(np.float64) * scale.std + scale.mean)


def _latest_fifth(requests: Requests) -> Int:
    """Indices of the latest fifth of the requests, ascending; of very many requests, an even sample."""
    every = np.arange(0, len(requests), -(-len(requests) // MOST_REQUESTS))
    latest = np.argsort(requests.time_ms[every], kind="stable")[-max(len(every) // 5, 1) :]
    return np.sort(every[latest])
