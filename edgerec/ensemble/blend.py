"""How the scores of members become one: non-negative weights that fit labels or maximise a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar, nnls
from scipy.special import expit, logsumexp

from edgerec.tasks.history import Float

ROUNDS = 20
HEAD = 100
"""A member's scale is the distance from its best score to its 100th."""


def spread(scores: Float) -> float:
    """Mean distance from the best to the `HEAD`-th best score of each row, (R, N); 0 where all scores are equal."""
    head = min(HEAD, scores.shape[1]) - 1
    best = -np.partition(-scores, head, axis=1)[:, : head + 1]
    distance = best.max(axis=1) - best.min(axis=1)
    return float(distance.mean()) if len(distance) else 0.0


def greedy(members: Mapping[str, Float], metric: Callable[[Float], float]) -> dict[str, float]:
    """Weights of the members, each at its own scale, that maximise the `metric` of the weighted sum.

    Adds the member that helps most, the same one again if need be, until none helps.
    Source: Caruana et al., ICML 2004.
    Args:
        members: scores of one shape, (R, N).
    """
    scale = {name: 1 / s for name, scores in members.items() if (s := spread(scores)) > 0}
    picks = dict.fromkeys(members, 0)
    total: Float = np.zeros_like(next(iter(members.values())))
    best = -np.inf
    for _ in range(ROUNDS):
        values = {name: metric(total + scale[name] * members[name]) for name in scale}
        if not values:
            break
        name = max(values, key=lambda n: values[n])
        if values[name] <= best:
            break
        best = values[name]
        picks[name] += 1
        total = total + scale[name] * members[name]
    return {name: picks[name] * scale.get(name, 0.0) for name in members}


def temperature(scores: Float, probs: Float, log_weight: Float | float = 0.0) -> float:
    """The factor of `scores` (R, N) whose softmax fits `probs` (R, N), rows summing to 1, best by cross-entropy.

    `log_weight`: of how many items each score stands for.
    """
    expected = float((probs * np.where(probs > 0, scores, 0)).sum(axis=1).mean())

    def loss(log_factor: float) -> float:
        factor = np.float32(np.exp(log_factor))
        return float(logsumexp(factor * scores + log_weight, axis=1).mean() - factor * expected)

    minimum = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 0.02})
    return float(np.exp(minimum.x))


def logistic(members: npt.NDArray[np.float64], label: Float) -> tuple[npt.NDArray[np.float64], float]:
    """Non-negative weights and an offset of logits (M, R) that fit labels (R,) best by log-loss."""

    def loss(w: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        z = w[:-1] @ members + w[-1]
        error = expit(z) - label
        gradient = np.append(members @ error, error.sum()) / len(label)
        return float((np.logaddexp(0, z) - label * z).mean()), gradient

    m = len(members)
    start = np.append(np.full(m, 1 / m), 0.0)
    minimum = minimize(loss, start, jac=True, bounds=[(0, None)] * m + [(None, None)], method="L-BFGS-B")
    return minimum.x[:-1], float(minimum.x[-1])


def linear(members: npt.NDArray[np.float64], label: Float) -> tuple[npt.NDArray[np.float64], float]:
    """The same by squared error, for predictions (M, R) of regression targets (R,)."""
    mean, centre = label.mean(), members.mean(axis=1, keepdims=True)
    weights, _ = nnls((members - centre).T, (label - mean).astype(np.float64))
    return weights, float(mean - (weights @ centre).item())


def logit(log_prob: Float) -> Float:
    """Log-probability -> log-odds."""
    log_prob = np.minimum(log_prob, -1e-6)
    log_odds: Float = log_prob - np.log(-np.expm1(log_prob))
    return log_odds
