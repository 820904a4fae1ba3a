"""Requests and responses of the service, as OpenAPI shows them; the texts under the fields are its descriptions."""

from __future__ import annotations

import math
from typing import Annotated, Any

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
Time = Annotated[int, Field(ge=0, le=253_402_300_799_000)]
Value = StrictBool | FiniteFloat | Text | None
Parameters = Annotated[dict[Id, Value], Field(max_length=256)]
Several = Annotated[list[StrictBool | FiniteFloat | Text], Field(max_length=256)]
Values = Annotated[dict[Id, Value | Several], Field(max_length=256)]
Weights = Annotated[dict[Id, FiniteFloat], Field(max_length=256)]
NOW_MS = 1_764_331_200_000
"""Of examples: 28 November 2025, 12:00 UTC."""


def example(**values: Any) -> ConfigDict:
    """What the documentation fills in."""
    return ConfigDict(json_schema_extra={"examples": [values]})


class RequestPart(BaseModel):
    """A request, or a part of one; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Answer(BaseModel):
    """A response, or a part of one; a number that is not finite is null."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class PastEvent(RequestPart):
    """One event of a history."""

    item: Id
    """Its id."""
    kind: Id = "event"
    """Positive binary tasks, such as "click" or "click+like"; "event" for none."""
    time: Time
    """Milliseconds since 1970 UTC."""


class AnyRequest(RequestPart):
    """What every request may say of the user, the time and the context."""

    profile: Profile = ""
    """The user whose stored events count; empty is the default one."""
    weights: Weights | None = None
    """What each task counts; left out, the bundle's defaults."""
    context: Values = {}
    """Values of the log's context columns."""
    user: Values = {}
    """Values of the log's user columns."""
    now: Time | None = None
    """Milliseconds since 1970 UTC; left out, the clock."""
    history: Annotated[list[PastEvent], Field(max_length=MAX_LIST)] | None = None
    """In place of the stored events."""

    def arguments(self, kinds: tuple[str, ...]) -> RequestArguments:
        """For the runtime."""
        past = None
        if self.history is not None:
            past = Events(
                [e.item for e in self.history],
                [kind_mask(e.kind, kinds) for e in self.history],
                [e.time for e in self.history],
            )
        return RequestArguments(weights=self.weights, context=self.context, user=self.user, now=self.now, history=past)


class RecommendRequest(AnyRequest):
    """The best k items."""

    model_config = example(k=5, profile="anna", where="price < :most", parameters={"most": 20}, explain=True)

    k: int = Field(10, ge=1, le=MAX_K)
    """How many items."""
    where: Text | None = None
    """Condition over the catalogue's columns, such as `price < :most AND colour IN ('red', 'blue')`."""
    parameters: Parameters = {}
    """Values of `:name` in `where`."""
    exclude: Annotated[list[Id], Field(max_length=MAX_LIST)] = []
    """Ids of items that must not be in the list."""
    diversity: float | None = Field(None, ge=0, le=1)
    """From 0, the best items, to 1, items unlike each other; left out, the bundle's."""
    explain: bool = False
    """Also give each item's `reasons`."""
    log: bool | None = None
    """Store the list, so that `POST /observe` can answer it; left out, as the bundle's policy needs."""


class ScoreRequest(AnyRequest):
    """The given items."""

    model_config = example(items=["22423", "85123A"], profile="anna")

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST)]
    """Their ids; one that the catalogue lacks is refused."""
    explain: bool = False
    """Also give each item's `reasons`."""


class ExplainRequest(AnyRequest):
    """Where an item's utility comes from."""

    model_config = example(item="22423", profile="anna")

    item: Id
    """Its id."""


class SimilarRequest(RequestPart):
    """Items that go with one."""

    model_config = example(item="22423", k=5)

    item: Id
    """Its id."""
    k: int = Field(10, ge=1, le=MAX_K)
    """How many items."""
    where: Text | None = None
    """Condition over the catalogue's columns."""
    parameters: Parameters = {}
    """Values of `:name` in `where`."""
    exclude: Annotated[list[Id], Field(max_length=MAX_LIST)] = []
    """Ids of items that must not be in the list."""


class ObserveRequest(RequestPart):
    """What a user did."""

    model_config = example(item="22423", kind="click", profile="anna", time=NOW_MS, event_id="order 7, line 2")

    item: Id
    """Its id; one that the catalogue lacks is stored for a later bundle."""
    kind: Id = "event"
    """Positive binary tasks, such as "click" or "click+like"; "event" for none."""
    time: Time | None = None
    """Milliseconds since 1970 UTC; left out, the clock."""
    context: Values = {}
    """Values of the log's context columns."""
    profile: Profile = ""
    """The user; empty is the default one."""
    event_id: Id | None = None
    """Of the app's own: an event that is reported again with the same id is one event."""
    list_name: Id | None = None
    """`name` of the list that it answers."""


