"""The service: routes over one recommender, limits, health and metrics."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from edgerec import __version__
from edgerec.errors import BundleError, EdgerecError
from edgerec.runtime import Recommender
from edgerec.serve import routes
from edgerec.serve.metrics import MAX_BODY, LimitedAndMeasured, Metrics

SETTINGS = "EDGEREC_SERVE"
"""Environment variable through which `edgerec serve` gives its workers what to open."""


def create_app(open_: Callable[[], Recommender], max_body: int = MAX_BODY) -> FastAPI:
    """The service of a recommender, which is opened when it starts and closed when it stops.

    Args:
        max_body: bytes of a request; a longer one is refused with status 413.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_() as recommender:
            app.state.recommender = recommender
            yield

    app = FastAPI(
        title="edgerec", version=__version__, lifespan=lifespan, description="Recommendations from a bundle, locally."
    )
    app.state.metrics = Metrics()
    app.add_middleware(LimitedAndMeasured, metrics=app.state.metrics, max_body=max_body)
    app.add_exception_handler(EdgerecError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    for router in (routes.recommendations, routes.feedback, routes.monitoring):
        app.include_router(router)
    return app


def from_environment() -> FastAPI:
    """The service that `edgerec serve` described; each of its workers makes one, with weights of its own."""
    settings = json.loads(os.environ[SETTINGS])
    keys = [Path(key) for key in settings["public_key"]] or None
    return create_app(lambda: Recommender.open(settings["bundle"], settings["store"], keys, engine=settings["engine"]))


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, BundleError) else 422)


def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
