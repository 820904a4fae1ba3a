"""Do reasons tell the truth? What they name is taken out of the past, and the utility is asked again.

Source: the deletion test of Samek et al., IEEE TNNLS 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from edgerec import metrics
from edgerec.metrics import Estimate
from edgerec.runtime import ArrayRecommender, Events

REQUESTS = 300
"""That are asked at most."""


def deletion(rec: ArrayRecommender, requests: Iterable[Mapping[str, Any]], seed: int) -> dict[str, Estimate]:
    """For the best item of each request whose past has two items or more.

    Args:
        requests: arguments of `ArrayRecommender.rank`, with "history" by index.
    Returns:
        In how many of them the utility falls more without the strongest reason than without another past item, drawn
        at random; and by what share of itself it falls in both cases. Nothing without such requests.
    """
    random = np.random.default_rng(seed)
    lost = []
    for asked in islice((r for r in requests if len(np.unique(r["history"].item)) > 1), REQUESTS):
        best = rec.rank(1, **asked)
        if not len(best.item) or len(best.history) < 2 or best.utility[0] <= 0:
            continue
        top = int(best.reason[0].argmax())
        other = int(random.choice(np.delete(np.arange(len(best.history)), top)))
        without = [_without(rec, best.item, int(best.history[at]), asked) for at in (top, other)]
        lost.append([1 - u / float(best.utility[0]) for u in without])
    if not lost:
        return {}
    by_top, by_other = np.array(lost).T
    return {
        "top reason matters more": metrics.mean((by_top > by_other) + 0.5 * (by_top == by_other)),
        "lost without the top reason": metrics.mean(by_top),
        "lost without another": metrics.mean(by_other),
    }


def _without(rec: ArrayRecommender, item: Any, cause: int, asked: Mapping[str, Any]) -> float:
    past = asked["history"]
    kept = past.item != cause
    history = Events(past.item[kept], past.kind[kept], past.time_ms[kept])
    return float(rec.rate(item, **{**asked, "history": history}).utility[0])
