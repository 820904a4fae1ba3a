"""The routes of the service, by topic: recommendations, feedback, monitoring."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from edgerec import __version__
from edgerec.runtime import Recommender
from edgerec.serve.metrics import Metrics
from edgerec.serve.schemas import (
    MAX_K,
    ExplainRequest,
    ExplanationOut,
    ForgetRequest,
    HealthOut,
    ItemOut,
    ListOut,
    ObservedOut,
    ObserveRequest,
    Problem,
    RecommendRequest,
    ScoreRequest,
    ScoresOut,
    ServiceOut,
    SimilarRequest,
)

_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "What is wrong, on one line."}}
TOKEN: Any = Security(HTTPBearer(auto_error=False, description="The service's token; `Guard` checks it."))
"""Says in the OpenAPI document that a route needs the token."""


def recommender_of(request: Request) -> Recommender:
    """The recommender of the service, for its default user."""
    opened: Recommender = request.app.state.recommender
    return opened


Opened: TypeAlias = Annotated[Recommender, Depends(recommender_of)]

recommendations = APIRouter(responses=_REFUSED, tags=["recommendations"])
feedback = APIRouter(responses=_REFUSED, tags=["feedback"])
metrics = APIRouter(tags=["monitoring"])
health = APIRouter(tags=["monitoring"])


@recommendations.post("/recommend")
def recommend(opened: Opened, asked: RecommendRequest) -> ListOut:
    """The best k items of the catalogue, by the bundle's policy."""
    rec = opened.profile(asked.profile)
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
    rec = opened.profile(asked.profile)
    items = rec.score(asked.items, explain=asked.explain, **asked.arguments(rec.encoder.binary))
    return ScoresOut(items=[ItemOut.of(r) for r in items], bundle=bundle_name(rec))


@recommendations.post("/explain")
def explain(opened: Opened, asked: ExplainRequest) -> ExplanationOut:
    """Where an item's utility comes from."""
    rec = opened.profile(asked.profile)
    return ExplanationOut.of(rec.explain(asked.item, **asked.arguments(rec.encoder.binary)))


@recommendations.post("/similar")
def similar_to(opened: Opened, asked: SimilarRequest) -> ListOut:
    """The items that are most often in one session with an item, whatever characters its id has."""
    items = opened.similar(asked.item, asked.k, where=asked.where, parameters=asked.parameters, exclude=asked.exclude)
    return ListOut.of(items, bundle_name(opened))


@recommendations.get("/similar/{item:path}")
def similar(
    opened: Opened,
    item: Annotated[str, InPath(min_length=1, max_length=256, description="Its id, percent-encoded.")],
    k: Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")] = 10,
    where: Annotated[str | None, Query(max_length=4096, description="Condition over the catalogue's columns.")] = None,
) -> ListOut:
    """The items that are most often in one session with an item.

    Many clients shorten paths that hold "." or ".." between slashes; for such an id, use `POST /similar`.
    """
    return ListOut.of(opened.similar(item, k, where=where), bundle_name(opened))


@feedback.post("/observe")
def observe(opened: Opened, event: ObserveRequest) -> ObservedOut:
    """Log what a user did; the event is on the disk when the answer is true."""
    rec = opened.profile(event.profile)
    stored = rec.observe(
        event.item,
        event.kind,
        event.time,
        event.context,
        event_id=event.event_id,
        list_name=event.list_name,
    )
    return ObservedOut(stored=stored)


@feedback.post("/forget", status_code=204)
def forget_profile(opened: Opened, asked: ForgetRequest) -> None:
    """Erase all that is stored of a user, whatever characters the name has."""
    opened.profile(asked.profile).forget()


@feedback.delete("/profiles/{profile:path}", status_code=204)
def forget(
    opened: Opened,
    profile: Annotated[str, InPath(max_length=256, description="The user, percent-encoded; empty: the default one.")],
) -> None:
    """Erase all that is stored of a user.

    Many clients shorten paths that hold "." or ".." between slashes; for such a name, use `POST /forget`.
    """
    opened.profile(profile).forget()


@health.get("/health", name="health")
def tell_health(opened: Opened) -> HealthOut:
    """The bundle in use, the size of the store, and what was lost."""
    return HealthOut.model_validate(opened.health())


@metrics.get("/metrics", name="metrics", response_class=PlainTextResponse)
def tell_metrics(request: Request) -> Response:
    """Requests and seconds by route, in Prometheus's text format."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), media_type=CONTENT_TYPE_LATEST)


@metrics.get("/", name="service", response_model=ServiceOut)
def root(request: Request, opened: Opened) -> Response:
    """What this is, and where all else is; a browser is led to the documentation."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("docs")
    paths = request.app.openapi()["paths"]
    routes = {
        f"{verb.upper()} {path}": of["description"].partition("\n")[0]
        for path, verbs in paths.items()
        for verb, of in verbs.items()
    }
    told = ServiceOut(service="edgerec", version=__version__, bundle=bundle_name(opened), docs="/docs", routes=routes)
    return JSONResponse(told.model_dump())


def bundle_name(rec: Recommender) -> str:
    """ "NAME VERSION" of the bundle in use."""
    return f"{rec.bundle.manifest.name} {rec.bundle.manifest.version}"
