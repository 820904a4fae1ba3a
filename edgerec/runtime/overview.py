"""What a bundle has learned as a whole: the effects of contexts, attributes and repeats on each task, and neighbours.

Everything is asked through the graphs that devices run, on popular items and a user of whom nothing else is known, so
it holds for the bundle and not for a model behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from operator import mul
from statistics import fmean
from typing import Final, NamedTuple

from edgerec.runtime.events import NO_EVENTS, NO_KIND, Events
from edgerec.runtime.model import RequestArguments
from edgerec.runtime.recommender import Recommender
from edgerec.runtime.slate import unit_rows
from edgerec.tasks.units import MS_PER_DAY

__all__ = ["Effect", "Overview", "overview"]

ITEMS: Final = 40
"""Most probable ones, over which effects are means."""
AGES_DAYS: Final = (1, 7, 30, 90)
VALUES: Final = 12
NEIGHBOURS: Final = 5


class Effect(NamedTuple):
    """By task, a task's probability (or expectation) with a value, divided by that without it."""

    what: str
    value: str
    factor: Mapping[str, float]


class Overview(NamedTuple):
    """Attributes:
    effects: of each column's first values. repeats: of having had the very item, by kind and age. neighbours: of each
        item its closest ones in the item table, by title.
    """

    effects: Sequence[Effect]
    repeats: Sequence[Effect]
    neighbours: Sequence[tuple[str, Sequence[str]]]


def overview(rec: Recommender) -> Overview:
    """Ask a bundle about itself; some hundred requests."""
    now = rec.arrays.model.created_ms
    base: RequestArguments = {"now": now, "history": NO_EVENTS}
    items = [row.item for row in rec.recommend(ITEMS, log=False, diversity=0.0, **base)]
    plain = _rates(rec, items, base)
    return Overview(_effects(rec, items, base, plain), _repeats(rec, items, now, plain), _neighbours(rec, items))


def _rates(rec: Recommender, items: Sequence[str], request: RequestArguments) -> dict[str, float]:
    """Mean over items, by task."""
    rows = rec.score(list(items), **request)
    return {task: fmean(row.probability[task] for row in rows) for task in rec.tasks}


def _with_column(request: RequestArguments, source: str, name: str, value: object) -> RequestArguments:
    """The request with one value of a column of "context" or "user"."""
    return {**request, "user": {name: value}} if source == "user" else {**request, "context": {name: value}}


def _factors(rates: Mapping[str, float], plain: Mapping[str, float]) -> dict[str, float]:
    return {task: rates[task] / plain[task] if plain[task] else float("nan") for task in plain}


def _effects(
    rec: Recommender, items: Sequence[str], base: RequestArguments, plain: Mapping[str, float]
) -> list[Effect]:
    effects = []
    for column in rec.encoder.categorical:
        if column.source == "time":
            continue
        for value in column.values[:VALUES]:
            rates = _rates(rec, items, _with_column(base, column.source, column.name, value))
            effects.append(Effect(column.name, value, _factors(rates, plain)))
    for several in rec.encoder.multi:
        for value in several.values[:VALUES]:
            rates = _rates(rec, items, _with_column(base, several.source, several.name, [value]))
            effects.append(Effect(several.name, value, _factors(rates, plain)))
    for number in rec.encoder.numeric:
        for steps, name in ((-1, "a standard deviation below the mean"), (1, "a standard deviation above")):
            shifted = number.mean + steps * number.std
            rates = _rates(rec, items, _with_column(base, number.source, number.name, shifted))
            effects.append(Effect(number.name, name, _factors(rates, plain)))
    return effects


def _repeats(rec: Recommender, items: Sequence[str], now_ms: int, plain: Mapping[str, float]) -> list[Effect]:
    repeats = []
    for bit, kind in enumerate((NO_KIND, *rec.encoder.binary)):
        mask = 0 if bit == 0 else 1 << (bit - 1)
        for days in AGES_DAYS:
            rates = []
            for item in items:
                past = Events([item], [mask], [now_ms - days * MS_PER_DAY])
                rates.append(_rates(rec, [item], {"now": now_ms, "history": past}))
            mean = {task: fmean(of[task] for of in rates) for task in plain}
            repeats.append(Effect(f"had it: {kind}", f"{days} day{'s' if days > 1 else ''} ago", _factors(mean, plain)))
    return repeats


def _neighbours(rec: Recommender, items: Sequence[str]) -> list[tuple[str, list[str]]]:
    arrays = rec.arrays
    unit = unit_rows(arrays.directions(range(arrays.model.n_items)))
    neighbours = []
    for item in items[:10]:
        at = arrays.index_of(item)
        assert at is not None
        closeness = [sum(map(mul, row, unit[at])) for row in unit]
        closest = nlargest(NEIGHBOURS, (i for i in range(len(unit)) if i != at), key=closeness.__getitem__)
        neighbours.append((arrays.named(at)[1], [arrays.named(i)[1] for i in closest]))
    return neighbours
