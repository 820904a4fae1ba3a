"""Popularity as members of the ensemble: at half-lives from an hour to a year, as of each request's own time."""

from __future__ import annotations

import numpy as np

from edgerec.ensemble.views import MAX_ROWS
from edgerec.examples.graph import consumed_rows
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.examples.requests import Requests
from edgerec.metrics import Popularity
from edgerec.tasks.history import Double, Float, Int

HALF_LIVES = {f"popularity.{h:g}h": h for h in (1.0, 6.0, 24.0, 72.0, 240.0, 720.0, 8760.0)}
"""Members and their half-lives in hours."""
MARKS = 64
"""Counts are kept after so many equal parts of the log, so that a request only adds the events since the last one."""


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

    def scores(self, name: str, requests: Requests, chosen: Int) -> Float:
        """Scores of every item by the member `name` of `HALF_LIVES`, (B, N).

        A request whose statistics are of a later time than its own is one of that time.
        """
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
