"""What a recommender returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


class Reason(NamedTuple):
    """Why an item is recommended.

    Attributes:
        kind: "again": the user had this very item; "history": another item of the past supports it; "popular": nothing
            in the past supports it, and it is popular now.
        item, title: the item of the past; None for "popular".
        weight: what it added to the utility; 0 for "popular".
    """

    kind: Literal["again", "history", "popular"]
    item: str | None
    title: str | None
    weight: float


@dataclass(slots=True)  # not frozen, which would triple the time to make one; twenty are made for every request
class Recommendation:
    """One item.

    Attributes:
        utility: weighted sum of the tasks; for `Recommender.similar` the probability of being in one session.
        probability: by task; a regression task's expectation is in the task's unit.
        reasons: strongest first, empty unless asked for with ``explain=True``.
    """

    item: str
    title: str
    utility: float
    probability: Mapping[str, float]
    reasons: tuple[Reason, ...]
    _attributes: Callable[[], dict[str, Any]] = field(repr=False, compare=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The item's catalogue columns, read now: works until the recommender is closed or updated."""
        return self._attributes()


class Recommendations(list[Recommendation]):
    """A list, best first, with the reasons why it is short.

    Attributes:
        why_fewer: empty when as many items came back as were asked for. Else the catalogue's size under "catalogue"
            and the items lost to each cause, every item counted once: "unavailable", "excluded", "where", "rule NAME",
            "seen KIND", "shown too often", "history" (items the tasks in use may not repeat), "quota". The catalogue
            less the losses is this list's length.
        name: of the list in the log, for `Recommender.observe`; None if it was not logged.
    """

    def __init__(self, items: Iterable[Recommendation], why_fewer: Mapping[str, int], name: str | None = None) -> None:
        super().__init__(items)
        self.why_fewer = dict(why_fewer)
        self.name = name


class Contribution(NamedTuple):
    """A past item's part in a score.

    Attributes:
        weight: what it added to the weighted logits, by the graph.
        lost: by how much the utility falls when the events of this item are taken out of the past.
    """

    item: str
    title: str
    weight: float
    lost: float


class Explanation(NamedTuple):
    """Where a utility comes from: ``popular + context + history = utility``.

    Attributes:
        popular: the utility for a user of whom nothing is known, in no known context.
        context: what the context and the user's attributes add to it. history: what the past adds to both.
        past: the items of the past with the largest weights, strongest first.
        removed_by: the rule that keeps the item off the list, None if it may be on it; see `Recommendations.why_fewer`.
    """

    item: str
    title: str
    utility: float
    popular: float
    context: float
    history: float
    past: tuple[Contribution, ...]
    removed_by: str | None
