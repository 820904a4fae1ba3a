"""Who may call the service: names that it answers to, a token, and the web pages that it trusts."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi.responses import JSONResponse

from edgerec.errors import ConfigError
from edgerec.serve.metrics import Message, Metrics, Receive, Send

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
OPEN_PATH: Final = "/health"
"""The only path that needs no token, for monitors of the machine."""
MIN_TOKEN: Final = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(:\d{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")


@dataclass(frozen=True)
class Access:
    """What a request must bring.

    A page of any web site can make the visitor's browser call this machine: its own name may resolve to a loopback
    address (DNS rebinding), and some requests are sent without asking. Both show in headers that a page cannot change.

    Attributes:
        hosts: names and addresses that the header Host may have, in lower case.
        any_address: it may also be any IP address: only names can be made to resolve to another machine.
        token: what "Authorization: Bearer ..." must hold on all paths but /health; None: nothing.
        origins: web pages of other origins that may call, such as "https://app.example".
    """

    hosts: tuple[str, ...] = LOOPBACK
    any_address: bool = False
    token: str | None = None
    origins: tuple[str, ...] = ()

    @classmethod
    def at(cls, host: str, names: Sequence[str] = (), token: str | None = None, origins: Sequence[str] = ()) -> Access:
        """Of a service that listens on an address.

        Args:
            names: under which other machines call it, beside its address.
        Raises:
            ConfigError: other machines can connect and there is no token; or an origin or a token is not valid.
        """
        if token is None and not is_loopback(host):
            raise ConfigError(
                f"--host {host}: other machines can connect, so calls need a token: give --token-file FILE "
                "(it is made where it is missing), or listen on 127.0.0.1"
            )
        if token is not None and (len(token) < MIN_TOKEN or not _TOKEN.fullmatch(token)):
            raise ConfigError(f"the token must have at least {MIN_TOKEN} characters, of letters, digits and ._~+/=-")
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"--cors {origin}: expected an origin without a path, such as https://app.example")
        everywhere = host in ("0.0.0.0", "::")
        own = () if everywhere else (host.lower(),)
        return cls((*LOOPBACK, *own, *(name.lower() for name in names)), everywhere, token, tuple(origins))

    def refuses(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and reason of a request that is not allowed.

        Args:
            headers: by name in lower case.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._answers_to(host):
            return 400, f"no service {host!r} here; a name is added by: edgerec serve --allow-host NAME"
        origin = headers.get(b"origin")
        if origin is not None and not self._trusts(origin.decode("latin-1"), host):
            return 403, "a page of another origin may not call this; it is added by: edgerec serve --cors ORIGIN"
        if self.token is not None and path != OPEN_PATH:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                return 401, "expected the header Authorization: Bearer TOKEN, with the service's token"
        return None

    def _answers_to(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]")
        return name in self.hosts or (self.any_address and _is_address(name))

    def _trusts(self, origin: str, host: str) -> bool:
        return origin in self.origins or origin in (f"http://{host}", f"https://{host}")


class Guard:
    """ASGI middleware that refuses what `Access` does not allow, before a byte of the body is read."""

    def __init__(self, app: Callable[..., Awaitable[None]], access: Access, metrics: Metrics) -> None:
        self.app, self.access, self.metrics = app, access, metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refused = None
        if scope["type"] == "http":
            refused = self.access.refuses(scope["path"], dict(scope["headers"]))
        if refused is None:
            await self.app(scope, receive, send)
            return
        start, (status, reason) = time.perf_counter(), refused
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        await JSONResponse({"detail": reason}, status, headers)(scope, receive, send)
        self.metrics.count("refused", status, time.perf_counter() - start)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address; a name but "localhost" may be any machine's."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def read_token(path: Path) -> str:
    """The token in a file, which is made if it is missing, for its owner alone.

    Raises:
        ConfigError: it cannot be read or made, or holds no token.
    """
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the token cannot be read or made ({error})") from None
    if not token:
        raise ConfigError(f"{path}: is empty; expected a token, or no file, and then one is made")
    return token


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
