"""The service: routes over one recommender, limits, health and metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

from edgerec import __version__
from edgerec.errors import BundleError, EdgerecError
from edgerec.runtime import Recommender
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

SETTINGS = "EDGEREC_SERVE"
"""Environment variable through which `edgerec serve` tells its workers what to open."""
MAX_BODY = 1 << 20
"""Bytes of a request."""
_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "What is wrong, on one line."}}
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


def create_app(open_: Callable[[], Recommender]) -> FastAPI:
    """The service of a recommender, which is opened when it starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_() as recommender:
            app.state.recommender = recommender
            yield

    app = FastAPI(
        title="edgerec", version=__version__, lifespan=lifespan, description="Recommendations from a bundle, locally."
    )
    metrics = _Metrics()
    app.add_middleware(_Limits, metrics=metrics)
    app.add_exception_handler(EdgerecError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)

    def recommender(request: Request) -> Recommender:
        found: Recommender = request.app.state.recommender
        return found

    def of(request: Request, profile: str) -> Recommender:
        found = recommender(request)
        return found.profile(profile) if profile else found

    @app.post("/recommend", responses=_REFUSED)
    def recommend(request: Request, asked: RecommendRequest) -> ListOut:
        """The best k items of the catalogue, by the bundle's policy."""
        rec = of(request, asked.profile)
        found = rec.recommend(
            asked.k,
            where=asked.where,
            parameters=asked.parameters,
            exclude=asked.exclude,
            diversity=asked.diversity,
            explain=asked.explain,
            log=asked.log,
            **asked.arguments(rec.encoder.binary),
        )
        return ListOut.of(found, _name(rec))

    @app.post("/score", responses=_REFUSED)
    def score(request: Request, asked: ScoreRequest) -> ScoresOut:
        """The given items with their utility and probabilities."""
        rec = of(request, asked.profile)
        found = rec.score(asked.items, explain=asked.explain, **asked.arguments(rec.encoder.binary))
        return ScoresOut(items=[ItemOut.of(r) for r in found], bundle=_name(rec))

    @app.post("/explain", responses=_REFUSED)
    def explain(request: Request, asked: ExplainRequest) -> ExplanationOut:
        """Where an item's utility comes from."""
        rec = of(request, asked.profile)
        return ExplanationOut.of(rec.explain(asked.item, **asked.arguments(rec.encoder.binary)))

    @app.get("/similar/{item}", responses=_REFUSED)
    def similar(
        request: Request,
        item: str = InPath(min_length=1, max_length=256),
        k: int = Query(10, ge=1, le=MAX_K),
        where: str | None = Query(None, max_length=4096),
    ) -> ListOut:
        """Items that are most often in one session with an item."""
        rec = recommender(request)
        return ListOut.of(rec.similar(item, k, where=where), _name(rec))

    @app.post("/observe", responses=_REFUSED)
    def observe(request: Request, event: ObserveRequest) -> ObservedOut:
        """What the user did; on the disk when the answer is true."""
        rec = of(request, event.profile)
        stored = rec.observe(
            event.item,
            event.kind,
            event.time,
            event.context,
            event_id=event.event_id,
            list_name=event.list_name,
        )
        return ObservedOut(stored=stored)

    @app.delete("/profiles/{profile}", status_code=204, responses=_REFUSED)
    def forget(request: Request, profile: str = InPath(max_length=256)) -> None:
        """Erase all that is stored of a user."""
        of(request, profile).forget()

    @app.get("/health")
    def health(request: Request) -> HealthOut:
        """What a monitor asks for."""
        return HealthOut.model_validate(recommender(request).health())

    @app.get("/metrics", response_class=PlainTextResponse)
    def told() -> Response:
        """Prometheus's text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def from_environment() -> FastAPI:
    """The service that `edgerec serve` described; each of its workers makes one, over the same mapped weights.bin."""
    told = json.loads(os.environ[SETTINGS])
    keys = [Path(key) for key in told["public_key"]] or None
    return create_app(lambda: Recommender.open(told["bundle"], told["store"], keys, engine=told["engine"]))


def _name(rec: Recommender) -> str:
    return f"{rec.bundle.manifest.name} {rec.bundle.manifest.version}"


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, BundleError) else 422)


def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)


class _Metrics:
    """Requests and seconds by route; over all workers, where there are several."""

    def __init__(self) -> None:
        self.several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        registry = None if self.several else CollectorRegistry()
        self.registry = registry or CollectorRegistry()
        keys: dict[str, Any] = {"registry": registry}
        self.requests = Counter("edgerec_requests", "Requests by route and status.", ["route", "status"], **keys)
        self.seconds = Histogram("edgerec_seconds", "Seconds by route.", ["route"], buckets=_BUCKETS, **keys)
        if self.several:
            multiprocess.MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]

    def tell(self, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Limits:
    """Refuses bodies that are too long, while they come in, and measures."""

    def __init__(self, app: Callable[..., Awaitable[None]], metrics: _Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, body = time.perf_counter(), [500], bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client is gone
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                refusal = JSONResponse({"detail": f"a request has at most {MAX_BODY} bytes"}, 413)
                await refusal(scope, receive, send)
                self.metrics.tell("too long", 413, time.perf_counter() - start)
                return
            if not message.get("more_body"):
                break
        given = iter([{"type": "http.request", "body": bytes(body), "more_body": False}])

        async def whole() -> Any:
            return next(given, None) or await receive()

        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self.app(scope, whole, told)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.tell(route, status[0], time.perf_counter() - start)
