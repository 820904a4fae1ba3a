"""What was known of each item at each as-of time: popularity, adoption (first consumptions), age, repeats, rates.

Only rows before the as-of time enter, so that a row's label never reaches its own features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.examples.log import Log
from edgerec.examples.scratch import Columns, Scratch, pieces
from edgerec.tasks import Task, binary_tasks
from edgerec.tasks.history import Double, Float, Int
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

POPULARITY_HALF_LIVES = (0.05, 0.25, 1.0, 3.0, 10.0, 30.0, 90.0, 365.0)
"""Days: news lives for an hour, films for days, groceries for a year."""
ADOPTION_HALF_LIVES = (3.0, 10.0, 30.0, 90.0)
MAX_STEPS = 200
"""As-of times of a log with finer ones than weeks."""
MOST_STEPS, FINE_BYTES = 2_000, 32 * 2**20
"""As-of times where each request is asked at a time of its own, and what their statistics may take."""
SMOOTHING = 20.0
"""Rows at the population's rate that are added to those of an item or group."""


@dataclass(frozen=True)
class ItemStatistics:
    """Statistics of N items at S as-of times.

    Attributes:
        as_of_ms: int64 (S,), ascending; the last is the end of the rows.
        values: float32 (S, N, F).
        names: the F columns.
    """

    as_of_ms: Int
    values: Float
    names: tuple[str, ...]

    def as_of_before(self, time_ms: Int) -> Int:
        """Index of the last as-of time that is not after each time; the first one for anything earlier."""
        return np.maximum(np.searchsorted(self.as_of_ms, time_ms, side="right") - 1, 0).astype(np.int64)


