"""Connections that do not keep others waiting: each has a limited time, and the one that waits longest gives way."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 5.0
"""Seconds within which a connection must have sent the head of a request, from its first byte or its opening."""
WRITE_S: Final = 30.0
"""Seconds that an answer may wait for a client that does not read."""
MAX_CONNECTIONS: Final = 512
MAX_HEAD: Final = 1 << 15
"""Bytes of a request's head."""


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with limits of time, which uvicorn has only between two requests."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: asyncio.TimerHandle | None = None
        self._write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            waiting = [c for c in self.connections if isinstance(c, TimedProtocol) and c._head is not None]
            longest = min(waiting, key=TimedProtocol._deadline, default=self)
            longest.transport.abort()
        self._wait()

    def handle_events(self) -> None:
        """Take what came, and wait on if that was not yet a request."""
        super().handle_events()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_head()
        self._stop_write()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._write = self._write or self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop_write()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; what was not read of the last answer waits no longer than others."""
        super().timeout_keep_alive_handler()
        self._write = self._write or self.loop.call_later(WRITE_S, self.transport.abort)

    def _wait(self) -> None:
        """The clock runs while there is no request in work, whatever trickles in; an idle one closes sooner anyway."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head()
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_write(self) -> None:
        if self._write is not None:
            self._write.cancel()
            self._write = None

    def _deadline(self) -> float:
        return self._head.when() if self._head is not None else float("inf")


def uvicorn_settings() -> dict[str, Any]:
    """Of a server with these connections."""
    return {"http": TimedProtocol, "ws": "none", "h11_max_incomplete_event_size": MAX_HEAD, "log_level": "warning"}
