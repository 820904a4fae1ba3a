"""From a regression task's logit to a calibrated expectation in the label's unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]


def fit_expectation(logit: Double, label: Double) -> tuple[float, float]:
    """Slope and offset of ``exp(slope * logit + offset)``, the expectation of `label` >= 0; both (n,).

    Poisson regression: the mean of the expectations equals the mean of the labels, whatever their distribution.
    Newton's method with step halving on a convex loss. A label that is constant or falls with the logit gives slope 0.
    Source: McCullagh and Nelder, Generalized Linear Models, 1989, chapter 6.
    """
    mean, std = float(label.mean()), float(logit.std())
    if mean <= 0 or std < 1e-9:
        return 0.0, float(np.log(max(mean, 1e-9)))
    x = np.stack([(logit - logit.mean()) / std, np.ones_like(logit)], axis=1)
    beta = np.array([0.0, np.log(mean)])
    for _ in range(50):
        expected = np.exp(x @ beta)
        hessian = (x * expected[:, None]).T @ x
        step = np.linalg.solve(hessian + 1e-9 * np.trace(hessian) * np.eye(2), x.T @ (expected - label))
        size = 1.0
        while size > 1e-6 and not _loss(x @ (beta - size * step), label) <= _loss(x @ beta, label):
            size /= 2  # far from the optimum a whole step leads away from it
        beta = beta - size * step
        if np.abs(step).max() < 1e-10:
            break
    if beta[0] <= 0:
        return 0.0, float(np.log(mean))
    slope = float(beta[0]) / std
    line = slope * logit
    return slope, float(np.log(mean) - line.max() - np.log(np.exp(line - line.max()).mean()))


def _loss(line: Double, label: Double) -> float:
    """Of Poisson regression, but for a constant."""
    with np.errstate(over="ignore"):
        return float((np.exp(line) - label * line).sum())