def as_of_times(first_ms: int, end_ms: int, most: int = MAX_STEPS) -> Int:
    """As-of times, counted back from `end_ms`: every hour, or few hours, or day if that makes at most `most`.

    Else every week; between an hour and a day only for more than `MAX_STEPS`.
    """
    hours = (1, 24, 7 * 24) if most <= MAX_STEPS else (1, 3, 6, 12, 24, 7 * 24)
    steps = [hour * MS_PER_HOUR for hour in hours]
    step = next((step for step in steps if end_ms - first_ms <= most * step), steps[-1])
    count = -(-(end_ms - first_ms) // step) + 1
    return end_ms - step * np.arange(count, dtype=np.int64)[::-1]


def item_statistics(
    log: Log,
    tasks: Sequence[Task],
    n_items: int,
    groups: Sequence[tuple[str, Int]],
    end_ms: int,
    scratch: Scratch,
    last_only: bool = False,
    fine: bool = False,
) -> ItemStatistics:
    """Take the statistics of `n_items` items.

    Args:
        groups: names and values (n_items,) of the items' categorical features; rows of all items of a value are
            pooled, so that a new item starts from its author's or category's rate. Value 0 is unknown.
        end_ms: the last as-of time; rows from then on are left out.
        scratch: where what is as long as the log lies.
        last_only: of the last as-of time alone.
        fine: at up to `MOST_STEPS` times, since requests come all over the log: what is new is popular for hours.
    """
    keys = [("item", np.arange(n_items)), *groups]
    sums = _Sums(log, tasks, n_items, keys, scratch)
    most = int(np.clip(FINE_BYTES // (4 * n_items * len(sums.names())), MAX_STEPS, MOST_STEPS)) if fine else MAX_STEPS
    at = as_of_times(int(log.time_ms.min(initial=end_ms - 1)), end_ms, most)

    def each() -> Iterator[Float]:
        for s, rows in enumerate(_until_each(log, at, n_items, scratch)):
            for start, end in pieces(len(rows), scratch.limits.rows):
                sums.add(rows[start:end], int(at[s]))
            if s + 1 == len(at) or not last_only:
                yield sums.features(int(at[s]))
            if s + 1 < len(at):
                sums.pass_by(float(at[s + 1] - at[s]) / MS_PER_DAY)

    n = 1 if last_only else len(at)
    return ItemStatistics(at[-n:], scratch.stacked(n, each()), tuple(sums.names()))


def _until_each(log: Log, at: Int, n_items: int, scratch: Scratch) -> Iterator[Int]:
    """The rows of items below `n_items` between each as-of time and the one before it, ascending."""

    def sorted_part(start: int, end: int) -> Columns:
        known = start + np.flatnonzero(log.item[start:end] < n_items)
        slot = np.searchsorted(at, log.time_ms[known], side="right")  # a row counts at as-of times >= slot
        order = np.argsort(slot, kind="stable")
        bounds.append(np.searchsorted(slot[order], np.arange(len(at) + 1)))
        return {"row": known[order]}

    bounds: list[Int] = []
    known = sum(int((log.item[start:end] < n_items).sum()) for start, end in log.pieces())
    rows = scratch.joined(known, (sorted_part(*piece) for piece in log.pieces()))["row"]
    first = np.concatenate(([0], np.cumsum([b[-1] for b in bounds])))  # rows of the last slot, after `at`, are none
    for s in range(len(at)):
        yield np.concatenate([rows[f + b[s] : f + b[s + 1]] for f, b in zip(first, bounds, strict=False)])


class _Sums:
    """Running sums over the rows seen so far."""

    def __init__(
        self, log: Log, tasks: Sequence[Task], n_items: int, keys: Sequence[tuple[str, Int]], scratch: Scratch
    ) -> None:
        self.log, self.n_items, self.keys = log, n_items, keys
        self.targets = [t.name for t in binary_tasks(tasks)] + [t.name for t in tasks if t.kind == "regression"]
        self.binary = {t.name for t in binary_tasks(tasks)}
        self.popularity = np.zeros((len(POPULARITY_HALF_LIVES), n_items))
        self.adoption = np.zeros((len(ADOPTION_HALF_LIVES), n_items))
        self.first_ms = np.full(n_items, np.iinfo(np.int64).max)
        self.events, self.repeats = np.zeros(n_items), np.zeros(n_items)
        self.is_repeat = _repeats(log, scratch)
        sizes = [int(value.max(initial=0)) + 1 for _, value in keys]
        self.rows = [np.zeros(size) for size in sizes]
        self.sums = [np.zeros((len(self.targets), size)) for size in sizes]

    def names(self) -> list[str]:
        popularity = [f"popularity.{h:g}d" for h in POPULARITY_HALF_LIVES]
        adoption = [f"adoption.{h:g}d" for h in ADOPTION_HALF_LIVES]
        names = [*popularity, *adoption, "age", "events", "repeats"]
        if self.targets:
            names += [f"rate.{task}.{key}" for key, _ in self.keys for task in self.targets]
            names += [f"rows.{key}" for key, _ in self.keys]
        return names

    def pass_by(self, days: float) -> None:
        """Let time pass."""
        for counts, half_lives in ((self.popularity, POPULARITY_HALF_LIVES), (self.adoption, ADOPTION_HALF_LIVES)):
            counts *= 0.5 ** (days / np.array(half_lives)[:, None])

    def add(self, rows: Int, now_ms: int) -> None:
        """Add rows before `now_ms`, the as-of time that comes next."""
        item, repeat = self.log.item[rows], self.is_repeat[rows]
        counts = np.bincount(item, minlength=self.n_items)
        repeats = np.bincount(item, repeat, self.n_items)
        age_days = (now_ms - self.log.time_ms[rows]) / MS_PER_DAY
        for of, half_life in zip(self.popularity, POPULARITY_HALF_LIVES, strict=True):
            of += np.bincount(item, 0.5 ** (age_days / half_life), self.n_items)
        first = ~repeat
        for of, half_life in zip(self.adoption, ADOPTION_HALF_LIVES, strict=True):
            of += np.bincount(item[first], 0.5 ** (age_days[first] / half_life), self.n_items)
        np.minimum.at(self.first_ms, item, self.log.time_ms[rows])
        self.events += counts
        self.repeats += repeats
        if not self.targets:
            return
        targets = [self._target(name, rows) for name in self.targets]
        for k, (_, value) in enumerate(self.keys):
            at = value[item]
            self.rows[k] += np.bincount(at, minlength=len(self.rows[k]))
            for t, target in enumerate(targets):
                self.sums[k][t] += np.bincount(at, target, len(self.rows[k]))

    def _target(self, name: str, rows: Int) -> Double:
        """Binary labels, or logs of regression targets."""
        label = self.log.labels[name][rows].astype(np.float64)
        return label if name in self.binary else np.log1p(np.maximum(label, 0))

    def features(self, now_ms: int) -> Float:
        counted = np.concatenate([self.popularity, self.adoption])
        relative = counted / np.maximum(counted.mean(axis=1, keepdims=True), 1e-9)
        seen = self.events > 0
        age = np.where(seen, (now_ms - np.minimum(self.first_ms, now_ms)) / MS_PER_DAY, 0)
        repeat_rate = (self.repeats + 2 * _mean(self.repeats, self.events)) / (self.events + 2)
        columns = [*np.log(relative + 0.05), np.log1p(age) * 0.4, np.log1p(self.events) * 0.4, repeat_rate * 2]
        if self.targets:
            columns += [column for k in range(len(self.keys)) for column in self._rates(k)]
            columns += [np.log1p(self.rows[k][value]) * 0.3 for k, (_, value) in enumerate(self.keys)]
        return np.stack(columns, axis=1).astype(np.float32)

    def _rates(self, key: int) -> list[Double]:
        """Each target's smoothed mean of `key`'s groups against the population's, looked up for every item."""
        value, rates = self.keys[key][1], []
        for t, name in enumerate(self.targets):
            mean = _mean(self.sums[key][t], self.rows[key])
            smoothed = (self.sums[key][t] + SMOOTHING * mean) / (self.rows[key] + SMOOTHING)
            if name in self.binary:
                mean = float(np.clip(mean, 1e-4, 1 - 1e-4))
                smoothed = np.clip(smoothed, 1e-5, 1 - 1e-5)
                rates.append((np.log(smoothed / (1 - smoothed)) - np.log(mean / (1 - mean)))[value])
            else:
                rates.append((smoothed - mean)[value])
        return rates


def _mean(total: Double, rows: Double) -> float:
    return float(total.sum() / max(rows.sum(), 1))


def _repeats(log: Log, scratch: Scratch) -> npt.NDArray[np.bool_]:
    """Where the row's user had the row's item in an earlier row."""

    def of_users(rows: slice) -> Columns:
        user, item = log.user[rows], log.item[rows]
        order = np.lexsort((np.arange(len(user)), item, user))
        again = np.zeros(len(user), bool)
        again[order[1:]] = (user[order][1:] == user[order][:-1]) & (item[order][1:] == item[order][:-1])
        return {"again": again}

    return scratch.joined(len(log), (of_users(rows) for rows in log.groups()))["again"]
