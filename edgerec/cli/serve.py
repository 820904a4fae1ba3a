"""`edgerec serve`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.recommend import BundleArgument

__all__ = ["serve"]

GRACE_S = 10
"""Seconds that a stop waits for running requests."""


def serve(
    bundle: BundleArgument,
    store: Annotated[
        Path | None, typer.Option(help="File that stores the events of users. Default: in memory.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes; they share the memory of the weights.")
    ] = 1,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key (.pub); a bundle that none of the given keys has signed is refused."),
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine that runs the model: auto, onnxruntime or numpy.")] = "auto",
    replicas: Annotated[
        str | None, typer.Option(help="LEAST:MOST, such as 1:4. Serve on Ray, which adds replicas as the load grows.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Maximum number of concurrent requests; more are answered with status 503.")
    ] = 64,
) -> None:
    """Serve a bundle over HTTP.

    The routes are /recommend, /score, /similar and /observe; /docs describes all of them.
    """
    from edgerec.errors import ConfigError, need
    from edgerec.runtime import Recommender

    need("fastapi", "serve", "edgerec serve")
    need("uvicorn", "serve", "edgerec serve")
    if (workers > 1 or replicas is not None) and store is None:
        raise ConfigError("--workers and --replicas need a file to share the events of users: give --store FILE")
    least, _, most = (replicas or "1:1").partition(":")
    if not (least.isdigit() and most.isdigit()):
        raise ConfigError(f"--replicas: expected LEAST:MOST such as 1:4, got {replicas!r}")
    # Wrong input is reported here, in one line, and not by each worker.
    with Recommender.open(bundle, store, public_key or None, engine=engine) as rec:  # type: ignore[arg-type]
        typer.echo(f"{bundle}: {rec.health()['bundle']}, on http://{host}:{port} (Ctrl-C stops)", err=True)
    keys = public_key or []
    if replicas is not None:
        from edgerec.serve.elastic import Served, run

        where = None if store is None else str(store.absolute())
        served = Served(str(bundle.absolute()), where, tuple(str(key.absolute()) for key in keys), engine)
        run(served, host, port, int(least), int(most))
        return
    _serve_here(_settings(bundle, store, keys, engine), host, port, workers, concurrency)


def _settings(bundle: Path, store: Path | None, keys: list[Path], engine: str) -> str:
    """What a worker reads from its environment."""
    return json.dumps({
        "bundle": str(bundle),
        "store": None if store is None else str(store),
        "public_key": [str(key) for key in keys],
        "engine": engine,
    })  # fmt: skip


def _serve_here(settings: str, host: str, port: int, workers: int, concurrency: int) -> None:
    import uvicorn

    from edgerec.serve.app import SETTINGS

    with tempfile.TemporaryDirectory() as folder:
        os.environ[SETTINGS] = settings
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "edgerec.serve.app:from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            limit_concurrency=concurrency,
            timeout_graceful_shutdown=GRACE_S,
            log_level="warning",
        )
