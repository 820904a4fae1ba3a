"""Where simple rates tell a yes, a no or an amount better than the student, a bundle goes by them, alone or beside it.

Rates are what the student's inputs hold: the item's rate and those of its categories as of the request, the user's own
rates, and the rate of each value of the context. A weighted sum of them, and of the student's logit, has an exact form
in the student's weights: the item's part is an item prior, the request's part passes through units of its own to a
column of the item table that is the same for all items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from edgerec import metrics
from edgerec.bundle.manifest import FallbackEntry
from edgerec.ensemble import blend
from edgerec.examples.held_out import HeldOut, late_since
from edgerec.examples.load import LearningData
from edgerec.examples.requests import ImpressionExamples
from edgerec.metrics import Estimate
from edgerec.models.student import Student
from edgerec.models.widths import grown
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Double, Float
from edgerec.training.predictions import network_logits

__all__ = ["RateMix", "add_rates"]

SIGMAS = 1.645
"""Standard errors by which a mix must be better than the student, one-sided 95 %."""
LEAST_OF_CLASS = 20
"""Impressions with either label, in each half of the users: fewer tell nothing of how a score orders them."""
MOST_ROWS = 50_000
"""Impressions that are looked at."""
SMOOTHING = 20.0
"""Rows at the population's rate that are added to those of a value of the context."""
STUDENT = "student"
NEGLIGIBLE = 0.02
"""A part that moves the sum by less than this many standard deviations of it is left out."""


@dataclass(frozen=True)
class RatePart:
    """A number of each impression that the student can say exactly.

    Attributes:
        name: in words. kind: "student" (its logit), "item" (column `place` of the item statistics), "own" (column
            `place` of the numeric input) or "context" (`table`, of the values of categorical input `place`).
        values: float64 (R,), of the impressions that are looked at.
    """

    name: str
    kind: str
    place: int
    values: Double
    table: Double | None = None


@dataclass(frozen=True)
class RateMix:
    """What tells a task: ``offset`` and the sum of `parts`, each times its weight, not negative."""

    parts: tuple[RatePart, ...]
    weights: tuple[float, ...]
    offset: float

    @property
    def student(self) -> float:
        """Weight of the student's logit."""
        return sum(w for part, w in zip(self.parts, self.weights, strict=True) if part.kind == STUDENT)

    def scores(self) -> Double:
        """Logits, or standardised logs, of the impressions that are looked at, (R,)."""
        each = (w * part.values for part, w in zip(self.parts, self.weights, strict=True))
        return np.asarray(sum(each, np.float64(self.offset)) + np.zeros(len(self.parts[0].values)))

    def take(self, rows: slice | np.ndarray) -> RateMix:
        """The same of some of the impressions."""
        return replace(self, parts=tuple(replace(part, values=part.values[rows]) for part in self.parts))


def add_rates(student: Student, data: LearningData, held: HeldOut) -> tuple[Student, dict[str, FallbackEntry]]:
    """The student with simple rates in those tasks that they tell better beyond chance; which, by task.

    A conditional task stays as it is: what it comes after has changed for it.
    """
    found = dict[str, FallbackEntry]()
    rows = _asked(held, data)
    if rows is None:
        return student, found
    given = student
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval" or task.after is not None:
            continue
        best = _JudgedRows(i, task, data, given, held, rows, _halves(rows)).best()
        if best is not None:
            mix, found[task.name] = best
            student = applied(student, mix, data, i)
    return student, found


def _asked(held: HeldOut, data: LearningData) -> ImpressionExamples | None:
    """The impressions that are held out, as a bundle is asked."""
    rows = held.impressions
    if rows is None or not len(rows.item):
        return None
    if len(rows.item) > MOST_ROWS:
        rows = rows.take(np.linspace(0, len(rows.item) - 1, MOST_ROWS).astype(np.int64))
    if data.by_user:
        return rows
    # A bundle knows of its items what was known when its training rows ended.
    last = data.statistics.as_of_before(late_since(data)[:1])
    return replace(rows, requests=replace(rows.requests, as_of=np.minimum(rows.requests.as_of, last)))


def _halves(rows: ImpressionExamples) -> tuple[np.ndarray, np.ndarray]:
    """Places of the impressions of every second user, and of the others: those of one user are alike."""
    number = np.unique(rows.requests.user, return_inverse=True)[1]
    return np.flatnonzero(number % 2 == 0), np.flatnonzero(number % 2 == 1)


