"""Simple parts of a ranking that a student can say exactly: shares of categories, and lists of items for each item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from edgerec import metrics
from edgerec.ensemble.closed_form import Matrix, best_of_rows, cosine, counts, dense, ease, transitions
from edgerec.ensemble.signals import sessions_of
from edgerec.ensemble.views import MAX_ROWS
from edgerec.examples.graph import consumed_rows
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.examples.requests import Requests
from edgerec.examples.statistics import POPULARITY_HALF_LIVES
from edgerec.metrics import Estimate, top_k
from edgerec.models.blocks import later_items
from edgerec.models.student import FOLLOWED, Student
from edgerec.models.widths import grown
from edgerec.tasks.history import Float, Int

__all__ = ["CategoryPart", "ListPart", "category_parts", "list_parts", "popularity_column", "transitions_pay"]

MOST_VALUES = 64
"""Of a category: each one is a column of the item table."""
LISTED = 32
"""Items that go with each item."""
MOST_LISTED, MOST_INVERTED = 50_000, 4_000
"""Items of a catalogue that has such lists, and of one that EASE is fitted on."""
RIDGE = 400.0
FOLLOWING = "directed_co_occurrence"
FADING = 1.1
"""Slope of the weight of a past item: 1, 0.62, 0.40, 0.24, 0.11, 0.01 for the latest and those before it."""
SIGMAS = 1.645
"""Standard errors by which lists must be better, one-sided 95 %."""


@dataclass(frozen=True)
class CategoryPart:
    """How much of the user's past has an item's values of one column.

    Attributes:
        first: place of the column's first value in the table of all values. multi: several values in a cell.
        values: float32 (N, C), the share of each value, the first of which is the column's.
    """

    name: str
    first: int
    multi: bool
    values: Float

    def scores(self, requests: Requests) -> Float:
        """Of every item, (R, N)."""
        history, which = requests.histories(np.arange(len(requests)))
        size = np.diff(history.offsets)
        row = np.repeat(np.arange(len(size)), size)
        past = counts(row, history.item, len(size), len(self.values)) @ self.values / (size + 1)[:, None]
        scores: Float = (past[which] @ self.values.T).astype(np.float32)
        return scores

    def added(self, student: Student, data: LearningData, task: int, weight: float) -> Student:
        """A larger student whose logits of the task have `weight` times the scores added."""
        n, old = self.values.shape[1], student.sizes
        large = grown(student, data.features, dim=n, heads=1)
        dim, head = large.sizes.dim, old.heads
        with torch.no_grad():
            # No longer than what is there, so that the table's other columns are rounded as before.
            table, _ = student.encode_items(data.as_of(-1))
            length = float(table.abs().amax(dim=1).median().clamp(min=0.05))
            source = large.items.from_parts if self.multi else large.items.from_category.table
            assert source is not None
            source.weight[self.first : self.first + n, old.dim :] = length * torch.eye(n)
            rows = torch.arange(task * dim + old.dim, (task + 1) * dim)
            columns = torch.arange(head * dim + old.dim, (head + 1) * dim)
            large.requests.mix.weight[rows, columns] = weight / length**2
        return large


def category_parts(data: LearningData) -> list[CategoryPart]:
    """One of each column of few values that says something."""
    meta, features, parts, first = data.dataset.meta.items, data.features, [], 0
    for place, column in enumerate(meta.categorical):
        size = len(column.values)
        if 1 < size <= MOST_VALUES:
            one_hot = functional.one_hot(features.categorical[:, place], size + 1)[:, 1:].numpy().astype(np.float32)
            parts.append(CategoryPart(column.name, first + 1, False, one_hot))
        first += size + 1
    first = 0
    for several in meta.multi:
        size = len(several.values)
        if 1 < size <= MOST_VALUES and features.parts is not None and features.shares is not None:
            eye = torch.zeros(max(sum(len(c.values) for c in meta.multi), 1), size)
            eye[first : first + size] = torch.eye(size)
            shares = functional.embedding_bag(features.parts, eye, per_sample_weights=features.shares, mode="sum")
            parts.append(CategoryPart(several.name, first, True, shares.numpy()))
        first += size
    return parts


@dataclass(frozen=True)
class ListPart:
    """For each item the `LISTED` items that go with it best.

    Attributes:
        item: int32 (N, LISTED). weight: float32 (N, LISTED), 0 in places that no item takes.
        matrix: all of them, between known items, (n_seen, n_seen).
        fading: the latest past item counts most, and those with more than five later ones hardly; else all alike.
    """

    name: str
    item: torch.Tensor
    weight: torch.Tensor
    matrix: Matrix | Float
    fading: bool

    def scores(self, requests: Requests) -> Float:
        """Of every known item, (R, n_seen), as the device does it: from the latest past items alone."""
        n = self.matrix.shape[0]
        row = np.repeat(np.arange(len(self.item)), self.item.shape[1])
        item, weight = self.item.numpy().ravel(), self.weight.numpy().ravel()
        known = (item < n) & (row < n) & (weight > 0)
        return dense(_past(requests, n, FOLLOWED, self.fading), counts(row[known], item[known], n, n, weight[known]))

    def whole(self, requests: Requests) -> Float:
        """Of every known item, (R, n_seen), from all past items and all that goes with them."""
        n = self.matrix.shape[0]
        return dense(_past(requests, n, None, self.fading), self.matrix)

    def added(self, student: Student, data: LearningData, task: int, weight: float) -> Student:
        """A student with these lists whose logits of the task have `weight` times the scores added.

        One that has lists already keeps them, which must be these.
        """
        large = grown(student, data.features, transitions=self.item.shape[1], repeat=int(self.fading))
        assert large.transitions is not None
        if student.transitions is None:
            large.transitions.start(self.item, self.weight)
        repeat, out = large.requests.repeat, large.tasks + task
        with torch.no_grad():
            if self.fading:  # by a hidden unit of its own, which reads how many later events there are
                repeat.from_numbers.weight[-1, -1], repeat.from_numbers.bias[-1] = -FADING, 1.0
                repeat.out.weight[out, -1] = weight
            else:
                repeat.out.bias[out] = weight
        return large


def _past(requests: Requests, n_items: int, latest: int | None, fading: bool = False) -> Matrix:
    """Requests by items: the weight of past items, or of those with fewer than `latest` later ones."""
    batch = requests.batch(np.arange(len(requests)))
    later = later_items(batch.age_h, batch.present)
    kept = batch.present & (batch.item < n_items)
    if latest is not None:
        kept &= later < latest
    row, place = kept.nonzero(as_tuple=True)
    ages = torch.log1p(later[row, place].to(torch.float32)) * 0.5  # as `event_features` has them
    weight = torch.relu(1 - FADING * ages) if fading else torch.ones(len(row))
    return counts(row.numpy(), batch.item[row, place].numpy(), len(requests), n_items, weight.numpy())


def list_parts(data: LearningData, until_ms: Int) -> list[ListPart]:
    """Fitted on the training rows before `until_ms` of their user; none in large catalogues."""
    if data.train.n_seen > MOST_LISTED:
        return []
    return [_listed(name, matrix, data.n_items) for name, matrix in _matrices(data, until_ms)]


def _matrices(data: LearningData, until_ms: Int) -> Iterator[tuple[str, Matrix | Float]]:
    log, n = data.train_log, data.train.n_seen
    kept = consumed_rows(log, data.tasks) & (log.item < n)
    kept &= (log.time_ms >= latest_since(log, MAX_ROWS)) & (log.time_ms < until_ms[log.user])
    rows = np.flatnonzero(kept)
    sessions, user = sessions_of(log, rows, n)
    yield FOLLOWING, best_of_rows(transitions(sessions, user), 300)
    by_user = counts(log.user[rows], log.item[rows], len(log.offsets) - 1, n)
    by_user.data[:] = 1
    yield "item_knn", cosine(by_user, 300)
    if n <= MOST_INVERTED:
        yield "ease", ease(by_user, RIDGE)


def _listed(name: str, matrix: Matrix | Float, n_items: int) -> ListPart:
    """The best of each row; weights are divided by the mean of the rows' largest, so that one weight fits all parts."""
    n = matrix.shape[0]
    item = np.repeat(np.arange(n_items, dtype=np.int32)[:, None], LISTED, axis=1)
    weight = np.zeros(item.shape, np.float32)
    for row in range(n):
        if isinstance(matrix, np.ndarray):
            places, values = np.arange(n), matrix[row]
        else:
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            places, values = matrix.indices[part], matrix.data[part]
        some = np.flatnonzero((values > 0) & (places != row))
        order = some[np.argsort(-values[some], kind="stable")][:LISTED]
        item[row, : len(order)], weight[row, : len(order)] = places[order], values[order]
    largest = weight[:n, 0][weight[:n, 0] > 0]
    unit = np.float32(largest.mean() if len(largest) else 1.0)
    fading = name == FOLLOWING
    return ListPart(name, torch.from_numpy(item), torch.from_numpy(weight / unit), matrix / unit, fading)


