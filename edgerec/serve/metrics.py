"""What the service counts, and what it refuses by size, time and number, around all routes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

MAX_BODY = 1 << 20
"""Bytes of a request."""
BODY_S = 10.0
"""Seconds within which a request must have come in."""
MAX_RUNNING = 64
"""Requests that are worked on at once."""
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
"""Bounds of the histogram of response times, in seconds."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""Of ASGI."""


class Metrics:
    """Requests and seconds by route; over all workers, where there are several."""

    def __init__(self) -> None:
        several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        registry = None if several else CollectorRegistry()
        self._registry = registry or CollectorRegistry()
        labels = ["route", "status"]
        self._requests = Counter("edgerec_requests", "Requests by route and status.", labels, registry=registry)
        self._seconds = Histogram(
            "edgerec_seconds", "Seconds by route.", ["route"], buckets=_BUCKETS, registry=registry
        )
        if several:
            multiprocess.MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All counts in Prometheus's text format."""
        return generate_latest(self._registry)


class LimitedAndMeasured:
    """ASGI middleware that refuses a body that is too long or too slow, while it comes in, and measures every request.

    A request counts as running once it has come in, so that slow ones keep no others out.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        metrics: Metrics,
        max_body: int = MAX_BODY,
        max_running: int = MAX_RUNNING,
    ) -> None:
        self.app, self.metrics, self.max_body, self.max_running = app, metrics, max_body, max_running
        self._running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, body, slow = time.perf_counter(), b"", False
        try:
            came = await asyncio.wait_for(self._body(receive), BODY_S)
            if came is None:  # the client is gone
                return
            body = came
        except TimeoutError:
            slow = True
        refused = self._refused(body, slow)
        if refused is None:
            await self._run(scope, body, receive, send, start)
            return
        what, status, reason = refused
        await JSONResponse({"detail": reason}, status, {"Connection": "close"})(scope, receive, send)
        self.metrics.count(what, status, time.perf_counter() - start)

    def _refused(self, body: bytes, slow: bool) -> tuple[str, int, str] | None:
        """Route for the metrics, status and reason."""
        if slow:
            return "too slow", 408, f"a request must come in within {BODY_S:g} s"
        if len(body) > self.max_body:
            return "too long", 413, f"a request has at most {self.max_body} bytes"
        if self._running >= self.max_running:
            return "too many", 503, f"{self.max_running} requests are running; ask again later"
        return None

    async def _run(self, scope: Message, body: bytes, receive: Receive, send: Send, start: float) -> None:
        whole, status = iter([{"type": "http.request", "body": body, "more_body": False}]), [500]

        async def receive_whole() -> Message:
            return next(whole, None) or await receive()

        async def send_noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        self._running += 1
        try:
            await self.app(scope, receive_whole, send_noting_status)
        finally:
            self._running -= 1
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.count(route, status[0], time.perf_counter() - start)

    async def _body(self, receive: Receive) -> bytes | None:
        """The body as far as the limit and the part that exceeds it; None if the client went away."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self.max_body or not message.get("more_body"):
                return bytes(body)
