"""Popularity as members: at half-lives from an hour to a year, as of each request's own time, and within categories."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from edgerec.ensemble.histories import FlatHistories
from edgerec.ensemble.views import MAX_ROWS
from edgerec.examples.graph import consumed_rows
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.examples.requests import Requests
from edgerec.metrics import HALF_LIVES_H, Popularity
from edgerec.tasks.history import Double, Float, Int

HALF_LIVES = {f"popularity.{h:g}h": h for h in HALF_LIVES_H}
"""Members and their half-lives in hours: those of the baselines, which are then within the ensemble's reach."""
MARKS = 64
"""Counts are kept after so many equal parts of the log, so that a request only adds the events since the last one."""
LEAST_SHARE = 0.01
"""Of the user's past, that a category has beside what was counted."""


class PopularityMembers:
    """How popular every item is just before a request, relative to the mean item and in logs."""

    def __init__(self, data: LearningData) -> None:
        log, self.n_items = data.train_log, data.n_items
        since = latest_since(log, MAX_ROWS)
        rows = np.flatnonzero(consumed_rows(log, data.tasks) & (log.time_ms >= since) & (log.item < data.n_items))
        self.events = Popularity(log.item[rows], log.time_ms[rows], data.n_items)
        self.as_of_ms = data.statistics.as_of_ms
        self.marks = np.linspace(0, len(rows), MARKS + 1).astype(np.int64)
        self._kept: dict[str, Float] = {}
        columns, categories = data.dataset.meta.items.categorical, data.features.categorical.numpy()
        self.categories = {column.name: categories[:, i] for i, column in enumerate(columns)}

    def names(self) -> list[str]:
        """Those of `HALF_LIVES`, and with a categorical column of the items at the end: within what the user likes."""
        return [*HALF_LIVES, *(f"{name}.{column}" for name in HALF_LIVES for column in self.categories)]

    def scores(self, wanted: Collection[str], requests: Requests, chosen: Int) -> dict[str, Float]:
        """Scores of every item by each of the members `wanted`, which may name others too, (B, N) each.

        Within categories it is the popularity times the share of the user's past that the item's category has.
        """
        return dict(self.each([name for name in self.names() if name in wanted], requests, chosen))

    def each(self, names: Sequence[str], requests: Requests, chosen: Int) -> Iterator[tuple[str, Float]]:
        """The same of the members `names`, one after the other."""
        popular: tuple[str, Float] | None = None
        shares: dict[str, Float] = {}
        for name in sorted(names):  # those of one half-life follow each other
            age, column = _split(name)
            if popular is None or popular[0] != age:
                popular = age, self._popular(age, requests, chosen)
            if column and column not in shares:
                shares[column] = self._log_preferences(column, requests, chosen)
            yield name, popular[1] + shares[column] if column else popular[1]

    def _popular(self, name: str, requests: Requests, chosen: Int) -> Float:
        """A member of `HALF_LIVES`; a request whose statistics are of a later time than its own is one of that time."""
        half_life_h, kept = HALF_LIVES[name], self._counts_at_marks(name)
        known = self.events.known(np.maximum(requests.time_ms[chosen], self.as_of_ms[requests.as_of[chosen]]))
        scores = np.empty((len(chosen), self.n_items), np.float32)
        counts: Double = np.zeros(self.n_items)
        seen = 0
        ends, places = np.unique(known, return_inverse=True)
        for i, end in enumerate(ends.tolist()):
            mark = int(np.searchsorted(self.marks, end, side="right")) - 1
            if self.marks[mark] > seen:
                seen, counts = int(self.marks[mark]), kept[mark].astype(np.float64)
            self.events.advance(counts, half_life_h, seen, end)
            seen = end
            scores[places == i] = np.log(counts / max(counts.mean(), 1e-9) + 0.05)
        return scores

    def _log_preferences(self, column: str, requests: Requests, chosen: Int) -> Float:
        """Log of the share of the user's past that each item's category has, (B, N); 0, unknown, has none."""
        category = self.categories[column]
        past, size = FlatHistories.of(requests, chosen), int(category.max(initial=0)) + 1
        known = past.item < self.n_items
        of_past = category[past.item[known]]
        counted = np.bincount(past.row[known] * size + of_past, past.count[known] * (of_past > 0), len(chosen) * size)
        counted = counted.reshape(-1, size)
        share = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)
        log_share: Float = np.log(share + LEAST_SHARE).astype(np.float32)[:, category]
        return log_share

    def _counts_at_marks(self, name: str) -> Float:
        """Counts after each mark, (MARKS + 1, N)."""
        if name not in self._kept:
            kept = np.zeros((len(self.marks), self.n_items), np.float32)
            counts: Double = np.zeros(self.n_items)
            for m, (seen, end) in enumerate(zip(self.marks, self.marks[1:], strict=False), 1):
                self.events.advance(counts, HALF_LIVES[name], int(seen), int(end))
                kept[m] = counts
            self._kept[name] = kept
        return self._kept[name]


def _split(name: str) -> tuple[str, str]:
    """The half-life's member and the column, "" without one."""
    popularity, age, *column = name.split(".", 2)
    return f"{popularity}.{age}", "".join(column)
