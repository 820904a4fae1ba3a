"""What a recommendation says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is recommended.

    Attributes:
        kind: "again" the user had this very item, "history" another item of the past speaks for it, "popular" it is
            popular now and nothing in the past speaks for it.
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
        """The item's catalogue columns, read now: works until the recommender is closed."""
        return self._attributes()


class Recommendations(list[Recommendation]):
    """A list, best first, that says why it is short.

    Attributes:
        why_fewer: empty when as many items came back as were asked for. Else the catalogue's size under "catalogue"
            and the items lost to each cause, every item counted once: "unavailable", "excluded", "where",
            "history" (items the tasks in use may not repeat). The catalogue less the losses is this list's length.
    """

    def __init__(self, items: Iterable[Recommendation], why_fewer: Mapping[str, int]) -> None:
        super().__init__(items)
        self.why_fewer = dict(why_fewer)
