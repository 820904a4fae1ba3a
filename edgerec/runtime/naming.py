"""From arrays over item indices to recommendations with ids, titles and reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat

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
    probability = list(map(dict, map(zip, repeat(model.tasks), ranked.probability)))
    return _recommendations(model, ranked.item, ranked.utility, probability, reasons)


def named_related(model: Model, items: Sequence[int], scores: Sequence[float]) -> list[Recommendation]:
    """Items that share sessions with another, and how likely."""
    return _recommendations(model, items, scores, [{"related": s} for s in scores], repeat(_NONE))


def _recommendations(
    model: Model,
    items: Sequence[int],
    utility: Sequence[float],
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
    reasons = []
    for index, row in zip(ranked.item, ranked.reason, strict=True):
        order = sorted(range(len(row)), key=lambda at: -row[at])[:MAX_REASONS]
        strongest = tuple(_reason(model, index, ranked.history[at], row[at]) for at in order if row[at] > 0)
        reasons.append(strongest or _POPULAR)
    return reasons


def _reason(model: Model, index: int, cause: int, weight: float) -> Reason:
    item, title = model.catalog.named(cause)
    return Reason("again" if cause == index else "history", item, title, weight)
