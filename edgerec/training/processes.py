"""Independent trainings side by side, each in a process of its own with its share of the cores."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from edgerec import errors
from edgerec.errors import EdgerecError
from edgerec.progress import Progress, Silent, Track
from edgerec.threads import cores, with_threads

__all__ = ["side_by_side"]

Work: TypeAlias = Callable[[Progress], None]
"""A training that can be pickled; it leaves its result in files."""
_JOIN_S = 30.0
"""For a stopped training to write its last checkpoint."""
_TELL_S = 0.5
"""Between two words of a process on how far it is."""


def side_by_side(work: Sequence[Work], progress: Progress, title: str, workers: int | None = None) -> None:
    """Do all of `work` on all cores; in this process if there is one core, or one thing to do.

    Up to twice as many processes as cores run at a time, so that three trainings on two cores end together.

    A stop or an error stops all of them; each goes on from its own checkpoint when it is called again.
    Args:
        title: of all of it, as a part of the stage.
        workers: processes at a time; None: as the cores allow.
    Raises:
        EdgerecError: as raised by one of them; or its process was killed.
    """
    most = len(work) if len(work) < 2 * cores() else cores()
    workers = min(len(work), workers or (most if cores() > 1 else 1))
    with progress.track(len(work), title) as done:
        if workers > 1:
            _in_processes(work, progress, done, workers)
            return
        for one in work:
            one(progress)
            done.advance()


def _in_processes(work: Sequence[Work], progress: Progress, done: Track, workers: int) -> None:
    waiting, running = list(work), dict[Connection, SpawnProcess]()
    try:
        with with_threads(max(cores() // workers, 1)):
            while waiting or running:
                while waiting and len(running) < workers:
                    connection, process = _started(waiting.pop(0))
                    running[connection] = process
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    if not _heard(ready, progress, done):
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


def _heard(connection: Connection, progress: Progress, done: Track) -> bool:
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
    if kind == "done":
        done.advance(value)
    else:
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


class _Sender(Silent):
    """A `Progress` that speaks through a pipe: its lines, and the share of its work that is done.

    One bar for all the processes shows the shares, since many bars would tell no more.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._depth = connection, 0

    @contextmanager
    def track(self, total: int | None, description: str) -> Iterator[Track]:
        """Only a process's whole work is counted, not what lies within it."""
        self._depth += 1
        try:
            yield _Share(self._connection, total) if total and self._depth == 1 else Silent()
        finally:
            self._depth -= 1

    def say(self, line: str) -> None:
        self._connection.send(("say", line))


class _Share:
    """Tells the other process about a count, at most a few times a second."""

    def __init__(self, connection: Connection, total: int) -> None:
        self._connection, self._total = connection, total
        self._done, self._told, self._told_s = 0.0, 0.0, time.monotonic()

    def advance(self, n: float = 1, note: str = "") -> None:
        self._done += n
        if time.monotonic() - self._told_s >= _TELL_S or self._done >= self._total:
            self._connection.send(("done", min(self._done / self._total, 1.0) - self._told))
            self._told, self._told_s = min(self._done / self._total, 1.0), time.monotonic()
