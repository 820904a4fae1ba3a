"""Which rows the closed-form members of a request may have been fitted on: a request never meets its own outcome.

A log that is split by time is rolled back: members are fitted on the rows before an as-of time and serve the requests
of the window after it. Where each user's last event is the evaluation split, there is no such as-of time, so members
are fitted on the other users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgerec.config import EnsembleConfig, duration_ms
from edgerec.config.stages import Member, Regression
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log, latest_since
from edgerec.examples.requests import Requests
from edgerec.examples.scratch import pieces
from edgerec.tasks.history import Int

MAX_ROWS = 20_000_000
"""Closed-form members hold the rows that they are fitted on in memory."""


@dataclass(frozen=True)
class EnsembleSettings:
    """Settings of the members: their own section, and what they share with the teacher's networks.

    Attributes:
        folds: groups of users; one network and one booster are fitted without each.
        regression: the loss of regression targets.
    """

    ensemble: EnsembleConfig
    folds: int
    regression: Regression
    seed: int

    @property
    def members(self) -> tuple[Member, ...]:
        """Names of the members beside the networks."""
        return self.ensemble.members

    def only(self, members: tuple[Member, ...]) -> EnsembleSettings:
        """The same with other members."""
        return replace(self, ensemble=self.ensemble.model_copy(update={"members": members}))


@dataclass(frozen=True)
class Views:
    """V views of a log.

    Attributes:
        cuts_ms: ascending as-of times, view v serves the requests from ``cuts_ms[v]`` on; None where users are left
            out.
        folds: groups of users, view v serves the users of fold v; 0 where the log is rolled back.
        end_ms: int64 (n_users,), where the log, or each user's part of it, ends; later requests are served by all of
            it, view V, since it does not hold their outcome.
    """

    cuts_ms: Int | None
    folds: int
    end_ms: Int

    @classmethod
    def of(cls, settings: EnsembleSettings, data: LearningData) -> Views:
        """The views of `data`."""
        log, end_ms = data.train_log, int(data.statistics.as_of_ms[-1])
        n_users = len(log.offsets) - 1
        if data.by_user:
            last = log.time_ms[np.maximum(log.offsets[1:] - 1, 0)]
            return cls(None, settings.folds, np.where(np.diff(log.offsets) > 0, last + 1, end_ms))
        first_ms = int(log.time_ms.min())
        # A short log has shorter windows, so that the earliest members still see an equal part of it.
        windows = settings.ensemble.windows
        step = min(duration_ms(settings.ensemble.window), (end_ms - first_ms) // (windows + 1))
        return cls(end_ms - step * np.arange(windows, 0, -1, dtype=np.int64), 0, np.broadcast_to(end_ms, n_users))

    def __len__(self) -> int:
        return self.folds if self.cuts_ms is None else len(self.cuts_ms)

    def rows(self, log: Log, view: int, most: int = MAX_ROWS) -> Int:
        """The latest `most` rows of `log` that a view's members may be fitted on; view ``len(self)``: all."""

        def part(start: int, end: int) -> Int:
            time_ms = log.time_ms[start:end]
            keep = time_ms >= since
            if cut_ms is not None:
                keep &= time_ms < cut_ms
            elif view < len(self):
                keep &= fold_of(log.user[start:end], self.folds) != view
            return start + np.flatnonzero(keep)

        cut_ms = None if self.cuts_ms is None or view == len(self) else int(self.cuts_ms[view])
        since = latest_since(log, most, cut_ms)
        return np.concatenate([part(*piece) for piece in pieces(len(log))])

    def serving(self, requests: Requests) -> Int:
        """The view that serves each request, -1 where none does."""
        if self.cuts_ms is None:
            view = fold_of(requests.user, self.folds)
        else:
            view = np.searchsorted(self.cuts_ms, requests.time_ms, side="right") - 1
        return np.where(requests.time_ms >= self.end_ms[requests.user], len(self), view).astype(np.int64)

    def with_statistics(self, requests: Requests, view: int, last: int) -> Requests:
        """The requests with the item statistics that go with a view: of their own as-of times, or else of the `last`.

        Without a split by time, evaluation requests keep the statistics of their own time too: later ones would hold
        their outcome.
        """
        if self.cuts_ms is None or view >= 0:
            return requests
        return replace(requests, as_of=np.full(len(requests), last, np.int64))