def popularity_column(data: LearningData, days: float) -> int:
    """Of the items' statistics, popularity with a half-life of so many days."""
    return data.statistics.names.index(f"popularity.{days:g}d")


def transitions_pay(data: LearningData, seed: int) -> bool:
    """Do lists of what follows each item find new items better than popularity of any age, on what is held out?"""
    held, n = HeldOut.of(data, seed), data.train.n_seen
    asked = [of_task for task in data.tasks if (of_task := held.asked(task, data)) is not None]
    if not asked or n > MOST_LISTED:
        return False
    follows = _listed(*next(_matrices(data, held.known_until(data))), data.n_items)
    for requests, truth in asked:
        past = _past(requests, n, None)
        new = [np.setdiff1d(items, past.indices[past.indptr[r] : past.indptr[r + 1]]) for r, items in enumerate(truth)]
        some = np.array([r for r, items in enumerate(new) if len(items)], np.int64)
        if not len(some):
            continue
        requests, past, new = requests.take(some), past[some].toarray() > 0, [new[r] for r in some]

        def ndcg(scores: Float, past: Float = past, new: list[Int] = new) -> Estimate:
            top = top_k(np.where(past, -np.inf, scores), min(10, n))
            return metrics.ranking_metrics(top, new, n, None, (10,))["ndcg@10"]

        columns = [popularity_column(data, days) for days in POPULARITY_HALF_LIVES]
        each = [data.statistics.values[:, :n, column][requests.as_of] for column in columns]
        best = max((ndcg(scores) for scores in each), key=lambda estimate: estimate.value)
        gain = max(
            (ndcg(0.5 * each[-1] + w * follows.scores(requests)) for w in (1.0, 5.0)), key=lambda e: e.value
        ).minus(best)
        if gain.value > SIGMAS * gain.se:
            return True
    return False
