"""Requests and responses of the service, as OpenAPI shows them."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictStr

from edgerec.runtime import Events, Recommendation, Recommendations
from edgerec.runtime.events import kind_mask
from edgerec.runtime.model import RequestArguments
from edgerec.runtime.results import Explanation

MAX_K = 1000
MAX_LIST = 10_000
"""Items of one request: of a history, to exclude or to score."""
Text = Annotated[StrictStr, Field(max_length=4096)]
Id = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Profile = Annotated[StrictStr, Field(max_length=256)]
"""A user of this device; empty is the default one."""
Time = Annotated[int, Field(ge=0, le=253_402_300_799_000)]
"""Milliseconds since 1970 UTC."""
Value = StrictBool | FiniteFloat | Text | None
Values = Annotated[dict[Id, Value], Field(max_length=256)]
Weights = Annotated[dict[Id, FiniteFloat], Field(max_length=256)]


class Strict(BaseModel):
    """Refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Event(Strict):
    """One event of a history."""

    item: Id
    kind: Id = "event"
    time: Time


class AnyRequest(Strict):
    """What every request may say of the user, the time and the context; see `Recommender.recommend`."""

    profile: Profile = ""
    weights: Weights | None = None
    context: Values = {}
    user: Values = {}
    now: Time | None = None
    history: Annotated[list[Event], Field(max_length=MAX_LIST)] | None = None
    """In place of the stored events."""

    def arguments(self, kinds: tuple[str, ...]) -> RequestArguments:
        """For the runtime."""
        past = None
        if self.history is not None:
            past = Events(
                [e.item for e in self.history],
                np.array([kind_mask(e.kind, kinds) for e in self.history], np.int64),
                np.array([e.time for e in self.history], np.int64),
            )
        return RequestArguments(weights=self.weights, context=self.context, user=self.user, now=self.now, history=past)


class RecommendRequest(AnyRequest):
    """The best k items."""

    k: int = Field(10, ge=1, le=MAX_K)
    where: Text | None = None
    parameters: Values = {}
    exclude: Annotated[list[Id], Field(max_length=MAX_LIST)] = []
    diversity: float | None = Field(None, ge=0, le=1)
    explain: bool = False
    log: bool | None = None


class ScoreRequest(AnyRequest):
    """The given items."""

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST)]
    explain: bool = False


class ExplainRequest(AnyRequest):
    """Where an item's utility comes from."""

    item: Id


class ObserveRequest(Strict):
    """What the user did."""

    item: Id
    kind: Id = "event"
    time: Time | None = None
    context: Values = {}
    profile: Profile = ""
    event_id: Id | None = None
    list_name: Id | None = None


class ReasonOut(BaseModel):
    """Why an item is recommended."""

    kind: str
    item: str | None
    title: str | None
    weight: float | None


class ItemOut(BaseModel):
    """One item; numbers that are not finite are null."""

    item: str
    title: str
    utility: float | None
    probability: dict[str, float | None]
    attributes: dict[str, str | float | None]
    reasons: list[ReasonOut]

    @classmethod
    def of(cls, recommended: Recommendation) -> ItemOut:
        """For JSON."""
        return cls(
            item=recommended.item,
            title=recommended.title,
            utility=finite(recommended.utility),
            probability={task: finite(p) for task, p in recommended.probability.items()},
            attributes={name: plain(value) for name, value in recommended.attributes.items()},
            reasons=[
                ReasonOut(kind=r.kind, item=r.item, title=r.title, weight=finite(r.weight)) for r in recommended.reasons
            ],
        )


class ListOut(BaseModel):
    """A list of items, best first."""

    items: list[ItemOut]
    why_fewer: dict[str, int]
    name: str | None
    """For `observe`, where the list was logged."""
    bundle: str

    @classmethod
    def of(cls, items: Recommendations, bundle: str) -> ListOut:
        """For JSON."""
        return cls(items=[ItemOut.of(r) for r in items], why_fewer=items.why_fewer, name=items.name, bundle=bundle)


class ScoresOut(BaseModel):
    """The given items, in their order."""

    items: list[ItemOut]
    bundle: str


class ContributionOut(BaseModel):
    """A past item's part in a utility."""

    item: str
    title: str
    weight: float | None
    lost: float | None


class ExplanationOut(BaseModel):
    """``popular + context + history = utility``."""

    item: str
    title: str
    utility: float | None
    popular: float | None
    context: float | None
    history: float | None
    past: list[ContributionOut]
    removed_by: str | None

    @classmethod
    def of(cls, explanation: Explanation) -> ExplanationOut:
        """For JSON."""
        past = [
            ContributionOut(item=c.item, title=c.title, weight=finite(c.weight), lost=finite(c.lost))
            for c in explanation.past
        ]
        numbers = {name: finite(getattr(explanation, name)) for name in ("utility", "popular", "context", "history")}
        return cls(
            item=explanation.item, title=explanation.title, past=past, removed_by=explanation.removed_by, **numbers
        )


class ObservedOut(BaseModel):
    """Whether the event is on the disk."""

    stored: bool


class HealthOut(BaseModel):
    """The bundle in use, the size of the store, and what was lost."""

    bundle: str
    engine: str
    rolled_back: list[str]
    events: int
    lists: int
    bytes: int
    lost: int
    damaged: int


class Problem(BaseModel):
    """One line: what is wrong, and what was expected."""

    detail: str


def finite(value: float) -> float | None:
    """None for a number that is not finite, which JSON cannot express."""
    return value if math.isfinite(value) else None


def plain(value: object) -> str | float | None:
    """An attribute as JSON."""
    if isinstance(value, int | float):
        return finite(float(value))
    return None if value is None else str(value)
