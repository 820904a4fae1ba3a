"""What the service takes and gives, as OpenAPI shows it."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictStr

from edgerec.runtime import Events, Recommendation, Recommendations
from edgerec.runtime.events import kind_mask
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


class Asked(Strict):
    """What every request may say of the user and the moment; see `Recommender.recommend`."""

    profile: Profile = ""
    weights: Weights | None = None
    context: Values = {}
    user: Values = {}
    now: Time | None = None
    history: Annotated[list[Event], Field(max_length=MAX_LIST)] | None = None
    """In place of the stored events."""

    def arguments(self, kinds: tuple[str, ...]) -> dict[str, Any]:
        """For the runtime."""
        past = None
        if self.history is not None:
            past = Events(
                [e.item for e in self.history],
                np.array([kind_mask(e.kind, kinds) for e in self.history], np.int64),
                np.array([e.time for e in self.history], np.int64),
            )
        return {"weights": self.weights, "context": self.context, "user": self.user, "now": self.now, "history": past}


class RecommendRequest(Asked):
    """The best k items."""

    k: int = Field(10, ge=1, le=MAX_K)
    where: Text | None = None
    parameters: Values = {}
    exclude: Annotated[list[Id], Field(max_length=MAX_LIST)] = []
    diversity: float | None = Field(None, ge=0, le=1)
    explain: bool = False
    log: bool | None = None


class ScoreRequest(Asked):
    """The given items."""

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST)]
    explain: bool = False


class ExplainRequest(Asked):
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
    """Why."""

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
    def of(cls, found: Recommendation) -> ItemOut:
        """For JSON."""
        return cls(
            item=found.item,
            title=found.title,
            utility=finite(found.utility),
            probability={task: finite(p) for task, p in found.probability.items()},
            attributes={name: plain(value) for name, value in found.attributes.items()},
            reasons=[
                ReasonOut(kind=r.kind, item=r.item, title=r.title, weight=finite(r.weight)) for r in found.reasons
            ],
        )


class ListOut(BaseModel):
    """A list."""

    items: list[ItemOut]
    why_fewer: dict[str, int]
    name: str | None
    """For `observe`, where the list was logged."""
    bundle: str

    @classmethod
    def of(cls, found: Recommendations, bundle: str) -> ListOut:
        """For JSON."""
        return cls(items=[ItemOut.of(r) for r in found], why_fewer=found.why_fewer, name=found.name, bundle=bundle)


class ScoresOut(BaseModel):
    """The given items, in their order."""

    items: list[ItemOut]
    bundle: str


class ContributionOut(BaseModel):
    """A past item's part."""

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
    def of(cls, found: Explanation) -> ExplanationOut:
        """For JSON."""
        past = [
            ContributionOut(item=c.item, title=c.title, weight=finite(c.weight), lost=finite(c.lost))
            for c in found.past
        ]
        numbers = {name: finite(getattr(found, name)) for name in ("utility", "popular", "context", "history")}
        return cls(item=found.item, title=found.title, past=past, removed_by=found.removed_by, **numbers)


class ObservedOut(BaseModel):
    """Whether the event is on the disk."""

    stored: bool


class HealthOut(BaseModel):
    """What a monitor asks for."""

    bundle: str
    engine: str
    rolled_back: list[str]
    events: int
    lists: int
    bytes: int
    lost: int
    damaged: int


class Problem(BaseModel):
    """One line: what, and what was expected."""

    detail: str


def finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None


def plain(value: Any) -> str | float | None:
    """An attribute as JSON."""
    if isinstance(value, int | float):
        return finite(float(value))
    return None if value is None else str(value)
