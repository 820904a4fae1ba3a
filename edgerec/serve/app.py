"""The service: routes over one recommender, limits, health and metrics."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from edgerec import __version__
from edgerec.errors import BundleError, EdgerecError
from edgerec.runtime import Recommender
from edgerec.serve import routes
from edgerec.serve.access import Access, Guard, read_token
from edgerec.serve.metrics import MAX_BODY, MAX_RUNNING, LimitedAndMeasured, Metrics

SETTINGS = "EDGEREC_SERVE"
"""Environment variable through which `edgerec serve` gives its workers what to open."""
DESCRIPTION = """Recommendations from a bundle, on this machine.

A request with `profile` is about that user, whose events `POST /observe` stores; without, about the default user. A
request with `history` is about that past only, and nothing is stored. Times are milliseconds since 1970 UTC. What is
wrong with a request is said on one line, in `detail`.
"""


@dataclass(frozen=True)
class Served:
    """What each worker or replica opens: plain values, which may be sent to other machines; paths must be valid there.

    Attributes:
        token_file: see `read_token`. host, names, origins: see `Access.at`.
        max_running: requests that one process works on at once.
    """

    bundle: str
    store: str | None = None
    public_key: tuple[str, ...] = ()
    engine: str = "auto"
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    token_file: str | None = None
    origins: tuple[str, ...] = ()
    max_running: int = MAX_RUNNING

    def access(self) -> Access:
        """Who may call.

        Raises:
            ConfigError: see `Access.at` and `read_token`.
        """
        token = None if self.token_file is None else read_token(Path(self.token_file))
        return Access.at(self.host, self.names, token, self.origins)

    def open(self) -> Recommender:
        """The recommender.

        Raises:
            EdgerecError: see `Recommender.open`.
        """
        keys = [Path(key) for key in self.public_key] or None
        return Recommender.open(self.bundle, self.store, keys, engine=self.engine)  # type: ignore[arg-type]

    def app(self) -> FastAPI:
        """The service, made in the process that runs it."""
        return create_app(self.open, self.access(), max_running=self.max_running)

    def to_environment(self) -> None:
        """Leave it for `from_environment`, in the workers that this process starts."""
        os.environ[SETTINGS] = json.dumps(asdict(self))


def create_app(
    open_: Callable[[], Recommender],
    access: Access | None = None,
    max_body: int = MAX_BODY,
    max_running: int = MAX_RUNNING,
) -> FastAPI:
    """The service of a recommender, which is opened when it starts and closed when it stops.

    Args:
        access: who may call; None: this machine.
        max_body: bytes of a request; a longer one is refused with status 413.
        max_running: requests at once; more are refused with status 503.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_() as recommender:
            app.state.recommender = recommender
            yield

    access = access or Access()
    app = FastAPIOffline(  # FastAPI's own page of documentation loads scripts from elsewhere
        redoc_url=None,
        title="edgerec",
        version=__version__,
        lifespan=lifespan,
        description=DESCRIPTION,
        servers=[{"url": "/", "description": "The one that this document came from."}],
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # an id may end in a slash
    )
    app.state.metrics = Metrics()
    # The last one added is the first one asked.
    app.add_middleware(LimitedAndMeasured, metrics=app.state.metrics, max_body=max_body, max_running=max_running)
    app.add_middleware(Guard, access=access, metrics=app.state.metrics)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_exception_handler(EdgerecError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    token: Any = [routes.TOKEN] if access.token is not None else []
    for router in (routes.recommendations, routes.feedback, routes.metrics):
        app.include_router(router, dependencies=token)
    app.include_router(routes.health)
    return app


def from_environment() -> FastAPI:
    """The service that `edgerec serve` described; each of its workers makes one, with weights of its own."""
    settings = json.loads(os.environ[SETTINGS])
    values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return Served(**values).app()


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, BundleError) else 422)


def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
