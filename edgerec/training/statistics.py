"""What was known of each item at each moment: popularity, also among those who had not had it, age, repeats, rates.

Only rows before the moment enter, so that a row's label never reaches its own features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgerec.tasks import Task, binary_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.log import Log

MS_PER_DAY = 86_400_000
POPULARITY_HALF_LIVES = (3.0, 10.0, 30.0, 90.0)
"""Days."""
SMOOTHING = 20.0
"""Rows at the population's rate that are added to those of an item or group."""
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ItemStatistics:
    """Statistics of N items at S moments.

    Attributes:
        moments_ms: int64 (S,), ascending; the last is the end of the rows.
        values: float32 (S, N, F).
        names: the F columns.
    """

    moments_ms: Int
    values: Float
    names: tuple[str, ...]

    def moment_before(self, time_ms: Int) -> Int:
        """Index of the last moment that is not after each time; the first one for anything earlier."""
        return np.maximum(np.searchsorted(self.moments_ms, time_ms, side="right") - 1, 0).astype(np.int64)


def moments(first_ms: int, end_ms: int) -> Int:
    """Moments at which statistics are taken: every day, or every week of a log longer than 90 days, counted back."""
    step = MS_PER_DAY * (1 if end_ms - first_ms <= 90 * MS_PER_DAY else 7)
    count = -(-(end_ms - first_ms) // step) + 1
    return end_ms - step * np.arange(count, dtype=np.int64)[::-1]


def item_statistics(
    log: Log, tasks: Sequence[Task], n_items: int, groups: Sequence[tuple[str, Int]], end_ms: int
) -> ItemStatistics:
    """Take the statistics of `n_items` items.

    Args:
        groups: names and values (n_items,) of the items' categorical features; rows of all items of a value are
            pooled, so that a new item starts from its author's or category's rate. Value 0 is unknown.
        end_ms: the last moment; rows from then on are left out.
    """
    at = moments(int(log.time_ms.min(initial=end_ms - 1)), end_ms)
    slot = np.searchsorted(at, log.time_ms, side="right")  # row counts at moments >= slot
    order = np.argsort(slot, kind="stable")
    bounds = np.searchsorted(slot[order], np.arange(len(at) + 1))
    known = log.item < n_items
    keys = [("item", np.arange(n_items)), *groups]
    sums = _Sums(log, tasks, n_items, keys)
    values = []
    for s in range(len(at)):
        rows = order[bounds[s] : bounds[s + 1]]
        sums.add(rows[known[rows]], 0.0 if s == 0 else float(at[s] - at[s - 1]) / MS_PER_DAY)
        values.append(sums.features(int(at[s])))
    return ItemStatistics(at, np.stack(values), tuple(sums.names()))


class _Sums:
    """Running sums over the rows seen so far."""

    def __init__(self, log: Log, tasks: Sequence[Task], n_items: int, keys: Sequence[tuple[str, Int]]) -> None:
        self.log, self.n_items, self.keys = log, n_items, keys
        self.targets = _targets(log, tasks)
        self.binary = {t.name for t in binary_tasks(tasks)}
        self.popularity = np.zeros((len(POPULARITY_HALF_LIVES), n_items))
        self.adoption = np.zeros_like(self.popularity)
        self.first_ms = np.full(n_items, np.iinfo(np.int64).max)
        self.events, self.repeats = np.zeros(n_items), np.zeros(n_items)
        self.is_repeat = _repeats(log)
        sizes = [int(value.max(initial=0)) + 1 for _, value in keys]
        self.rows = [np.zeros(size) for size in sizes]
        self.sums = [np.zeros((len(self.targets), size)) for size in sizes]

    def names(self) -> list[str]:
        popularity = [f"popularity.{h:g}d" for h in POPULARITY_HALF_LIVES]
        adoption = [f"adoption.{h:g}d" for h in POPULARITY_HALF_LIVES]
        names = [*popularity, *adoption, "age", "events", "repeats"]
        if self.targets:
            names += [f"rate.{task}.{key}" for key, _ in self.keys for task in self.targets]
            names += [f"rows.{key}" for key, _ in self.keys]
        return names

    def add(self, rows: Int, days: float) -> None:
        item = self.log.item[rows]
        counts = np.bincount(item, minlength=self.n_items)
        repeats = np.bincount(item, self.is_repeat[rows], self.n_items)
        for h, half_life in enumerate(POPULARITY_HALF_LIVES):
            kept = 0.5 ** (days / half_life)
            self.popularity[h] = self.popularity[h] * kept + counts
            self.adoption[h] = self.adoption[h] * kept + counts - repeats
        np.minimum.at(self.first_ms, item, self.log.time_ms[rows])
        self.events += counts
        self.repeats += repeats
        if not self.targets:
            return
        for k, (_, value) in enumerate(self.keys):
            at = value[item]
            self.rows[k] += np.bincount(at, minlength=len(self.rows[k]))
            for t, target in enumerate(self.targets.values()):
                self.sums[k][t] += np.bincount(at, target[rows], len(self.rows[k]))

    def features(self, now_ms: int) -> Float:
        counted = np.concatenate([self.popularity, self.adoption])
        share = counted / np.maximum(counted.mean(axis=1, keepdims=True), 1e-9)
        seen = self.events > 0
        age = np.where(seen, (now_ms - np.minimum(self.first_ms, now_ms)) / MS_PER_DAY, 0)
        repeat_rate = (self.repeats + 2 * _mean(self.repeats, self.events)) / (self.events + 2)
        columns = [*np.log(share + 0.05), np.log1p(age) * 0.4, np.log1p(self.events) * 0.4, repeat_rate * 2]
        if self.targets:
            columns += [column for k in range(len(self.keys)) for column in self._rates(k)]
            columns += [np.log1p(self.rows[k][value]) * 0.3 for k, (_, value) in enumerate(self.keys)]
        return np.stack(columns, axis=1).astype(np.float32)

    def _rates(self, key: int) -> list[Double]:
        """Each target's smoothed mean of `key`'s groups against the population's, looked up for every item."""
        value, found = self.keys[key][1], []
        for t, name in enumerate(self.targets):
            mean = _mean(self.sums[key][t], self.rows[key])
            smoothed = (self.sums[key][t] + SMOOTHING * mean) / (self.rows[key] + SMOOTHING)
            if name in self.binary:
                mean = float(np.clip(mean, 1e-4, 1 - 1e-4))
                smoothed = np.clip(smoothed, 1e-5, 1 - 1e-5)
                found.append((np.log(smoothed / (1 - smoothed)) - np.log(mean / (1 - mean)))[value])
            else:
                found.append((smoothed - mean)[value])
        return found


def _targets(log: Log, tasks: Sequence[Task]) -> dict[str, Double]:
    """Binary labels, and logs of regression labels."""
    found = {t.name: log.labels[t.name].astype(np.float64) for t in binary_tasks(tasks)}
    found |= {t.name: np.log1p(np.maximum(log.labels[t.name], 0)) for t in tasks if t.kind == "regression"}
    return found


def _mean(total: Double, rows: Double) -> float:
    return float(total.sum() / max(rows.sum(), 1))


def _repeats(log: Log) -> Double:
    """1 where the row's user had the row's item in an earlier row."""
    order = np.lexsort((np.arange(len(log)), log.item, log.user))
    again = np.zeros(len(log))
    same = (log.user[order][1:] == log.user[order][:-1]) & (log.item[order][1:] == log.item[order][:-1])
    again[order[1:]] = same
    return again
