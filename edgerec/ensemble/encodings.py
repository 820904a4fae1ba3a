"""What trees learn from: rates and counts of an impression's user, item, attributes and crosses, from earlier days.

A key is one column, such as the user, or a cross of several, such as user and tab. Its rates count only training rows
of days before the row's own, by the day boundaries of `day_before`, so that no label reaches its own row; evaluation
rows see all training rows. Where the evaluation split is each user's last event, all rows see those before their own
time: what the user did a minute ago is known by then. Which keys there are follows from the columns of the data set.

Memory: the matrix, 4 bytes for each row and column, plus about ``100 * (targets + 1)`` bytes for each training row
while one key is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.parts import part_columns
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log, latest_since
from edgerec.examples.requests import Requests
from edgerec.examples.scratch import pieces
from edgerec.tasks import binary_tasks
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_DAY

DECAY = 0.65
"""Weight of a row a day later."""
MANY = 1000
"""A key of fewer values has no count: it would depend on the day rather than on the value."""
SMOOTHING, RARE_SMOOTHING = 20.0, 50.0
"""Rows at the population's rate that are added to those of a key."""
RARE = 0.05
"""Below this rate a task is rare."""
BUCKETS = 16
"""Equally frequent ranges that a numeric column of the items is cut into."""
MAX_CROSSES = 40
"""Crosses beyond this many, in the order of `crosses`, are left out."""
MAX_ROWS = 10_000_000
"""Rates count the latest rows, whole days of them: what they need is in memory."""
Key: TypeAlias = "tuple[Column, ...]"
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """An integer of each row, in [0, size): the user, the item, or attribute `number` of a request or an item."""

    name: str
    kind: Literal["user", "item", "request", "category", "bucket"]
    size: int
    number: int = 0


@dataclass(frozen=True)
class ImpressionFeatures:
    """User, item and categories of R impressions, and when they are.

    Attributes:
        step: int64 (R,), the first step of time that is not yet known; step 0 holds the first row.
        day: float64 (R,), since the first row.
    """

    user: Int
    item: Int
    categorical: Int
    step: Int
    day: Double


