"""Fills the last places of a list so that the device learns what it does not know, each with its probability.

A place is filled evenly from the pool with probability epsilon, so that every candidate can be estimated off-policy;
otherwise by the method: the next best ("epsilon"), a draw from what is believed of each item ("thompson"; Chapelle and
Li, NIPS 2011), or the largest upper bound ("linucb"; Li et al., WWW 2010). It needs numpy: one place by "thompson" is
tens of thousands of random numbers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgerec.bundle.policy import Explore
from edgerec.runtime.adaptation import LearnedState, Vectors, unit_rows
from edgerec.tasks.buffers import Floats, floats

Int = npt.NDArray[np.int64]
Double = npt.NDArray[np.float64]

DRAWS: Final = 256
"""Draws of Thompson sampling, from which the probability of its choice is estimated."""


def fill(
    explore: Explore,
    k: int,
    ids: list[str],
    utility: Floats,
    vectors: Vectors | None,
    learned: LearnedState,
    random: np.random.Generator,
) -> tuple[Int, Double]:
    """Positions in the pool of k items, and with what probability each was chosen for its place.

    Args:
        ids, utility, vectors: of the pool's P >= k items, as the list would have them, best first; vectors (P, dim)
            are needed for "linucb".
    """
    slots = min(explore.slots, k)
    chosen = list(range(k - slots))
    probability = [1.0] * len(chosen)
    rest = list(range(k - slots, len(ids)))
    # Thompson and LinUCB start from the model's utility; an item without evidence keeps it.
    for _ in range(slots):
        left = None if vectors is None else np.asarray(vectors)[rest]
        p = (1 - explore.epsilon) * _probabilities(
            explore, [ids[i] for i in rest], floats(utility[i] for i in rest), left, learned, random
        )
        p += explore.epsilon / len(rest)
        p /= p.sum()
        at = int(random.choice(len(rest), p=p))
        probability.append(float(p[at]))
        chosen.append(rest.pop(at))
    return np.array(chosen, np.int64), np.array(probability)


def _probabilities(
    explore: Explore,
    ids: list[str],
    utility: Floats,
    vectors: Vectors | None,
    learned: LearnedState,
    random: np.random.Generator,
) -> Double:
    """With what probability the method alone takes each candidate, (n,), adding up to 1."""
    n = len(ids)
    if explore.method == "thompson":
        belief = _draws(explore, ids, utility, learned, random)
        return np.bincount(belief.argmax(axis=1), minlength=n) / DRAWS
    probability = np.zeros(n)
    if explore.method == "linucb" and vectors is not None:
        probability[int(_upper(explore, utility, vectors, learned).argmax())] = 1.0
    else:
        probability[0] = 1.0
    return probability


def _draws(
    explore: Explore, ids: list[str], utility: Floats, learned: LearnedState, random: np.random.Generator
) -> Double:
    """Chances (DRAWS, n) by Beta distributions: the model's probability counts as 1 / width answers."""
    chance = np.clip(learned.chance(utility), 1e-6, 1 - 1e-6)
    counts = np.array([learned.counts.get(item, (0, 0)) for item in ids], np.float64).reshape(-1, 2)
    weight = 1 / max(explore.width, 1e-3)
    a, b = chance * weight + counts[:, 1], (1 - chance) * weight + counts[:, 0] - counts[:, 1]
    return random.beta(a, b, (DRAWS, len(ids)))


def _upper(explore: Explore, utility: Floats, vectors: Vectors, learned: LearnedState) -> Double:
    chance = learned.chance(utility)
    x = unit_rows(vectors)
    if learned.inverse is None or learned.response is None or len(learned.response) != x.shape[1]:
        return chance + explore.width
    theta = learned.inverse @ learned.response
    spread: Double = np.sqrt(np.maximum(((x @ learned.inverse) * x).sum(axis=1), 0))
    return chance + x @ theta + explore.width * spread
