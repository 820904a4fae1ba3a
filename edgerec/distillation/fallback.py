"""Where simple parts rank better than the student, a bundle ranks by them, alone or beside what the student learned.

Parts are what the student's own form can say: popularity at an age, what the user had before, the share of the user's
past that an item's category has, and short lists of items that go with each item (EASE, item-kNN, co-occurrence). All
are judged on requests that the student did not learn from, and on those the parts have not seen the outcome either.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from edgerec import metrics
from edgerec.bundle.manifest import RANKED, FallbackEntry
from edgerec.distillation.parts import CategoryPart, ListPart, category_parts, list_parts, popularity_column
from edgerec.distillation.rates import add_rates
from edgerec.examples.held_out import HeldOut, late_since
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.examples.statistics import POPULARITY_HALF_LIVES
from edgerec.metrics import Estimate, duration, top_k
from edgerec.models.student import Student
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.calibration import fit_temperature
from edgerec.training.joint import exclude_history
from edgerec.training.losses import NEVER
from edgerec.training.predictions import group_by_as_of

__all__ = ["fall_back"]

SIGMAS = 1.645
"""Standard errors by which a mix must be better than the student, one-sided 95 %."""
HINT = 0.5
"""Standard errors of its own gain by which a part must be better to join the mix; the mix is tested as a whole."""
K = 10
PARTS = 3
"""Beside the student, or in its place."""
DIFFERENT = 10
"""Requests that two rankings must answer differently well: below, what looks sure is a few lucky hits."""


@dataclass(frozen=True)
class PartMix:
    """What ranks a task: the sum of its parts.

    Attributes:
        student: slope of the student's logits; 0 leaves it out. repeat: what past items add to their own logits stays.
        popularity: days of the half-life and weight. category, listed: place of the part and weight.
    """

    student: float = 0.0
    repeat: bool = False
    popularity: tuple[float, float] | None = None
    category: tuple[int, float] | None = None
    listed: tuple[int, float] | None = None


def fall_back(student: Student, data: LearningData, seed: int) -> tuple[Student, dict[str, FallbackEntry]]:
    """The student with simple parts in those tasks that they do better beyond chance; which, by task.

    A student that has no room for a part grows. The student must not have learned from what `HeldOut` holds, with the
    same seed. An entry that is not `used` names what ranks better and cannot be said in the student's form.
    """
    held = HeldOut.of(data, seed)
    student, ranked = _add_parts(student, data, held)
    student, told = add_rates(student, data, held)
    return student, ranked | told


def _add_parts(student: Student, data: LearningData, held: HeldOut) -> tuple[Student, dict[str, FallbackEntry]]:
    """The same of retrieval tasks."""
    found = dict[str, FallbackEntry]()
    asked = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        of_task = held.asked(task, data)
        if of_task is not None:
            asked[i] = task, *of_task
    if not asked:
        return student, found
    categories, lists = category_parts(data), list_parts(data, held.known_until(data))
    for i, (task, requests, truth) in asked.items():
        judged = _Judged(i, task, data, student, requests, truth, categories, lists)
        mix, entry = judged.best()
        if entry is not None:
            found[task.name] = entry
        if mix is not None:
            student = judged.applied(mix)
    return student, found


@dataclass(frozen=True)
class _Judged:
    """Requests of one task that each have a true item; `index` is the task's."""

    index: int
    task: Task
    data: LearningData
    student: Student
    requests: Requests
    truth: list[Int]
    categories: Sequence[CategoryPart]
    lists: Sequence[ListPart]

    # -------------------------------------------------------------------------------------------- choosing

    def best(self) -> tuple[PartMix | None, FallbackEntry | None]:
        """The best mix, if it is better than the student, and what to say of it; None where the student stays.

        It is chosen on every second request and judged on the others: the best of many looks better than it is. Where
        that leaves it open, so is one that is chosen on the others, and all of them together decide.
        """
        halves = self._half(0), self._half(1)
        mix = halves[0]._chosen()
        own, ndcg = halves[1]._ndcg(halves[1]._student), halves[1]._ndcg(halves[1]._scores(mix))
        gain = ndcg.minus(own)
        if not _surely_better(ndcg, own) and gain.value > HINT * gain.se:
            own = _together(own, halves[0]._ndcg(halves[0]._student))
            ndcg = _together(ndcg, halves[0]._ndcg(halves[0]._scores(halves[1]._chosen())))
            if _surely_better(ndcg, own):
                mix = self._chosen()
        if _surely_better(ndcg, own):
            return mix, self._entry(mix, ndcg, own)
        return None, self._out_of_reach(self._ndcg(self._student))

    def _half(self, first: int) -> _Judged:
        """Judged on every second request."""
        places = np.arange(first, len(self.truth), 2)
        return replace(self, requests=self.requests.take(places), truth=[self.truth[i] for i in places])

    def _chosen(self) -> PartMix:
        """The best mix on these requests."""
        starts = [PartMix(student=self._slope), PartMix()]
        starts += [PartMix(repeat=True)] if self.task.repeats == "allow" else []
        return max((self._grown(start) for start in starts), key=lambda each: each[1].value)[0]

    def _grown(self, mix: PartMix) -> tuple[PartMix, Estimate]:
        """The mix with the parts that make it better, one after the other."""
        scores = self._scores(mix)
        now = self._ndcg(scores)
        for _ in range(PARTS):
            each = [(more, self._ndcg(scores + added)) for more, added in self._options(mix)]
            if not each:
                break
            more, ndcg = max(each, key=lambda option: option[1].value)
            gain = ndcg.minus(now)
            if not gain.value > HINT * gain.se:
                break
            mix, now, scores = more, ndcg, self._scores(more)
        return mix, now

    def _options(self, mix: PartMix) -> Iterator[tuple[PartMix, Float]]:
        """The mix with one more part each, and what the part adds."""
        alone = mix == PartMix()
        if mix.popularity is None:
            for days in POPULARITY_HALF_LIVES:
                for weight in (1.0,) if alone else (0.25, 0.5, 1.0):
                    part = (days, weight)
                    yield replace(mix, popularity=part), self._popularity(*part)
        if not mix.student and mix.popularity is None:
            return  # other parts say nothing of most items
        if mix.category is None:
            for place in range(len(self.categories)):
                for weight in (1.0, 3.0, 6.0):
                    yield replace(mix, category=(place, weight)), np.float32(weight) * self._shares[place]
        if mix.listed is None and self.student.transitions is None:
            for place in range(len(self.lists)):
                for weight in (0.5, 1.5, 5.0):
                    yield replace(mix, listed=(place, weight)), np.float32(weight) * self._listed[place]

    def _scores(self, mix: PartMix) -> Float:
        """Scores of known items, (n, N), `NEVER` for what may not be listed."""
        scores = np.zeros_like(self._student) + self._never
        if mix.student:
            scores += np.float32(mix.student) * np.where(self._never, 0, self._student)
        if mix.repeat:
            scores += self._repeats
        if mix.popularity is not None:
            scores += self._popularity(*mix.popularity)
        if mix.category is not None:
            scores += np.float32(mix.category[1]) * self._shares[mix.category[0]]
        if mix.listed is not None:
            scores += np.float32(mix.listed[1]) * self._listed[mix.listed[0]]
        return scores

    def _ndcg(self, scores: Float) -> Estimate:
        top = top_k(scores, min(K, scores.shape[1]))
        return metrics.ranking_metrics(top, self.truth, scores.shape[1], self._excluded, (K,))[f"ndcg@{K}"]

    def _entry(self, mix: PartMix, ndcg: Estimate, own: Estimate) -> FallbackEntry:
        words = []
        name = "recent_popularity"
        if mix.popularity is not None:
            days, weight = mix.popularity
            words.append(f"{weight:g} popularity of half-life {duration(24 * days)}")
        if mix.repeat:
            name = "own_frequency"
            words.append("what the user had")
        if mix.category is not None:
            name = "category_popularity"
            words.append(f"{mix.category[1]:g} share of {self.categories[mix.category[0]].name}")
        if mix.listed is not None:
            name = self.lists[mix.listed[0]].name
            words.append(f"{mix.listed[1]:g} lists of {self.lists[mix.listed[0]].item.shape[1]} items")
        return FallbackEntry(name, " + ".join(words), mix.student > 0, True, RANKED, ndcg.value, own.value, ndcg.n)

    def _out_of_reach(self, own: Estimate) -> FallbackEntry | None:
        """A whole matrix between items that ranks better and is too large for lists of few items."""
        popular = max(
            (self._popularity(days, 1.0) for days in POPULARITY_HALF_LIVES),
            key=lambda p: self._ndcg(p + self._never).value,
        )
        best: tuple[Estimate, str] | None = None
        for part in self.lists:
            for weight in (1.5, 5.0, 20.0):
                scores = popular + np.float32(weight) * part.whole(self.requests) + self._never
                ndcg = self._ndcg(scores)
                if best is None or ndcg.value > best[0].value:
                    best = ndcg, part.name
        if best is None:
            return None
        if not _surely_better(best[0], own):
            return None
        return FallbackEntry(best[1], "of all past items", False, False, RANKED, best[0].value, own.value, best[0].n)

    # -------------------------------------------------------------------------------------------- scores

    @cached_property
    def _excluded(self) -> list[Int] | None:
        if self.task.repeats != "exclude":
            return None
        history, which = self.requests.histories(np.arange(len(self.truth)))
        return [np.unique(history.item[history.offsets[w] : history.offsets[w + 1]]) for w in which]

    @cached_property
    def _never(self) -> Float:
        """`NEVER` where an item may not be listed, else 0."""
        never, n_seen = np.zeros_like(self._student), self.data.train.n_seen
        for row, items in enumerate(self._excluded or ()):
            never[row, items[items < n_seen]] = NEVER
        return never

    @cached_property
    def _student(self) -> Float:
        return self._catalog(self.student)

    @cached_property
    def _slope(self) -> float:
        """Of the student's logits, so that all parts are in one unit: its probabilities are right with it."""
        truth = np.zeros_like(self._student)
        for row, items in enumerate(self.truth):
            truth[row, items] = 1 / len(items)
        return fit_temperature(self._student, truth)

    @cached_property
    def _repeats(self) -> Float:
        """What past items add to their own logits."""
        silent = copy.deepcopy(self.student)
        silent.silence(self.index, repeat=True)
        return self._catalog(silent)

    def _catalog(self, student: Student) -> Float:
        n_seen = self.data.train.n_seen
        scores = np.empty((len(self.truth), n_seen), np.float32)
        with torch.inference_mode():
            for items, places in group_by_as_of(student.eval(), self.data, self.requests, np.arange(len(self.truth))):
                batch = self.requests.batch(places)
                own = student.score_catalog(batch, items, [self.index])[:, 0]
                own = exclude_history(own, batch) if self.task.repeats == "exclude" else own
                scores[places] = own[:, :n_seen].numpy()
        return scores

    def _popularity(self, days: float, weight: float) -> Float:
        column = popularity_column(self.data, days)
        values = self.data.statistics.values[:, : self.data.train.n_seen, column]
        scores: Float = np.float32(weight) * values[self.requests.as_of]
        return scores

    @cached_property
    def _shares(self) -> list[Float]:
        return [part.scores(self.requests)[:, : self.data.train.n_seen] for part in self.categories]

    @cached_property
    def _listed(self) -> list[Float]:
        return [part.scores(self.requests) for part in self.lists]

    # -------------------------------------------------------------------------------------------- the student's weights

    def applied(self, mix: PartMix) -> Student:
        """A student whose logits of the task are the mix, by its weights; lists know all rows now."""
        student, i = copy.deepcopy(self.student), self.index
        if mix.student:
            student.rescale(i, mix.student, 0.0)
        else:
            student.silence(i, mix.repeat)
        if mix.category is not None:
            student = self.categories[mix.category[0]].added(student, self.data, i, mix.category[1])
        if mix.listed is not None:
            now = list_parts(self.data, np.full_like(late_since(self.data), np.iinfo(np.int64).max))
            student = now[mix.listed[0]].added(student, self.data, i, mix.listed[1])
        if mix.popularity is not None:
            days, weight = mix.popularity
            with torch.no_grad():
                student.items.direct[i, popularity_column(self.data, days)] += weight
        return student


def _together(one: Estimate, other: Estimate) -> Estimate:
    """The mean of two sets of requests."""
    return metrics.mean(np.concatenate([one.each(), other.each()]))


def _surely_better(ours: Estimate, theirs: Estimate) -> bool:
    """Whether a ranking is better than another one beyond chance, on more than a few requests."""
    gain = ours.minus(theirs)
    if gain.deviations is None:
        return False
    return bool(gain.value > SIGMAS * gain.se and (np.abs(gain.each()) > 1e-9).sum() >= DIFFERENT)
