"""Simple lists of related items: what shares a session, or a user, with an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgerec import metrics
from edgerec.evaluation.baselines.interactions import Floats, Int, Interactions
from edgerec.metrics import co_counts, top_k

__all__ = ["RECIPES", "RelatedRecipe", "best_related", "related_lists"]


@dataclass(frozen=True)
class RelatedRecipe:
    """How often two items share a group, where a group of n items counts n ** -size_power.

    Attributes:
        cosine: the counts of a pair are divided by both items' own to this power.
    """

    kind: Literal["co_occurrence", "item_knn"]
    of: Literal["sessions", "users"]
    size_power: float = 0.0
    cosine: float = 0.0

    def __str__(self) -> str:
        """Its settings in words."""
        return f"{self.of}, power {self.size_power or self.cosine:g}"


RECIPES = (
    *(RelatedRecipe("co_occurrence", "sessions", size_power=power) for power in (0.0, 0.5, 0.75, 1.0)),
    *(RelatedRecipe("item_knn", of, cosine=power) for of in ("sessions", "users") for power in (0.25, 0.5)),
)


def related_lists(recipe: RelatedRecipe, rows: Interactions, k: int) -> Int:
    """For every item its `k` related items, int64 (n_items, k), best first; -1 where no more have anything in common.

    Raises:
        ValueError: more than `edgerec.metrics.MAX_DENSE_ITEMS` items.
    """
    group = rows.session if recipe.of == "sessions" else rows.user
    together: Floats = co_counts(group, rows.item, rows.n_items, recipe.kind, recipe.size_power)
    if recipe.cosine:
        size = np.maximum(np.diag(together), 1) ** recipe.cosine
        together = (together / size[:, None] / size[None, :]).astype(np.float32)
    np.fill_diagonal(together, 0)
    return top_k(np.where(together > 0, together, -np.inf), k)


def best_related(rows: Interactions, sessions: Sequence[Int]) -> dict[str, tuple[RelatedRecipe, float]]:
    """For each baseline the recipe with the highest capped recall@10 on `sessions`, and that value."""
    best: dict[str, tuple[RelatedRecipe, float]] = {}
    for recipe in RECIPES:
        value = metrics.related_metrics(sessions, related_lists(recipe, rows, 10))["capped_recall@10"].value
        if recipe.kind not in best or value > best[recipe.kind][1]:
            best[recipe.kind] = recipe, value
    return best
