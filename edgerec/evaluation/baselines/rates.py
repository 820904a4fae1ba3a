"""Simple scores of impressions: rates of the item, of the user, of the context, and all of them together.

A rate comes from rows before the impression alone, so that it is one that an app could have known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.ensemble import blend
from edgerec.evaluation.baselines.interactions import Int
from edgerec.examples.log import Log
from edgerec.tasks import Task

__all__ = ["Doubles", "Earlier", "Rates", "Rows", "best_rates"]

SMOOTHING = (5.0, 20.0, 100.0)
"""Rows at the population's rate that are added to those of a group; valid chooses."""
TO_CHOOSE = 200_000
"""Rows of valid that choose."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of a log, and the groups that they belong to.

    Attributes:
        groups: int64 (n,) by name; rows of one value share a rate.
        labels: (n,) by task: 0 or 1, or log(1 + target).
    """

    time_ms: Int
    groups: Mapping[str, Int]
    labels: Mapping[str, Doubles]

    @classmethod
    def of(cls, log: Log, tasks: Sequence[Task], columns: Mapping[str, int], categories: Mapping[str, Int]) -> Rows:
        """The rows of known items.

        Args:
            columns: places of categorical columns of the log, by name. categories: of each known item, by column.
        """
        n_items = len(categories["item"])
        at = np.flatnonzero(log.item < n_items)
        item, user = log.item[at], log.user[at]
        groups = {"user": user}
        for name, category in categories.items():
            value = category[item]
            groups |= {name: value} | ({} if name == "item" else {f"user and {name}": user << 20 | value})
        for name, column in columns.items():
            value = log.categorical[at, column]
            groups |= {name: value, f"item and {name}": item << 20 | value, f"user and {name}": user << 20 | value}
        labels = {}
        for task in tasks:
            label = log.labels[task.name][at].astype(np.float64)
            labels[task.name] = label if task.kind == "binary" else np.log1p(np.maximum(label, 0))
        return cls(log.time_ms[at], groups, labels)

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, at: Int) -> Rows:
        """The rows `at`."""
        groups = {name: values[at] for name, values in self.groups.items()}
        return Rows(self.time_ms[at], groups, {name: values[at] for name, values in self.labels.items()})


class Earlier:
    """The rows `known` before each of the rows `asked`, by group."""

    def __init__(self, known: Rows, asked: Rows) -> None:
        self.known, self.asked = known, asked
        self._places: dict[str, tuple[Int, Int, Int]] = {}

    def rate(self, group: str, task: Task, smoothing: float) -> Doubles:
        """The smoothed mean label of the group's rows before each row; without one, that of all known rows."""
        if group not in self._places:
            self._places[group] = _before(
                self.known.groups[group], self.known.time_ms, self.asked.groups[group], self.asked.time_ms
            )
        order, start, end = self._places[group]
        label = self.known.labels[task.name]
        sums = np.concatenate(([0.0], np.cumsum(label[order])))
        mean = float(label.mean()) if len(label) else 0.0
        rate = (sums[end] - sums[start] + smoothing * mean) / (end - start + smoothing)
        return np.clip(rate, 1e-6, 1 - 1e-6) if task.kind == "binary" else rate


def _before(code: Int, time_ms: Int, asked_code: Int, asked_ms: Int) -> tuple[Int, Int, Int]:
    """An order by code, then time, in which the rows of each asked code before its time are a range.

    Returns:
        order (n,), and start and end of the ranges (asked,).
    """
    codes = np.unique(np.concatenate([code, asked_code]), return_inverse=True)[1]
    times = np.unique(time_ms)
    width = len(times) + 1
    key = codes[: len(code)] * width + np.searchsorted(times, time_ms)
    order = np.argsort(key, kind="stable")
    first = codes[len(code) :] * width
    start = np.searchsorted(key, first, sorter=order)
    end = np.searchsorted(key, first + np.searchsorted(times, asked_ms), sorter=order)
    return order, start, end


