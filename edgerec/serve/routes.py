"""The routes of the service, by topic: recommendations, feedback, monitoring."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from edgerec.runtime import Recommender
from edgerec.serve.metrics import Metrics
from edgerec.serve.schemas import (
    MAX_K,
    ExplainRequest,
    ExplanationOut,
    HealthOut,
    ItemOut,
    ListOut,
    ObservedOut,
    ObserveRequest,
    Problem,
    RecommendRequest,
    ScoreRequest,
    ScoresOut,
)

_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "What is wrong, on one line."}}


def recommender_of(request: Request) -> Recommender:
    """The recommender of the service, for its default user."""
    opened: Recommender = request.app.state.recommender
    return opened


Opened: TypeAlias = Annotated[Recommender, Depends(recommender_of)]

recommendations = APIRouter(responses=_REFUSED)
feedback = APIRouter(responses=_REFUSED)
monitoring = APIRouter()


@recommendations.post("/recommend")
def recommend(opened: Opened, asked: RecommendRequest) -> ListOut:
    """The best k items of the catalogue, by the bundle's policy."""
    rec = opened.profile(asked.profile) if asked.profile else opened
    items = rec.recommend(
        asked.k,
        where=asked.where,
        parameters=asked.parameters,
        exclude=asked.exclude,
        diversity=asked.diversity,
        explain=asked.explain,
        log=asked.log,
        **asked.arguments(rec.encoder.binary),
    )
    return ListOut.of(items, bundle_name(rec))


@recommendations.post("/score")
def score(opened: Opened, asked: ScoreRequest) -> ScoresOut:
    """The given items with their utility and probabilities."""
    rec = opened.profile(asked.profile) if asked.profile else opened
    items = rec.score(asked.items, explain=asked.explain, **asked.arguments(rec.encoder.binary))
    return ScoresOut(items=[ItemOut.of(r) for r in items], bundle=bundle_name(rec))


@recommendations.post("/explain")
def explain(opened: Opened, asked: ExplainRequest) -> ExplanationOut:
    """Where an item's utility comes from."""
    rec = opened.profile(asked.profile) if asked.profile else opened
    return ExplanationOut.of(rec.explain(asked.item, **asked.arguments(rec.encoder.binary)))


@recommendations.get("/similar/{item}")
def similar(
    opened: Opened,
    item: Annotated[str, InPath(min_length=1, max_length=256)],
    k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
    where: Annotated[str | None, Query(max_length=4096)] = None,
) -> ListOut:
    """The items that are most often in one session with an item."""
    return ListOut.of(opened.similar(item, k, where=where), bundle_name(opened))


@feedback.post("/observe")
def observe(opened: Opened, event: ObserveRequest) -> ObservedOut:
    """Log what a user did; the event is on the disk when the answer is true."""
    rec = opened.profile(event.profile) if event.profile else opened
    stored = rec.observe(
        event.item,
        event.kind,
        event.time,
        event.context,
        event_id=event.event_id,
        list_name=event.list_name,
    )
    return ObservedOut(stored=stored)


@feedback.delete("/profiles/{profile}", status_code=204)
def forget(opened: Opened, profile: Annotated[str, InPath(max_length=256)]) -> None:
    """Erase all that is stored of a user."""
    (opened.profile(profile) if profile else opened).forget()


@monitoring.get("/health")
def health(opened: Opened) -> HealthOut:
    """The bundle in use, the size of the store, and what was lost."""
    return HealthOut.model_validate(opened.health())


@monitoring.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Requests and response times in Prometheus's text format."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), media_type=CONTENT_TYPE_LATEST)


def bundle_name(rec: Recommender) -> str:
    """ "NAME VERSION" of the bundle in use."""
    return f"{rec.bundle.manifest.name} {rec.bundle.manifest.version}"
