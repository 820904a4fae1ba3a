"""A sequential test: a confidence interval that stays valid however often one looks at it.

Source: asymptotic confidence sequences, Waudby-Smith et al., Annals of Statistics 2024, with Robbins' normal mixture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST_LOOK", "Verdict", "always_valid"]

FIRST_LOOK: Final = 100
"""Users before which nothing is decided, since the interval relies on the central limit theorem."""
TIGHTEST_AT: Final = 1000
"""Users at which the interval is as tight as such an interval can be."""


@dataclass(frozen=True)
class Verdict:
    """The result after all users so far.

    Attributes:
        value: mean difference per user.
        low, high: interval that contains the true difference at every look so far, with probability `level`.
        decided_at: number of users after which the interval first excluded zero; None: it never did.
    """

    value: float
    low: float
    high: float
    users: int
    level: float
    decided_at: int | None

    @property
    def winner(self) -> Literal["a", "b"] | None:
        """The better side, once it is decided."""
        return None if self.decided_at is None else ("b" if self.value > 0 else "a")

    def to_json(self) -> dict[str, float | int | str | None]:
        """As plain values."""
        sides = {"value": self.value, "low": self.low, "high": self.high}
        finite = {name: value if math.isfinite(value) else None for name, value in sides.items()}
        more = {"users": self.users, "level": self.level, "decided_at": self.decided_at, "winner": self.winner}
        return {**finite, **more}


def always_valid(differences: npt.NDArray[Any], level: float = 0.95) -> Verdict:
    """Test the mean of one difference per user, (n,), in the order in which the users came."""
    x = np.asarray(differences, np.float64)
    n = np.arange(1, len(x) + 1)
    mean = np.cumsum(x) / n
    spread = np.sqrt(np.maximum(np.cumsum(x * x) / n - mean**2, 0) * n / np.maximum(n - 1, 1))
    width = spread * _half_width(n.astype(np.float64), 1 - level)
    out = np.flatnonzero((np.abs(mean) > width) & (n >= FIRST_LOOK))
    if len(x) < FIRST_LOOK:
        return Verdict(float(mean[-1]) if len(x) else math.nan, -math.inf, math.inf, len(x), level, None)
    decided = int(n[out[0]]) if len(out) else None
    return Verdict(float(mean[-1]), float(mean[-1] - width[-1]), float(mean[-1] + width[-1]), len(x), level, decided)


def _half_width(n: npt.NDArray[np.float64], alpha: float) -> npt.NDArray[np.float64]:
    """In standard deviations of one user."""
    # The mixture's scale that makes the interval tightest after TIGHTEST_AT users.
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / TIGHTEST_AT
    return np.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / alpha))
