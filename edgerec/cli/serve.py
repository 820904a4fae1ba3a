"""`edgerec serve`."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json
from edgerec.cli.recommend import BundleArgument

if TYPE_CHECKING:
    from edgerec.serve.app import Served

__all__ = ["serve"]

GRACE_S = 10
"""Seconds that a stop waits for running requests."""


def serve(
    bundle: BundleArgument,
    store: Annotated[
        Path | None, typer.Option(help="File that stores the events of users. Default: in memory.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect, and needs --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that calls bring as 'Authorization: Bearer TOKEN'; made if missing."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which clients call this machine; others than its address are refused."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Origin, such as https://app.example, whose pages may call; others are refused."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes; each holds the model in memory.")
    ] = 1,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key (.pub); a bundle that none of the given keys has signed is refused."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Engine that runs the model: auto, native, onnxruntime or numpy.")
    ] = "auto",
    replicas: Annotated[
        str | None, typer.Option(help="LEAST:MOST, such as 1:4. Serve on Ray, which adds replicas as the load grows.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Maximum number of concurrent requests; more are answered with status 503.")
    ] = 64,
    as_json: JsonOption = False,
) -> None:
    """Serve a bundle over HTTP.

    The routes are /recommend, /score, /similar, /explain, /observe and /forget; /docs describes all of them.
    """
    from edgerec.errors import ConfigError, need

    need("fastapi_offline", "serve", "edgerec serve")
    need("uvicorn", "serve", "edgerec serve")
    if (workers > 1 or replicas is not None) and store is None:
        raise ConfigError("--workers and --replicas need a file to share the events of users: give --store FILE")
    least, _, most = (replicas or "1:1").partition(":")
    if not (least.isdigit() and most.isdigit()):
        raise ConfigError(f"--replicas: expected LEAST:MOST such as 1:4, got {replicas!r}")
    from edgerec.serve.app import Served

    def named(path: Path) -> str:
        return str(path.absolute() if replicas else path)  # a replica has a folder of its own

    served = Served(
        bundle=named(bundle),
        store=None if store is None else named(store),
        public_key=tuple(named(key) for key in public_key or ()),
        engine=engine,
        host=host,
        names=tuple(allow_host or ()),
        token_file=None if token_file is None else named(token_file),
        origins=tuple(cors or ()),
        max_running=concurrency,
    )
    # Wrong input is reported here, in one line, and not by each worker.
    served.access()
    port = port or _free_port(host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with served.open() as rec:
        name = rec.health()["bundle"]
    if as_json:
        print_json({"bundle": name, "url": url})
    else:
        typer.echo(f"{bundle}: {name}, on {url} (Ctrl-C stops)", err=True)
    if replicas is not None:
        from edgerec.serve.elastic import run

        run(served, port, int(least), int(most))
    else:
        _serve_here(served, port, workers)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        port: int = free.getsockname()[1]
        return port


def _serve_here(served: Served, port: int, workers: int) -> None:
    import uvicorn

    from edgerec.serve.connections import uvicorn_settings

    with tempfile.TemporaryDirectory() as folder:
        served.to_environment()
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "edgerec.serve.app:from_environment",
            factory=True,
            host=served.host,
            port=port,
            workers=workers,
            timeout_graceful_shutdown=GRACE_S,
            **uvicorn_settings(),
        )
