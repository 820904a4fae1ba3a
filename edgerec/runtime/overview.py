"""What a bundle has learned as a whole: what contexts and attributes do to each task, what repeats weigh, neighbours.

Everything is asked through the graphs that devices run, on popular items and a user of whom nothing else is known, so
it holds for the bundle and not for a model behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from edgerec.runtime.recommender import Recommender
from edgerec.runtime.slate import unit_rows
from edgerec.runtime.store import Events

__all__ = ["Effect", "Overview", "overview"]

ITEMS: Final = 40
"""Most probable ones, over which effects are means."""
AGES_DAYS: Final = (1, 7, 30, 90)
VALUES: Final = 12
NEIGHBOURS: Final = 5
MS_PER_DAY: Final = 86_400_000


class Effect(NamedTuple):
    """What a task's probability (or amount) becomes, as a factor of what it is without: by task."""

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
    now = rec._model().created_ms
    nothing = Events([], np.zeros(0, np.int64), np.zeros(0, np.int64))
    base: dict[str, Any] = {"now": now, "history": nothing}
    items = [row.item for row in rec.recommend(ITEMS, log=False, diversity=0.0, **base)]
    plain = _rates(rec, items, base)
    return Overview(_effects(rec, items, base, plain), _repeats(rec, items, base, plain), _neighbours(rec, items))


def _rates(rec: Recommender, items: Sequence[str], request: Mapping[str, Any]) -> dict[str, float]:
    """Mean over items, by task."""
    rows = rec.score(list(items), **request)
    return {task: float(np.mean([row.probability[task] for row in rows])) for task in rec.tasks}


def _factors(found: Mapping[str, float], plain: Mapping[str, float]) -> dict[str, float]:
    return {task: found[task] / plain[task] if plain[task] else float("nan") for task in plain}


def _effects(
    rec: Recommender, items: Sequence[str], base: Mapping[str, Any], plain: Mapping[str, float]
) -> list[Effect]:
    found = []
    for column in rec.encoder.categorical:
        if column.source == "time":
            continue
        for value in column.values[:VALUES]:
            rates = _rates(rec, items, {**base, column.source: {column.name: value}})
            found.append(Effect(column.name, value, _factors(rates, plain)))
    for number in rec.encoder.numeric:
        for steps, name in ((-1, "a standard deviation below the mean"), (1, "a standard deviation above")):
            amount = number.mean + steps * number.std
            rates = _rates(rec, items, {**base, number.source: {number.name: amount}})
            found.append(Effect(number.name, name, _factors(rates, plain)))
    return found


def _repeats(
    rec: Recommender, items: Sequence[str], base: Mapping[str, Any], plain: Mapping[str, float]
) -> list[Effect]:
    found = []
    for bit, kind in enumerate(("event", *rec.encoder.binary)):
        mask = 0 if bit == 0 else 1 << (bit - 1)
        for days in AGES_DAYS:
            rates = []
            for item in items:
                past = Events([item], np.array([mask], np.int64), np.array([base["now"] - days * MS_PER_DAY], np.int64))
                rates.append(_rates(rec, [item], {**base, "history": past}))
            mean = {task: float(np.mean([of[task] for of in rates])) for task in plain}
            found.append(Effect(f"had it: {kind}", f"{days} days ago", _factors(mean, plain)))
    return found


def _neighbours(rec: Recommender, items: Sequence[str]) -> list[tuple[str, list[str]]]:
    model = rec._model()
    unit = unit_rows(model.directions(np.arange(model.n_items)))
    found = []
    for item in items[:10]:
        at = rec.index_of(item)
        assert at is not None
        order = np.argsort(-(unit @ unit[at]), kind="stable")
        closest = [int(i) for i in order if i != at][:NEIGHBOURS]
        found.append((rec.named(at)[1], [rec.named(i)[1] for i in closest]))
    return found