@dataclass(frozen=True)
class Rates:
    """What valid chose for one baseline and task.

    Attributes:
        groups: names of the groups; one, or all with a weight each.
        smoothing: of each group. valid: AUC or XAUC there.
        weights: of each group's rate (binary: of its logit); None: the rate itself. offset: added to the weighted sum.
    """

    groups: tuple[str, ...]
    smoothing: tuple[float, ...]
    valid: float = 0.0
    weights: tuple[float, ...] | None = None
    offset: float = 0.0

    def __str__(self) -> str:
        """In words."""
        if self.weights is None:
            return f"{self.groups[0]}, smoothed by {self.smoothing[0]:g} rows"
        heaviest = sorted(zip(self.weights, self.groups, strict=True), reverse=True)[:3]
        return f"weighted, most of all {', '.join(name for weight, name in heaviest if weight)}"

    def scores(self, earlier: Earlier, task: Task) -> Doubles:
        """Probabilities, or expected log(1 + target), of the rows asked, (n,)."""
        z = self.features(earlier, task)
        total = z[0] if self.weights is None else np.asarray(self.weights) @ z + self.offset
        # The logistic function, which does not overflow in this form.
        return np.asarray(0.5 * (1 + np.tanh(total / 2))) if task.kind == "binary" else total

    def features(self, earlier: Earlier, task: Task) -> Doubles:
        """The rates, or their logits, (groups, n)."""
        each = [earlier.rate(g, task, s) for g, s in zip(self.groups, self.smoothing, strict=True)]
        return np.stack([np.log(rate / (1 - rate)) for rate in each] if task.kind == "binary" else each)


def best_rates(known: Rows, asked: Rows, tasks: Sequence[Task]) -> dict[str, dict[str, Rates]]:
    """By baseline and task the groups and the smoothing with the highest AUC (XAUC) on the rows `asked`."""
    if len(asked) > TO_CHOOSE:
        asked = asked.take(np.linspace(0, len(asked) - 1, TO_CHOOSE).astype(np.int64))
    earlier = Earlier(known, asked)
    table: dict[str, dict[str, Rates]] = {}
    for task in tasks:
        if len(np.unique(asked.labels[task.name])) > 1:
            for name, rates in _of_task(earlier, task):
                table.setdefault(name, {})[task.name] = rates
    return table


def _of_task(earlier: Earlier, task: Task) -> Iterator[tuple[str, Rates]]:
    """The best single rate of each kind, and all rates together with the weights that fit the rows asked best."""
    label = earlier.asked.labels[task.name]
    quality = metrics.auc if task.kind == "binary" else metrics.xauc

    def looked_at(rates: Rates) -> Rates:
        return replace(rates, valid=quality(label, rates.scores(earlier, task)))

    best = {
        group: max((looked_at(Rates((group,), (s,))) for s in SMOOTHING), key=lambda rates: rates.valid)
        for group in earlier.known.groups
    }
    for name, kind in KINDS.items():
        groups = [group for group in best if kind(group)]
        if groups:
            yield name, max((best[group] for group in groups), key=lambda rates: rates.valid)
    # What is the same for all rows of valid says nothing about its weight.
    differ = {g: rates.smoothing[0] for g, rates in best.items() if np.ptp(rates.features(earlier, task)) > 1e-6}
    if not differ:
        return
    together = Rates(tuple(differ), tuple(differ.values()))
    fit = blend.logistic if task.kind == "binary" else blend.linear
    weights, offset = fit(together.features(earlier, task), label.astype(np.float32))
    yield "rates", looked_at(replace(together, weights=tuple(weights.tolist()), offset=float(offset)))


KINDS: dict[str, Callable[[str], bool]] = {
    "item_rate": lambda group: group == "item",
    "own_rate": lambda group: group == "user",
    "context_rate": lambda group: group not in ("item", "user") and " and " not in group,
    "item_context_rate": lambda group: group.startswith("item and "),
    "own_context_rate": lambda group: group.startswith("user and "),
}
"""Baselines by the groups that they may choose from."""
