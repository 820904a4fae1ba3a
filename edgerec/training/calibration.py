"""From a regression task's logit to a calibrated expectation in the label's unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]


def fit_expectation(logit: Double, label: Double) -> tuple[float, float]:
    """Slope and offset of ``exp(slope * logit + offset)``, the expectation of `label` >= 0; both (n,).

    Poisson regression: the mean of the expectations equals the mean of the labels, whatever their distribution.
    Newton's method on a convex loss; a constant label, or one that falls with the logit, gives slope 0.
    Source: McCullagh and Nelder, Generalized Linear Models, 1989, chapter 6.
    """
    mean = float(label.mean())
    if mean <= 0 or float(logit.std()) < 1e-9:
        return 0.0, float(np.log(max(mean, 1e-9)))
    x = np.stack([logit, np.ones_like(logit)], axis=1)
    beta = np.array([0.5, np.log(mean)])
    for _ in range(50):
        expected = np.exp(np.clip(x @ beta, -30, 30))
        gradient = x.T @ (expected - label)
        hessian = (x * expected[:, None]).T @ x
        step = np.linalg.solve(hessian + 1e-9 * np.trace(hessian) * np.eye(2), gradient)
        beta = beta - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return (float(beta[0]), float(beta[1])) if beta[0] > 0 else (0.0, float(np.log(mean)))