class ForgetRequest(RequestPart):
    """Whom to erase."""

    model_config = example(profile="https://id.example/u/7")

    profile: Profile
    """The user; empty is the default one."""


class ReasonOut(Answer):
    """Why an item is recommended."""

    kind: str
    """One of "again" (the user had this very item), "history" and "popular"."""
    item: str | None
    """The item of the history."""
    title: str | None
    """Its title."""
    weight: float | None
    """How much it added."""


class ItemOut(Answer):
    """One item."""

    item: str
    """Its id."""
    title: str
    """Its title in the catalogue."""
    utility: float | None
    """What the list is sorted by."""
    probability: dict[str, float | None]
    """By task; of a regression task, the expected value in its unit."""
    attributes: dict[str, str | float | list[str] | None]
    """The catalogue's other columns."""
    reasons: list[ReasonOut]
    """Empty unless `explain` was asked for."""

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


class ListOut(Answer):
    """A list of items, best first."""

    items: list[ItemOut]
    """Best first."""
    why_fewer: dict[str, int]
    """Where fewer than k items are left: how many each rule removed."""
    name: str | None
    """For `list_name` of `POST /observe`, where the list was stored."""
    bundle: str
    """Name and version of the bundle."""

    @classmethod
    def of(cls, items: Recommendations, bundle: str) -> ListOut:
        """For JSON."""
        return cls(items=[ItemOut.of(r) for r in items], why_fewer=items.why_fewer, name=items.name, bundle=bundle)


class ScoresOut(Answer):
    """The given items."""

    items: list[ItemOut]
    """In the given order."""
    bundle: str
    """Name and version of the bundle."""


class ContributionOut(Answer):
    """A past item's part in a utility."""

    item: str
    """Its id."""
    title: str
    """Its title."""
    weight: float | None
    """Its share, by the model's own account."""
    lost: float | None
    """What the utility loses without it."""


class ExplanationOut(Answer):
    """``popular + context + history = utility``."""

    item: str
    """Its id."""
    title: str
    """Its title."""
    utility: float | None
    """What lists are sorted by."""
    popular: float | None
    """What the item has without any history or context."""
    context: float | None
    """What the context adds."""
    history: float | None
    """What the history adds."""
    past: list[ContributionOut]
    """Past items, the strongest first."""
    removed_by: str | None
    """The rule that keeps the item out of lists, if one does."""

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


class ObservedOut(Answer):
    """What became of an event."""

    stored: bool
    """Whether it is on the disk."""


class HealthOut(Answer):
    """The bundle in use, the size of the store, and what was lost."""

    model_config = ConfigDict(extra="allow")  # the runtime may tell more

    bundle: str
    """Name and version of the bundle in use."""
    engine: str
    """What runs the model."""
    rolled_back: list[str]
    """Updates that failed on this machine."""
    events: int
    """Stored events, of all users."""
    lists: int
    """Stored lists, of all users."""
    bytes: int
    """Of the store on the disk."""
    lost: int
    """Events and lists that the disk did not take."""
    damaged: int
    """Files that were found damaged and set aside."""
    waiting: int = 0
    """Events in memory that wait for another process to let go of the store."""
    damage: str | None = None
    """What was wrong with the file that was set aside since the start."""
    trouble: str | None = None
    """Why events are in memory only, where the store cannot be used."""


class ServiceOut(Answer):
    """What this service is."""

    service: str
    """Always "edgerec"."""
    version: str
    """Of edgerec."""
    bundle: str
    """Name and version of the bundle in use."""
    docs: str
    """Where a person reads on; programs read /openapi.json."""
    routes: dict[str, str]
    """Method and path, and what the route does."""


class Problem(Answer):
    """What is wrong with a request."""

    detail: str
    """One line: what is wrong, and what was expected."""


def finite(value: float) -> float | None:
    """None for a number that is not finite, which JSON cannot express."""
    return value if math.isfinite(value) else None


def plain(value: object) -> str | float | list[str] | None:
    """An attribute as JSON."""
    if isinstance(value, list):
        return [str(part) for part in value]
    if isinstance(value, int | float):
        return finite(float(value))
    return None if value is None else str(value)
