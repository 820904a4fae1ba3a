"""What a device learns from its lists: a bounded correction of utilities for one user, used only if it predicts better.

The probability that an item of a list is taken is ``sigmoid(level + log-odds of the utility + correction)``. `level` is
learned for all items alike; the correction is a linear function of the item's row less the table's mean row, learned by
stochastic gradient and bounded. It is used only while it has predicted the user's answers better than no correction
would have. It needs numpy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.bundle.policy import Adapt
from edgerec.tasks.buffers import Floats, Matrix

Double = npt.NDArray[np.float64]
Utilities: TypeAlias = "Floats | npt.NDArray[np.float32]"
Vectors: TypeAlias = "Matrix | npt.NDArray[np.float32]"

START_LEVEL: Final = 0.0
LEVEL_RATE: Final = 0.05
SHRINK: Final = 1e-3
"""Of the correction's weights, with every list."""
REMEMBERS: Final = 0.98
"""Factor of the guard's evidence after each answer: it looks back at some fifty answers."""
NEEDED: Final = 20.0
"""Answers before a correction may be used."""
MARGIN: Final = 1.0
"""Log-likelihood, summed over what the guard remembers, by which the correction must have been better."""
MAX_COUNTED: Final = 1000
"""Items whose answers are counted; those least often shown are dropped first."""
_TINY: Final = 1e-12


@dataclass
class LearnedState:
    """The state of one user on one bundle.

    Attributes:
        bundle: which table the weights are over; another bundle starts anew.
        level: log-odds, see above. weights: float64 (dim,).
        gained: log-likelihood with the correction less that without it, over the answers that the guard remembers.
        answers: how many were learned from.
        counts: by item id, in how many lists it was, and from how many it was taken.
        inverse, response: of LinUCB, (dim, dim) and (dim,); None until they are needed.
        last: name of the last list that was learned from.
    """

    bundle: str
    level: float = START_LEVEL
    weights: Double | None = None
    gained: float = 0.0
    answers: int = 0
    counts: dict[str, list[int]] = field(default_factory=dict)
    inverse: Double | None = None
    response: Double | None = None
    last: str = ""

    def trusted(self) -> bool:
        """Whether the guard lets the correction be used."""
        return self.answers >= NEEDED and self.gained > MARGIN

    def correction(self, vectors: Vectors, adapt: Adapt) -> Double:
        """Log-odds (n,) for items with these vectors (n, dim), whether they are trusted or not."""
        x = unit_rows(vectors)
        if self.weights is None or len(self.weights) != x.shape[1]:
            return np.zeros(len(x))
        bounded: Double = np.clip(x @ self.weights, -adapt.most, adapt.most)
        return bounded

    def chance(self, utility: Utilities, moved: Double | float = 0.0) -> Double:
        """Probability of being taken, (n,)."""
        u = np.maximum(np.asarray(utility, np.float64), _TINY)
        # The log-odds of a probability; the logarithm of a utility of 1 or more, which is not a probability.
        z = self.level + np.log(u) - np.where(u < 1, np.log1p(-np.minimum(u, 1 - _TINY)), 0.0) + moved
        return 1 / (1 + np.exp(-np.clip(z, -30, 30)))

    def learn(self, utility: Utilities, vectors: Vectors, taken: npt.NDArray[np.bool_], adapt: Adapt) -> None:
        """Learn from a list of n items: utilities (n,), vectors (n, dim), and which were taken (n,)."""
        x = unit_rows(vectors)
        if self.weights is None or len(self.weights) != x.shape[1]:
            self.weights = np.zeros(x.shape[1])
        moved = self.correction(vectors, adapt)
        plain, corrected = self.chance(utility), self.chance(utility, moved)
        for p, q, r in zip(plain.tolist(), corrected.tolist(), taken.tolist(), strict=True):
            gain = np.log((q if r else 1 - q) / (p if r else 1 - p))
            self.gained = REMEMBERS * self.gained + float(gain)
        self.answers += len(x)
        self.weights += adapt.rate * ((taken - corrected) @ x) - SHRINK * self.weights
        self.level += LEVEL_RATE * float((taken - plain).mean())

    def count(self, items: tuple[str, ...], taken: npt.NDArray[np.bool_]) -> None:
        """Count a list's answers by item."""
        for item, r in zip(items, taken.tolist(), strict=True):
            count = self.counts.setdefault(item, [0, 0])
            count[0] += 1
            count[1] += bool(r)
        if len(self.counts) > MAX_COUNTED:
            often = sorted(self.counts, key=lambda item: self.counts[item][0], reverse=True)
            self.counts = {item: self.counts[item] for item in often[: MAX_COUNTED // 2]}

    def refine(self, vectors: Vectors, taken: npt.NDArray[np.bool_]) -> None:
        """LinUCB's sums, by Sherman and Morrison."""
        x = unit_rows(vectors)
        dim = x.shape[1]
        if self.inverse is None or self.response is None or len(self.response) != dim:
            self.inverse, self.response = np.eye(dim), np.zeros(dim)
        for row, r in zip(x, taken.tolist(), strict=True):
            turned = self.inverse @ row
            self.inverse -= np.outer(turned, turned) / (1 + row @ turned)
            self.response += bool(r) * row

    def to_bytes(self) -> bytes:
        """JSON, with arrays as lists."""
        arrays = ("weights", "inverse", "response")
        plain = {k: v.tolist() if k in arrays and v is not None else v for k, v in vars(self).items()}
        return json.dumps(plain).encode()

    @classmethod
    def from_bytes(cls, content: bytes | None, bundle: str) -> LearnedState:
        """The inverse; what is damaged, or of another bundle, starts anew."""
        try:
            values: dict[str, Any] = json.loads(content or b"{}")
            if values.get("bundle") != bundle:
                return cls(bundle)
            for name in ("weights", "inverse", "response"):
                values[name] = None if values[name] is None else np.array(values[name], np.float64)
            return cls(**values)
        except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
            return cls(bundle)


def unit_rows(vectors: Vectors) -> Double:
    """Rows (n, dim) of length 1, or 0."""
    rows = np.asarray(vectors, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Double = rows / np.where(length > 0, length, 1)
    return unit
