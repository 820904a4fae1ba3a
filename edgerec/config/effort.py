"""How much is learned from a log where the settings do not say: by its size and the effort.

The settings of the dear parts of a run come in steps, from the defaults to the least that is worth it. What is chosen
are the dearest steps with which the whole run stays within the time of its effort, see `edgerec.stages.effort`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["STEPS", "TOGETHER", "Effort", "LogSize", "time_s"]

Effort = Literal["quick", "normal", "full"]
"""quick: a first result; normal: what pays; full: the defaults of all settings, however long they take."""


@dataclass(frozen=True)
class LogSize:
    """What of a log decides how long it takes to learn from it.

    Attributes:
        rows: of the log. users, items: that occur in it.
        sessions: of the log; without a session column, as many as rows.
        past: mean number of earlier rows of the user of a row.
        judged: users in the test part. texts: items with a text.
    """

    rows: int
    users: int
    items: int
    sessions: int
    past: float
    judged: int
    texts: int = 0


NETWORKS = (
    "teacher.epochs",
    "teacher.sessions_per_epoch",
    "teacher.impressions_per_epoch",
    "teacher.folds",
)
MEMBERS = (
    "ensemble.windows",
    "ensemble.requests",
    "ensemble.candidates",
    "ensemble.trees",
    "ensemble.learning_rate",
    "ensemble.members",
    "ensemble.sequence_events",
)
LABELS = ("distillation.pseudo_labelled", "distillation.future")
STUDENT = ("distillation.epochs", "distillation.requests_per_epoch", "pruning.epochs")
_ALL = ("ease", "als", "graph", "popularity", "own", "transitions", "sequence", "reranker", "boosting")
_SPARSE = ("graph", "popularity", "own", "transitions", "sequence", "reranker", "boosting")
_FEW = ("popularity", "own", "transitions", "boosting")

STEPS: tuple[tuple[float, tuple[str, ...], Sequence[tuple[Any, ...]]], ...] = (
    (
        0.40,
        NETWORKS,
        [
            (6, 20_000, 500_000, 3),
            (5, 20_000, 300_000, 3),
            (5, 15_000, 200_000, 3),
            (4, 12_000, 150_000, 2),
            (4, 8_000, 100_000, 2),
            (3, 8_000, 80_000, 2),
            (3, 5_000, 50_000, 2),
            (2, 5_000, 40_000, 2),
            (2, 3_000, 25_000, 2),
            (2, 2_000, 15_000, 2),
            (1, 2_000, 15_000, 2),
        ],
    ),
    (
        0.25,
        MEMBERS,
        [
            (8, 8_000, 200, 200, 0.05, _ALL, 500_000),
            (6, 6_000, 150, 150, 0.07, _ALL, 400_000),
            (4, 4_000, 100, 100, 0.1, _ALL, 300_000),
            (3, 3_000, 100, 80, 0.12, _ALL, 200_000),
            (4, 4_000, 100, 100, 0.1, _SPARSE, 200_000),
            (2, 2_000, 80, 60, 0.15, _ALL, 100_000),
            (3, 2_000, 80, 60, 0.15, _SPARSE, 100_000),
            (2, 1_000, 50, 40, 0.2, _SPARSE, 50_000),
            (1, 1_000, 50, 40, 0.2, _FEW, 50_000),
        ],
    ),
    (0.15, LABELS, [(0.7, 0.4), (0.5, 0.3), (0.3, 0.2), (0.2, 0.1), (0.1, 0.1)]),
    (
        0.20,
        STUDENT,
        [
            (14, 14_000, 2),
            (12, 12_000, 2),
            (10, 10_000, 1),
            (8, 10_000, 1),
            (8, 8_000, 1),
            (6, 6_000, 1),
            (5, 5_000, 1),
            (4, 4_000, 1),
            (3, 3_000, 1),
        ],
    ),
)
"""Share of the time, keys, and steps from dear to cheap; the first step of all is the default of each key."""
TOGETHER = {"ensemble.learning_rate": "ensemble.trees"}
"""Keys that are chosen only together with another one."""


def time_s(effort: Effort, rows: int) -> float:
    """Seconds within which the whole run should stay; more rows are worth more time."""
    if effort == "full":
        return float("inf")
    return 140.0 if effort == "quick" else 330.0 * max(rows / 100_000, 1.0) ** 0.3