@dataclass(frozen=True)
class _JudgedRows:
    """Impressions of one task.

    Attributes:
        index: the task's. halves: places of the impressions of every second user, and of the others.
    """

    index: int
    task: Task
    data: LearningData
    student: Student
    held: HeldOut
    rows: ImpressionExamples
    halves: tuple[np.ndarray, np.ndarray]

    def best(self) -> tuple[RateMix, FallbackEntry] | None:
        """The best mix, if it is better than the student beyond chance, and what to say of it.

        Each half is told by the mix that was chosen and fitted on the other one: the best of many looks better on what
        chose it than it is. What is kept is chosen and fitted on both.
        """
        if not self._enough():
            return None
        everything, scores = np.arange(len(self._label)), np.zeros(len(self._label))
        for chooses, judges in (self.halves, self.halves[::-1]):
            scores[judges] = self._chosen(chooses).scores()[judges]
        ours, theirs = self._measured(scores), self._measured(self._parts[0].values)
        gain = ours.minus(theirs)
        if not gain.value > SIGMAS * gain.se:
            return None
        mix = self._chosen(everything)
        return mix, self._entry(mix, ours, theirs)

    def _chosen(self, places: np.ndarray) -> RateMix:
        """The best mix on the impressions `places`."""
        return max((self._fitted(parts, places) for parts in self._options()), key=lambda mix: self._value(mix, places))

    def _enough(self) -> bool:
        """Whether both halves have impressions to order."""
        if self.task.kind == "regression":
            return all(len(np.unique(self._label[half])) > LEAST_OF_CLASS for half in self.halves)
        positives = [self._label[half].sum() for half in self.halves]
        each = zip(self.halves, positives, strict=True)
        return all(min(n, len(half) - n) >= LEAST_OF_CLASS for half, n in each)

    def _options(self) -> Iterator[Sequence[RatePart]]:
        """Sets of parts: all with the student and without, and a few simple ones that are surer of their weights."""
        parts = self._parts
        item = [part for part in parts if part.kind == "item"]
        own = [part for part in parts if part.kind == "own"]
        yield parts
        yield parts[1:]
        for some in (item, own, [*item, *own], [parts[0], *item], [parts[0], *own]):
            if some:
                yield some

    def _fitted(self, parts: Sequence[RatePart], places: np.ndarray) -> RateMix:
        """The weights that fit the impressions `places` best; parts that hardly matter are left out."""
        fit = blend.logistic if self.task.kind == "binary" else blend.linear
        while True:
            values = np.stack([part.values[places] for part in parts])
            weights, offset = fit(values, self._label[places].astype(np.float32))
            keep = weights * values.std(axis=1) >= NEGLIGIBLE * max(float((weights @ values).std()), 1e-9)
            if keep.all() or not keep.any():
                return RateMix(tuple(parts), tuple(weights.tolist()), float(offset))
            parts = [part for part, kept in zip(parts, keep, strict=True) if kept]

    def _value(self, mix: RateMix, places: np.ndarray) -> float:
        quality = metrics.auc if self.task.kind == "binary" else metrics.xauc
        return quality(self._label[places], mix.scores()[places])

    @property
    def _metric(self) -> str:
        return "auc" if self.task.kind == "binary" else "xauc"

    def _measured(self, scores: Double) -> Estimate:
        compute = metrics.auc_metrics if self.task.kind == "binary" else metrics.regression_metrics
        return compute(self._label, scores, self.rows.requests.user)[self._metric]

    def _entry(self, mix: RateMix, ours: Estimate, theirs: Estimate) -> FallbackEntry:
        rates = [(w, part) for part, w in zip(mix.parts, mix.weights, strict=True) if part.kind != STUDENT]
        kinds = {part.kind for _, part in rates}
        name = {frozenset({"item"}): "item_rate", frozenset({"own"}): "own_rate"}.get(frozenset(kinds), "rates")
        words = " + ".join(f"{w:.2g} {part.name}" for w, part in sorted(rates, key=lambda each: -each[0])[:6])
        return FallbackEntry(name, words, mix.student > 0, True, self._metric, ours.value, theirs.value, ours.n)

    # -------------------------------------------------------------------------------------------- parts

    @cached_property
    def _label(self) -> Float:
        """0 or 1, or standardised logs."""
        return np.asarray(self.rows.labels[self.task.name])

    @cached_property
    def _parts(self) -> list[RatePart]:
        """The student's logit, then all rates that differ among the impressions."""
        data, requests = self.data, self.rows.requests
        everything = np.arange(len(self.rows.item))
        logits = network_logits(self.student, data, requests, self.rows.item, everything)
        parts = [RatePart("what the student learned", STUDENT, 0, logits[:, self.index].astype(np.float64))]
        for column, name in enumerate(data.statistics.names):
            what, _, of = name.partition(f"rate.{self.task.name}.")
            if not what and of:
                values = data.statistics.values[requests.as_of, self.rows.item, column].astype(np.float64)
                parts.append(RatePart(f"rate of {of}", "item", column, values))
        numbers = requests.numeric(everything)
        for column, name in enumerate(data.encoder.numeric_names[: numbers.shape[1]]):
            if name.startswith("rate.") and (name == f"rate.{self.task.name}" or self.task.kind == "regression"):
                parts.append(
                    RatePart(f"own {name.replace('.', ' of ')}", "own", column, numbers[:, column].astype(float))
                )
        for place, categorical in enumerate(data.encoder.categorical):
            if categorical.source != "user":
                table = self._table(place, len(categorical.values) + 1)
                values = table[requests.categorical[:, place]]
                parts.append(RatePart(f"rate of {categorical.name}", "context", place, values, table))
        return [parts[0], *(part for part in parts[1:] if np.ptp(part.values) > 1e-6)]

    def _table(self, place: int, size: int) -> Double:
        """Of each value of a categorical input the smoothed rate of what is not held out, less the population's."""
        log, name = self.data.train_log, self.task.name
        rows, sums = np.zeros(size), np.zeros(size)
        for start, end in log.pieces():
            known = log.time_ms[start:end] < self.held.since_ms[log.user[start:end]]
            value = log.categorical[start:end, place][known]
            label = log.labels[name][start:end][known].astype(np.float64)
            if self.task.kind == "regression":
                label = self.data.scales[name].apply(label.astype(np.float32)).astype(np.float64)
            rows += np.bincount(value, minlength=size)
            sums += np.bincount(value, label, size)
        mean = float(sums.sum() / max(rows.sum(), 1))
        rate = (sums + SMOOTHING * mean) / (rows + SMOOTHING)
        if self.task.kind == "regression":
            return np.asarray(rate - mean)
        rate, mean = np.clip(rate, 1e-5, 1 - 1e-5), float(np.clip(mean, 1e-5, 1 - 1e-5))
        return np.asarray(np.log(rate / (1 - rate)) - np.log(mean / (1 - mean)))