class Encoder:
    """Makes the columns of `names` for impressions of one part of a dataset."""

    def __init__(self, data: LearningData, max_crosses: int = MAX_CROSSES) -> None:
        self.data = data
        self.end_ms = int(data.statistics.as_of_ms[-1])
        self.first_ms = int(data.train_log.time_ms.min())
        self.days = int(-(-(self.end_ms - self.first_ms) // MS_PER_DAY))
        self.keys = _keys(data, max_crosses)
        self.buckets = _buckets(data)
        self.item_categories = data.features.categorical.numpy().astype(np.int64)
        self.item_parts = part_columns(data.features)
        log, rows = data.train_log, _latest_rows(data.train_log)
        self.times = np.unique(log.time_ms[rows]) if data.by_user else None
        self.past = ImpressionFeatures(
            log.user[rows], log.item[rows], log.categorical[rows], *self._when(log.time_ms[rows])
        )
        self.targets = _targets(log, rows, data)
        self.names = [*(name for key in self.keys for name in self._rate_names(key)), *self._raw_names()]

    def train_rows(self, chosen: Int) -> Float:
        """The training impressions `chosen`, each as it was known at the start of its day; (len(chosen), F)."""
        rows = self.data.train.impressions
        assert rows is not None
        return self._matrix(rows.requests, rows.item, chosen, *self._when(rows.requests.time_ms[chosen]))

    def rows(self, requests: Requests, item: Int, chosen: Int) -> Float:
        """The requests `chosen` and their candidates, as known at the end of the training rows; (len(chosen), F).

        Where the evaluation split is each user's last event, as known at their own time.
        """
        if self.times is not None:
            return self._matrix(requests, item, chosen, *self._when(requests.time_ms[chosen]))
        end = np.full(len(chosen), self.days)
        return self._matrix(requests, item, chosen, end, end.astype(np.float64))

    def _when(self, time_ms: Int) -> tuple[Int, Double]:
        """`step` and `day` of `ImpressionFeatures`: days, or the distinct times of the log."""
        if self.times is not None:
            return np.searchsorted(self.times, time_ms), (time_ms - self.first_ms) / MS_PER_DAY
        day = self.days - -(-(self.end_ms - time_ms) // MS_PER_DAY)
        return day, day.astype(np.float64)

    def _matrix(self, requests: Requests, item: Int, chosen: Int, step: Int, day: Double) -> Float:
        impressions = ImpressionFeatures(requests.user[chosen], item[chosen], requests.categorical[chosen], step, day)
        matrix = np.empty((len(chosen), len(self.names)), np.float32)
        at = 0
        for key in self.keys:
            for rate in self._rates(key, impressions):
                matrix[:, at] = rate
                at += 1
        for raw in self._raw(requests, impressions.item, chosen):
            matrix[:, at] = raw
            at += 1
        assert at == len(self.names)
        return matrix

    def _rate_names(self, key: Key) -> list[str]:
        name, names = " x ".join(c.name for c in key), []
        for decay in _decays(key):
            rows = ["rows"] if _size(key) >= MANY else []
            names += [f"{name}: {what}, {decay:g}" for what in (*rows, *self.targets.names)]
        return names

    def _rates(self, key: Key, impressions: ImpressionFeatures) -> list[Double]:
        """For each decay the log count, then each target's smoothed rate."""
        columns = []
        past, asked = (KeyRows(self._code(key, of), of.step, of.day) for of in (self.past, impressions))
        for sums in decayed_sums(past, self.targets.values, asked, _decays(key)):
            if _size(key) >= MANY:
                columns.append(np.log1p(sums[:, -1]))
            columns += self.targets.rates(sums)
        return columns

    def _code(self, key: Key, impressions: ImpressionFeatures) -> Int:
        code = np.zeros(len(impressions.user), np.int64)
        for column in key:
            code = code * column.size + self._values(column, impressions)
        return code

    def _values(self, column: Column, impressions: ImpressionFeatures) -> Int:
        if column.kind == "user":
            return impressions.user
        if column.kind == "item":
            return impressions.item
        if column.kind == "request":
            return impressions.categorical[:, column.number]
        table = self.item_categories if column.kind == "category" else self.buckets
        values: Int = table[impressions.item, column.number]
        return values

    def _raw_names(self) -> list[str]:
        encoder, meta = self.data.encoder, self.data.dataset.meta.items
        names = [c.name for c in encoder.categorical] + encoder.numeric_names
        names += [c.name for c in meta.categorical] + [n.name for n in meta.numeric]
        text = self.data.features.text.shape[1]
        names += [f"part.{i}" for i in range(self.item_parts.shape[1])]
        return [*names, *(f"text.{i}" for i in range(text)), *self.data.statistics.names, "time of day"]

    def _raw(self, requests: Requests, item: Int, chosen: Int) -> list[npt.NDArray[np.generic]]:
        features, statistics = self.data.features, self.data.statistics
        tables: list[npt.NDArray[np.generic]] = [
            requests.categorical[chosen],
            requests.numeric(chosen),
            self.item_categories[item],
            features.numeric.numpy()[item],
            self.item_parts[item],
            features.text.numpy()[item],
        ]
        columns = [column for table in tables for column in table.T]
        as_of = requests.as_of[chosen]
        columns += [statistics.values[as_of, item, i] for i in range(len(statistics.names))]
        return [*columns, requests.time_ms[chosen] % MS_PER_DAY]


def _size(key: Key) -> int:
    return prod(column.size for column in key)


def _decays(key: Key) -> tuple[float, ...]:
    """Rates of users, items and their crosses change from day to day; those of attributes hardly do."""
    changes = any(c.kind == "user" for c in key) or (len(key) == 1 and key[0].kind != "request")
    return (DECAY, 1.0) if changes else (1.0,)


@dataclass(frozen=True)
class Targets:
    """What is counted: T targets of each training row.

    Attributes:
        values: float64 (E, T + 1); the last column is 1.
        mean: float64 (T,) over all training rows.
        smoothing: float64 (T,).
        binary: bool (T,); the others are means of logs.
    """

    names: tuple[str, ...]
    values: Double
    mean: Double
    smoothing: Double
    binary: npt.NDArray[np.bool_]

    def rates(self, sums: Double) -> list[Double]:
        """Smoothed rates of sums (R, T + 1), less the population's: log-odds of binary targets, means of others."""
        rates = []
        for t, mean in enumerate(self.mean):
            rate = (sums[:, t] + self.smoothing[t] * mean) / (sums[:, -1] + self.smoothing[t])
            rates.append(_log_odds(rate) - _log_odds(mean) if self.binary[t] else rate - mean)
        return rates


def _log_odds(rate: Double) -> Double:
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    odds: Double = np.log(rate / (1 - rate))
    return odds


def _latest_rows(log: Log) -> Int:
    """Rows that are counted."""
    since = latest_since(log, MAX_ROWS)
    return np.concatenate([start + np.flatnonzero(log.time_ms[start:end] >= since) for start, end in pieces(len(log))])


def _targets(log: Log, rows: Int, data: LearningData) -> Targets:
    binary = [t.name for t in binary_tasks(data.tasks)]
    logs = [t.name for t in data.tasks if t.kind == "regression"]
    columns = [log.labels[name][rows].astype(np.float64) for name in binary]
    columns += [data.scales[name].apply(log.labels[name][rows]).astype(np.float64) for name in logs]
    values = np.stack([*columns, np.ones(len(rows))], axis=1)
    mean = values[:, :-1].mean(axis=0)
    is_binary = np.array([True] * len(binary) + [False] * len(logs))
    rare = is_binary & (mean < RARE)
    return Targets((*binary, *logs), values, mean, np.where(rare, RARE_SMOOTHING, SMOOTHING), is_binary)


def _columns(data: LearningData) -> list[Column]:
    meta = data.dataset.meta.items
    requests = [Column(c.name, "request", len(c.values) + 1, i) for i, c in enumerate(data.encoder.categorical)]
    categories = [Column(c.name, "category", len(c.values) + 1, i) for i, c in enumerate(meta.categorical)]
    buckets = [Column(n.name, "bucket", BUCKETS, i) for i, n in enumerate(meta.numeric)]
    users = len(data.train_log.offsets) - 1
    return [Column("user", "user", users), Column("item", "item", data.n_items), *requests, *categories, *buckets]


def _keys(data: LearningData, max_crosses: int) -> list[Key]:
    """Every column, then at most `max_crosses` crosses, those that help on most data sets first."""
    columns = _columns(data)
    user, item = columns[:2]
    given = [c for c in columns if c.kind == "request" and data.encoder.categorical[c.number].source == "context"]
    buckets = [c for c in columns if c.kind == "bucket"]
    categories = [c for c in columns if c.kind == "category"]
    about = [*buckets, *categories]
    crosses: list[Key] = [*product([user], [*given, *about]), *product(given, [item, *about])]
    crosses += [*product(buckets, categories), *product([user], given, buckets), *combinations(given, 2)]
    crosses.append((user, item))
    return [*((c,) for c in columns), *crosses[:max_crosses]]


def _buckets(data: LearningData) -> Int:
    """The range that each item's numbers fall into, int64 (N, numbers); ranges are equally frequent in the log."""
    numeric = data.features.numeric.numpy()[:, : len(data.dataset.meta.items.numeric)]
    buckets = np.zeros(numeric.shape, np.int64)
    for i in range(numeric.shape[1]):
        edges = np.unique(np.quantile(numeric[data.train_log.item, i], np.linspace(0, 1, BUCKETS + 1)[1:-1]))
        buckets[:, i] = np.searchsorted(edges, numeric[:, i], side="right")
    return buckets


class KeyRows(NamedTuple):
    """Rows of a key in a step of time: int64 (E,), not negative, and float64 (E,), in days, the same within a step."""

    key: Int
    step: Int
    day: Double


def decayed_sums(past: KeyRows, values: Double, asked: KeyRows, decays: Sequence[float]) -> Iterator[Double]:
    """For each decay the sums of `values` over the rows of a key before a step; d days before, a row counts decay ** d.

    Args:
        values: float64 (E, V), of the rows `past`. asked: R keys and steps.
    Yields:
        float64 (R, V).
    """
    steps = int(max(past.step.max(initial=0), asked.step.max(initial=0))) + 1
    code = past.key * steps + past.step
    order = np.argsort(code, kind="stable")
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    known, day = code[order[first]], past.day[order[first]]
    total = np.add.reduceat(values[order], first, axis=0)
    gap = np.maximum(np.diff(day, prepend=0.0), 0.0)  # from key to key time goes back; those gaps are not used
    same = np.diff(known // steps, prepend=-1) == 0
    at = np.searchsorted(known, asked.key * steps + asked.step) - 1
    seen = (at >= 0) & (known[at] // steps == asked.key)
    age = np.where(seen, asked.day - day[at], 0)
    for decay in decays:
        running = _scan(np.where(same, decay**gap, 0.0), total)
        yield np.where(seen, decay**age, 0.0)[:, None] * running[at]


def _scan(factor: Double, values: Double) -> Double:
    """``y[i] = values[i] + factor[i] * y[i - 1]``, by doubling: as many rounds as the longest run without a 0 needs."""
    factor, sums, step = factor.copy(), values.copy(), 1
    while factor[step:].any():
        sums[step:] += factor[step:, None] * sums[:-step]
        factor[step:] = factor[step:] * factor[:-step]
        factor[:step] = 0.0
        step *= 2
    return sums
