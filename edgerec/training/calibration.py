"""From a task's logit to a calibrated probability, or to an expectation in the label's unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp

from edgerec.tasks.history import Double


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


LARGEST_SLOPE = 4.0
"""Calibration changes no slope by more than this factor."""


def fit_odds(logit: Double, before: Double, label: Double) -> tuple[float, float]:
    """Slope and offset that make ``before * sigmoid(slope * logit + offset)`` the likeliest, as probability of `label`.

    Source: Platt, 1999, without his prior; the probability of a conditional task's condition is given.
    Args:
        logit, label: (n,). before: (n,), calibrated probability of the condition of a conditional task; 1 without one.
    Returns:
        1, 0 where the labels hold one class only.
    """
    if label.min() == label.max():
        return 1.0, 0.0

    def loss(at: Double) -> tuple[float, Double]:
        own = expit(np.exp(at[0]) * logit + at[1])
        p = np.clip(before * own, 1e-12, 1 - 1e-12)
        slope = (p - label) / (1 - p) * (1 - own)  # derivative by the logit
        gradient = np.array([(slope * logit).mean() * np.exp(at[0]), slope.mean()])
        return float(-(label * np.log(p) + (1 - label) * np.log1p(-p)).mean()), gradient

    most = np.log(LARGEST_SLOPE)
    best = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-most, most), (None, None)])
    return float(np.exp(best.x[0])), float(best.x[1])


def fit_temperature(logits: npt.NDArray[np.float32], probs: npt.NDArray[np.float32]) -> float:
    """The slope that makes ``softmax(slope * logits)`` likeliest, if `probs` were consumed; both (n, N).

    Source: temperature scaling, Guo et al., ICML 2017.
    """
    expected = float((probs * logits).sum())

    def loss(at: float) -> float:
        slope = np.exp(at)
        return float(logsumexp(slope * logits, axis=1).sum() - slope * expected)

    most = np.log(LARGEST_SLOPE)
    return float(np.exp(minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-3}).x))
