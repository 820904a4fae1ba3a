"""Simple rankers of a catalog. A recipe is one ranker with its settings; which recipe a baseline uses, valid decides.

Popularity is that before each request. Models between items are fitted on all rows that may be learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from edgerec import metrics
from edgerec.ensemble.closed_form import best_of_rows, cosine, counts, dense, ease, transitions
from edgerec.evaluation.baselines.interactions import Floats, Int, Interactions, Matrix
from edgerec.metrics import HALF_LIVES_H, Popularity, duration, popularity_before, top_k
from edgerec.tasks.units import MS_PER_HOUR

__all__ = ["Asked", "Recipe", "Shelf", "best_recipes", "lists"]

SCORES_AT_ONCE = 2_000_000
SCORES_TO_CHOOSE = 8_000_000
"""Recipes are chosen on as many requests as have this many scores together, or on `FEWEST`."""
FEWEST = 300
NEIGHBOURS = 300
LAST_SESSIONS = 5
"""Sessions that directed co-occurrence starts from, each half as much as the one after it."""
SMALL_CATALOG, MEDIUM_CATALOG = 4_000, 8_000
"""Up to where the ridge of EASE is chosen, and up to where EASE is there; each inversion takes time and memory."""
MAX_PAIRS = 200_000_000
"""Of items of one user: more of them take too much time and memory for neighbours of users."""
FOREVER_H = 1e9


@dataclass(frozen=True)
class Asked:
    """R requests of one task, by time.

    Attributes:
        user, time_ms: int64 (R,). exclude: for each request the items that may not be listed; None: all may.
        order: int64 (R,), the places that they had before they were sorted.
    """

    user: Int
    time_ms: Int
    exclude: Sequence[Int] | None
    order: Int

    @classmethod
    def of(cls, user: Int, time_ms: Int, exclude: Sequence[Int] | None) -> Asked:
        """Sort requests by time."""
        order = np.argsort(time_ms, kind="stable")
        return cls(user[order], time_ms[order], None if exclude is None else [exclude[i] for i in order], order)

    def __len__(self) -> int:
        return len(self.user)

    def some(self, most: int) -> Asked:
        """At most `most` of them, evenly spread over the time."""
        if len(self) <= most:
            return self
        at = np.linspace(0, len(self) - 1, most).astype(np.int64)
        exclude = None if self.exclude is None else [self.exclude[i] for i in at]
        return Asked(self.user[at], self.time_ms[at], exclude, self.order[at])


@dataclass(frozen=True)
class Recipe:
    """``base + own * (how often the user had it) + popularity * (popularity before the request)``, each up to 1.

    Attributes:
        kind: of the base, a baseline's name.
        detail: what the base needs beside it: a power, a ridge, what neighbours share, a column, a half-life in hours.
        consumed: from the rows that the task counts alone; false: from all rows.
    """

    kind: str
    half_life_h: float = 168.0
    detail: str | float = 0.0
    own: float = 0.0
    popularity: float = 0.001
    consumed: bool = False

    def __str__(self) -> str:
        """Its settings in words."""
        words = [f"half-life {duration(self.half_life_h)}"]
        if self.kind == "category_popularity":
            words.append(f"by {self.detail}")
        elif self.kind == "own_frequency":
            words += [] if self.detail == FOREVER_H else [f"own half-life {duration(float(self.detail))}"]
        elif self.kind != "recent_popularity":
            words = [str(self.detail) if isinstance(self.detail, str) else f"{DETAILS[self.kind]} {self.detail:g}"]
            words += [f"+ {self.own:g} own"] if self.own else []
            if self.popularity >= 0.01:
                words.append(f"+ {self.popularity:g} popularity of half-life {duration(self.half_life_h)}")
        return ", ".join(words)


DETAILS = {"directed_co_occurrence": "power", "ease": "ridge", "item_knn": "of"}


class Shelf:
    """What recipes are made of: one log, and the categories of its items by column, (n_items,) each; 0 is unknown."""

    def __init__(self, rows: Interactions, categories: Mapping[str, Int]) -> None:
        self.rows, self.categories = rows, categories
        self.events = Popularity(rows.item, rows.time_ms, rows.n_items)
        self.seen = np.bincount(rows.item, minlength=rows.n_items) > 0
        self.offsets = np.concatenate(([0], np.cumsum(np.bincount(rows.user, minlength=rows.n_users))))
        self.matrix = cache(self._matrix)

    def bases(self) -> Iterator[Recipe]:
        """Recipes beside popularity that this catalog allows, without their mix."""
        for detail in (FOREVER_H, 90 * 24.0, 14 * 24.0, 24.0):
            yield Recipe("own_frequency", detail=detail, popularity=0.5)
        for power in (0.0, 0.5):
            yield Recipe("directed_co_occurrence", detail=power)
        for of in ("users", "sessions"):
            if 0 < self._pairs(of) <= MAX_PAIRS:
                yield Recipe("item_knn", detail=of)
        if self.rows.n_items <= MEDIUM_CATALOG:
            for l2 in (200.0, 800.0, 3200.0) if self.rows.n_items <= SMALL_CATALOG else (800.0,):
                yield Recipe("ease", detail=l2)

    def base(self, recipe: Recipe, users: Int, time_ms: Int, popular: Floats) -> Floats:
        """Scores of every item, (B, N), in [0, 1] but for own frequency; `popular` (B, N) is in [0, 1]."""
        match recipe.kind:
            case "recent_popularity":
                return popular
            case "category_popularity":
                return _scaled(popular * (0.01 + self._shares(str(recipe.detail), users)))
            case "own_frequency":
                own: Floats = self._own(users, time_ms, float(recipe.detail)).toarray()
                return own
            case "directed_co_occurrence":
                return _scaled(dense(self._latest[users], self.matrix(recipe.kind, recipe.detail)))
        return _scaled(dense(self.rows.binary[users], self.matrix(recipe.kind, recipe.detail)))

    def own(self, users: Int) -> Floats:
        """How often each user had each item, relative to the most frequent one, (B, N)."""
        return _scaled(self.rows.counts[users].toarray())

    def _matrix(self, kind: str, detail: str | float) -> Matrix | Floats:
        """Items by items."""
        user, sessions = self.rows.sessions
        if kind == "directed_co_occurrence":
            return best_of_rows(transitions(sessions, user, power=float(detail)), NEIGHBOURS)
        if kind == "item_knn":
            return cosine(self.rows.binary if detail == "users" else sessions, NEIGHBOURS)
        return ease(self.rows.binary, float(detail))

    def _pairs(self, of: str) -> int:
        """Pairs of items that users, or sessions, have had together."""
        size = np.diff((self.rows.binary if of == "users" else self.rows.sessions[1]).indptr).astype(np.int64)
        return int((size * (size - 1)).sum())

    def _own(self, users: Int, time_ms: Int, half_life_h: float) -> Matrix:
        """How often each user had each item, where an event of `half_life_h` before the request counts half."""
        start, size = self.offsets[users], np.diff(self.offsets)[users]
        row = np.repeat(np.arange(len(users)), size)
        at = np.arange(len(row)) + np.repeat(start - (np.cumsum(size) - size), size)
        age_h = np.maximum(time_ms[row] - self.rows.time_ms[at], 0) / MS_PER_HOUR
        weight = (0.5 ** (age_h / half_life_h)).astype(np.float32)
        return counts(row, self.rows.item[at], len(users), self.rows.n_items, weight)

    def _shares(self, column: str, users: Int) -> Floats:
        """Of each item, the share of the user's rows that its category has, (B, N)."""
        category = self.categories[column]
        n = int(category.max(initial=0)) + 1
        of_users = counts(self.rows.user, category[self.rows.item], self.rows.n_users, n)[users].toarray()
        of_users[:, 0] = 0
        shares: Floats = (of_users / np.maximum(of_users.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        return shares[:, category]

    @cached_property
    def _latest(self) -> Matrix:
        """Users by items of their last sessions."""
        user, sessions = self.rows.sessions
        ends = np.cumsum(np.bincount(user, minlength=self.rows.n_users))
        back = ends[user] - 1 - np.arange(len(user))
        weight = np.where(back < LAST_SESSIONS, 0.5 ** np.minimum(back, LAST_SESSIONS), 0).astype(np.float32)
        return counts(user, np.arange(len(user)), self.rows.n_users, len(user), weight) @ sessions


def _scaled(scores: Floats) -> Floats:
    """Each row divided by its largest value."""
    scaled: Floats = (scores / np.maximum(scores.max(axis=1, keepdims=True, initial=0), 1e-9)).astype(np.float32)
    return scaled


def lists(shelf: Shelf, recipes: Sequence[Recipe], asked: Asked, k: int) -> list[Int]:
    """For each recipe its best `k` items of each request, int64 (R, k), in the order of `asked`; -1 pads."""
    found = [np.full((len(asked), k), -1, np.int64) for _ in recipes]
    half_lives = sorted({recipe.half_life_h for recipe in recipes})
    for at, popular in _popular(shelf, half_lives, asked):
        users, time_ms = asked.user[at], asked.time_ms[at]
        own = shelf.own(users) if any(recipe.own for recipe in recipes) else None
        bases: dict[tuple[str, str | float, float], Floats] = {}
        for recipe, tops in zip(recipes, found, strict=True):
            alike = popular[half_lives.index(recipe.half_life_h)]
            key = (recipe.kind, recipe.detail, recipe.half_life_h if "popularity" in recipe.kind else 0.0)
            if key not in bases:
                bases[key] = shelf.base(recipe, users, time_ms, alike)
            scores = bases[key] + np.float32(recipe.popularity) * alike
            if own is not None and recipe.own:
                scores += np.float32(recipe.own) * own
            scores[:, ~shelf.seen] = -np.inf
            if asked.exclude is not None:
                for row, items in zip(scores, asked.exclude[at], strict=True):
                    row[items] = -np.inf
            best = top_k(scores, k)
            tops[at, : best.shape[1]] = best
    return found


def _popular(shelf: Shelf, half_lives_h: Sequence[float], asked: Asked) -> Iterator[tuple[slice, Floats]]:
    """Requests that fit into memory together, and their popularity by half-life, relative: (half-lives, B, N)."""
    n = shelf.rows.n_items
    size = int(np.clip(SCORES_AT_ONCE // n, 1, 256))
    block = np.zeros((len(half_lives_h), min(size, len(asked)), n), np.float32)
    first = 0
    for places, decayed in popularity_before(shelf.events, asked.time_ms, half_lives_h):
        relative = _scaled(decayed)
        start = places.start
        while start < places.stop:
            stop = min(places.stop, first + size)
            block[:, start - first : stop - first] = relative[:, None]
            start = stop
            if stop == first + size or stop == len(asked):
                yield slice(first, stop), block[:, : stop - first]
                first = stop


def best_recipes(shelves: Mapping[bool, Shelf], asked: Asked, truth: Sequence[Int]) -> dict[str, Recipe]:
    """For each baseline the recipe with the highest NDCG@10.

    Popularity is chosen first: its rows and its half-life serve all others.
    Args:
        shelves: by whether they hold only the rows that the task counts.
        asked: requests that each have a true item. truth: of each request, in the order before they were sorted.
    """
    n = next(iter(shelves.values())).rows.n_items
    some = asked.some(max(SCORES_TO_CHOOSE // n, FEWEST))
    truths = [truth[i] for i in some.order]
    values: dict[Recipe, float] = {}

    def look(consumed: bool, recipes: Sequence[Recipe]) -> None:
        recipes = [replace(recipe, consumed=consumed) for recipe in recipes]
        for recipe, top in zip(recipes, lists(shelves[consumed], recipes, some, 10), strict=True):
            values[recipe] = metrics.ranking_metrics(top, truths, n, None, (10,))["ndcg@10"].value

    for consumed in shelves:
        look(consumed, [Recipe("recent_popularity", h, popularity=0.0) for h in HALF_LIVES_H])
    best = max(values, key=lambda recipe: values[recipe])
    shelf = shelves[best.consumed]
    look(best.consumed, [
        Recipe("category_popularity", h, column, popularity=0.0) for h in HALF_LIVES_H for column in shelf.categories
    ])  # fmt: skip
    look(best.consumed, list(_mixed(shelf, best.half_life_h, repeats=asked.exclude is None)))
    chosen: dict[str, Recipe] = {}
    for recipe, value in values.items():
        if recipe.kind not in chosen or value > values[chosen[recipe.kind]]:
            chosen[recipe.kind] = recipe
    return chosen


def _mixed(shelf: Shelf, half_life_h: float, repeats: bool) -> Iterator[Recipe]:
    """The bases with several weights of the user's own items and of popularity; without repeats own items do not count.

    Between 0 and 1 these weights are parts of the best score; 3 lists what the user had first.
    """
    for base in shelf.bases():
        mixed = replace(base, half_life_h=half_life_h)
        if base.kind == "own_frequency":
            if repeats:
                yield mixed
            continue
        for own in (0.0, 0.3, 1.0, 3.0) if repeats else (0.0,):
            for popularity in (0.001, 0.1, 0.3):
                yield replace(mixed, own=own, popularity=popularity)
