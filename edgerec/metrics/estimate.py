"""A metric with its standard error, and what is needed to compare two models on the same requests or rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "Estimate", "Floats", "mean"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A metric with its uncertainty.

    `deviations` are independent contributions to the error (one a request, a user or a bootstrap draw), scaled so that
    the standard error is the root of the sum of their squares. Two models evaluated on the same requests or rows have
    aligned deviations, so the error of their difference follows from the difference of the deviations.
    """

    value: float
    n: int
    """Requests, rows or groups that the value is a mean over."""
    deviations: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def se(self) -> float:
        """Standard error; NaN where there is none (one request, or a metric of the whole set)."""
        return math.nan if self.deviations is None else float(np.sqrt(np.square(self.deviations).sum()))

    def each(self) -> Floats:
        """The values that a `mean` of two or more is over."""
        assert self.deviations is not None
        return self.deviations * math.sqrt(self.n * (self.n - 1)) + self.value

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference of two models on the same requests or rows.

        Raises:
            ValueError: the two were not measured on the same requests or rows.
        """
        if self.n != other.n:
            raise ValueError(f"a paired difference needs the same requests, got {self.n} and {other.n}")
        if self.deviations is None or other.deviations is None:
            return Estimate(self.value - other.value, self.n)
        if len(self.deviations) != len(other.deviations):
            raise ValueError("a paired difference needs standard errors of the same kind")
        return Estimate(self.value - other.value, self.n, self.deviations - other.deviations)

    def over(self, other: Estimate) -> Estimate:
        """The ratio of two models on the same requests or rows, with the paired error of first order.

        A ratio of 0 has the relative error of what it is compared with: it has none of its own, and nothing of one hit
        among 19 requests would look as sure as nothing of a thousand.
        Raises:
            ValueError: the two were not measured on the same requests or rows.
        """
        if self.n != other.n:
            raise ValueError(f"a paired ratio needs the same requests, got {self.n} and {other.n}")
        if not other.value:
            return Estimate(math.nan, self.n)
        ratio = self.value / other.value
        if self.deviations is None or other.deviations is None:
            return Estimate(ratio, self.n)
        deviations = self.deviations - ratio * other.deviations if ratio else other.deviations
        return Estimate(ratio, self.n, deviations / other.value)

    def to_json(self, deviations: bool = False) -> dict[str, Any]:
        """`{"value", "se", "n"}`; NaN becomes null. With `deviations`, differences can still be paired later."""
        values: dict[str, Any] = {"value": _finite(self.value), "se": _finite(self.se), "n": self.n}
        if deviations:
            values["deviations"] = None if self.deviations is None else self.deviations.tolist()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Estimate:
        """What `to_json` gave. Without deviations it holds value and error only: paired differences are then wrong."""
        value, se = values["value"], values["se"]
        deviations = values.get("deviations", None if se is None else [se])
        deviations = None if deviations is None else np.array(deviations)
        return cls(math.nan if value is None else value, values["n"], deviations)


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


def mean(values: Floats) -> Estimate:
    """The mean of independent values, with the usual standard error (n - 1 in the denominator)."""
    n = len(values)
    if n == 0:
        return Estimate(math.nan, 0)
    mean = float(values.mean())
    return Estimate(mean, n, (values - mean) / math.sqrt(n * (n - 1)) if n > 1 else None)
