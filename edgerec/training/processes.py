"""Independent trainings side by side, each in a process of its own with its share of the cores."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from edgerec import errors
from edgerec.errors import EdgerecError
from edgerec.progress import Progress, Track
from edgerec.threads import cores, with_threads

__all__ = ["side_by_side"]

Work: TypeAlias = Callable[[Progress], None]
"""A training that can be pickled; it leaves its result in files."""
_JOIN_S = 30.0
"""For a stopped training to write its last checkpoint."""


def side_by_side(work: Sequence[Work], progress: Progress, workers: int | None = None) -> None:
    """Do all of `work` on all cores; in this process if there is one core, or one thing to do.

    Up to twice as many processes as cores run at a time, so that three trainings on two cores end together.

    A stop or an error stops all of them; each goes on from its own checkpoint when it is called again.
    Args:
        workers: processes at a time; None: as the cores allow.
    Raises:
        EdgerecError: as raised by one of them; or its process was killed.
    """
    most = len(work) if len(work) < 2 * cores() else cores()
    workers = min(len(work), workers or (most if cores() > 1 else 1))
    if workers < 2:
        for one in work:
            one(progress)
        return
    waiting, running = list(work), dict[Connection, SpawnProcess]()
    try:
        with with_threads(max(cores() // workers, 1)):
            while waiting or running:
                while waiting and len(running) < workers:
                    connection, process = _started(waiting.pop(0))
                    running[connection] = process
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    if not _heard(ready, progress):
                        _finished(running.pop(ready))
    finally:
        _stop(list(running.values()))


def _started(work: Work) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")  # a fork of a process with OpenMP's threads can hang
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_do, args=(work, send), daemon=True)
    process.start()
    send.close()
    return receive, process


def _heard(connection: Connection, progress: Progress) -> bool:
    """Pass on what a process says; False once it has said all.

    Raises:
        EdgerecError: what it raised.
    """
    try:
        kind, value = connection.recv()
    except EOFError:
        return False
    if kind == "error":
        name, message = value
        raise getattr(errors, name, EdgerecError)(message)
    progress.say(value)
    return True


def _finished(process: SpawnProcess) -> None:
    process.join()
    if process.exitcode:
        raise EdgerecError(
            f"a process of the training ended with {process.exitcode}; was memory short? lower [teacher] impressions"
        )


def _stop(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_JOIN_S)
        if process.is_alive():
            process.kill()


def _do(work: Work, connection: Connection) -> None:
    """The whole life of a process. SIGTERM ends it as Ctrl-C does, so that a checkpoint is written."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)
    try:
        work(_Sender(connection))
    except KeyboardInterrupt:
        pass
    except EdgerecError as error:
        connection.send(("error", (type(error).__name__, str(error))))
    finally:
        connection.close()


def _stop_once(*_: object) -> None:
    """Ctrl-C reaches every process of a terminal, and then the first one ends the others: one stop is enough."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Sender:
    """A `Progress` that speaks through a pipe: lines alone, since several bars would overwrite each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stage(self, title: str) -> None:
        self.say(title)

    @contextmanager
    def track(self, total: int, description: str) -> Iterator[Track]:
        yield self

    def advance(self, n: int = 1, note: str = "") -> None:
        """Counts stay in the process."""

    def say(self, line: str) -> None:
        self._connection.send(("say", line))
