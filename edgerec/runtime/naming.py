"""From arrays over item indices to recommendations with ids, titles and reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat

import numpy as np

from edgerec.runtime.engine import Ranked
from edgerec.runtime.model import Model
from edgerec.runtime.results import Reason, Recommendation

MAX_REASONS = 3
"""Reasons that are given for one item."""

_POPULAR = (Reason("popular", None, None, 0.0),)
_NONE: tuple[Reason, ...] = ()


def named(model: Model, ranked: Ranked, explain: bool) -> list[Recommendation]:
    """Scored items, with reasons if they are to be explained."""
    reasons = _reasons(model, ranked) if explain else repeat(_NONE)
    # As [dict(zip(tasks, row)) for row in ...], but in half the time: it is most of what naming costs.
    probability = list(map(dict, map(zip, repeat(model.tasks), ranked.probability.tolist())))
    return _recommendations(model, ranked.item.tolist(), ranked.utility.tolist(), probability, reasons)


def named_related(model: Model, items: list[int], scores: list[float]) -> list[Recommendation]:
    """Items that share sessions with another, and how likely."""
    return _recommendations(model, items, scores, [{"related": s} for s in scores], repeat(_NONE))


def _recommendations(
    model: Model,
    items: list[int],
    utility: list[float],
    probability: Sequence[Mapping[str, float]],
    reasons: Iterable[tuple[Reason, ...]],
) -> list[Recommendation]:
    name, attributes = model.catalog.named, model.catalog.attributes
    return [
        Recommendation(*name(item), u, p, why, partial(attributes, item))
        for item, u, p, why in zip(items, utility, probability, reasons, strict=False)
    ]


def _reasons(model: Model, ranked: Ranked) -> list[tuple[Reason, ...]]:
    """The strongest positive reasons of each item."""
    order = np.argsort(-ranked.reason, axis=1, kind="stable")[:, :MAX_REASONS]
    weight = np.take_along_axis(ranked.reason, order, axis=1).tolist()
    cause = ranked.history[order].tolist()
    return [
        tuple(_reason(model, index, c, w) for c, w in zip(causes, weights, strict=True) if w > 0) or _POPULAR
        for index, causes, weights in zip(ranked.item.tolist(), cause, weight, strict=True)
    ]


def _reason(model: Model, index: int, cause: int, weight: float) -> Reason:
    item, title = model.catalog.named(cause)
    return Reason("again" if cause == index else "history", item, title, weight)
