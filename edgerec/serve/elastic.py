"""The service on Ray Serve: as many replicas as the load needs, on one machine or several."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from edgerec.errors import ConfigError, need
from edgerec.serve.app import Served

ONGOING = 8
"""Requests that a replica works on at once; a call takes milliseconds, so more would only wait."""


def deployment(served: Served, least: int, most: int) -> Any:
    """A Ray Serve application with between `least` and `most` replicas.

    Raises:
        ConfigError: `least` is above `most`. MissingExtraError: Ray is not installed.
    """
    if not 0 < least <= most:
        raise ConfigError(f"replicas: expected LEAST:MOST such as 1:4, got {least}:{most}")
    serve = need("ray.serve", "ray", "serving on Ray")

    def build() -> FastAPI:  # a plain function: it is called in each replica
        return served.app()

    replicated = serve.deployment(
        serve.ingress(build)(),
        name="edgerec",
        autoscaling_config={"min_replicas": least, "max_replicas": most, "target_ongoing_requests": ONGOING / 2},
        max_ongoing_requests=ONGOING,
    )
    return replicated.bind()


def run(served: Served, port: int, least: int, most: int) -> None:
    """Serve until a signal comes. An address of a Ray cluster in RAY_ADDRESS is joined; else one is started here."""
    import time

    app = deployment(served, least, most)
    serve = need("ray.serve", "ray", "serving on Ray")
    serve.start(http_options={"host": served.host, "port": port})
    serve.run(app, name="edgerec", route_prefix="/")
    try:
        while True:
            time.sleep(3600)
    finally:
        serve.shutdown()