def applied(student: Student, mix: RateMix, data: LearningData, task: int) -> Student:
    """A student whose logits of the task are the mix, by its weights."""
    request = [(w, part) for w, part in zip(mix.weights, mix.parts, strict=True) if part.kind in ("own", "context")]
    student = grown(student, data.features, **(dict.fromkeys(("inner", "context", "head"), 2) if request else {}))
    if mix.student:
        student.rescale(task, mix.student, 0.0)
    else:
        student.silence(task)
    with torch.no_grad():
        student.items.prior.last.bias[task] += mix.offset
        for weight, part in zip(mix.weights, mix.parts, strict=True):
            if part.kind == "item":
                student.items.direct[task, part.place] += weight
    return _with_request_part(student, data, task, request) if request else student


def _with_request_part(
    student: Student, data: LearningData, task: int, parts: Sequence[tuple[float, RatePart]]
) -> Student:
    """Let the sum of `parts` through the last two units of each layer, as its positive and its negative part."""
    student, constant = _with_constant(student, data)
    tower, dim = student.requests, student.sizes.dim
    context, head = tower.context, tower.head
    with torch.no_grad():
        for unit, sign in ((-2, 1.0), (-1, -1.0)):
            for weight, part in parts:
                if part.table is None:
                    context.numbers.weight[unit, part.place] += sign * weight
                else:
                    first = int(context.category.first[part.place])
                    rows = slice(first, first + len(part.table))
                    context.category.table.weight[rows, unit] += sign * weight * torch.from_numpy(part.table).float()
            context.out.weight[unit, unit] = 1.0
            head.first.weight[unit, student.sizes.context + unit] = 1.0
            head.last.weight[task * dim + dim - 1, unit] = sign / constant
    return student


def _with_constant(student: Student, data: LearningData) -> tuple[Student, float]:
    """The student with a last column of the item table that is the same for all items, and its value.

    It is no longer than what is there, so that the table's other columns are rounded as before.
    """
    last = student.items.from_numbers.last
    with torch.no_grad():
        table, _ = student.encode_items(data.as_of(-1))
        if bool((table[:, -1] == table[0, -1]).all()) and float(table[0, -1]) > 0 and not last.weight[-1].any():
            return student, float(table[0, -1])
        constant = float(table.abs().amax(dim=1).median().clamp(min=0.05))
        student = grown(student, data.features, dim=1)
        student.items.from_numbers.last.bias[-1] = constant
    return student, constant
