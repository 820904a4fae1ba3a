"""Independent work side by side, each in a process of its own with its share of the cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Generic, Protocol, Self, TypeAlias, TypeVar, cast

from edgerec import errors
from edgerec.errors import EdgerecError
from edgerec.progress import Progress, Silent, Track
from edgerec.threads import cores, return_freed_memory, threads_of_libraries, with_threads

__all__ = ["Beside", "Work", "keep_ready", "side_by_side"]

T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """What can be pickled and done in another process."""

    def __call__(self, progress: Progress) -> T_co:
        """Do it."""


Works: TypeAlias = Sequence[Work[None]]
"""Trainings, which leave their results in files."""
STOPPED = 130
"""Exit code of a process that a signal stopped, as of Ctrl-C in a shell."""
_JOIN_S = 30.0
"""For a stopped training to write its last checkpoint."""
_TELL_S = 0.5
"""Between two words of a process on how far it is."""
_FORKS = sys.platform == "linux"
"""Whether processes are forked from one that has loaded the libraries; macOS's own are not made for that."""
_LIBRARIES = ("torch", "torch._dynamo", "scipy.sparse.linalg", "pydantic")
"""What it loads: nothing that starts threads, as polars and pyarrow do, since a fork has none of them."""


def keep_ready() -> None:
    """Load the libraries once, in a process from which all later ones are forked, so that each begins at once.

    That takes 3 s of another core, for which nothing here waits, and saves each process as much.
    """
    if _FORKS and cores() > 1:
        _run_server()


def _run_server() -> None:
    """Start it, if it does not run."""
    forkserver.set_forkserver_preload(list(_LIBRARIES))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # Ctrl-C is this process's to answer
    try:
        with with_threads(1):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def side_by_side(
    work: Works, progress: Progress, title: str, workers: int | None = None, last_has_all: bool = False
) -> None:
    """Do all of `work` on all cores; in this process if there is one core, or one thing to do.

    Up to twice as many processes as cores run at a time, so that three trainings on two cores end together.

    A stop or an error stops all of them; each goes on from its own checkpoint when it is called again.
    Args:
        title: of all of it, as a part of the stage.
        workers: processes at a time; None: as the cores allow.
        last_has_all: the last of `work` lasts longest, and has threads for all cores, since it will be alone with them.
    Raises:
        EdgerecError: as raised by one of them; or its process was killed.
    """
    most = len(work) if len(work) < 2 * cores() else cores()
    workers = min(len(work), workers or (most if cores() > 1 else 1))
    with progress.track(len(work), title) as done:
        if workers > 1:
            shares = [max(cores() // workers, 1)] * len(work)
            _in_processes(work, [*shares[1:], cores()] if last_has_all else shares, progress, done, workers)
            return
        for one in work:
            one(progress)
            done.advance()


def _in_processes(work: Works, threads: Sequence[int], progress: Progress, done: Track, workers: int) -> None:
    return_freed_memory()
    waiting, running = list(zip(work, threads, strict=True)), dict[Connection, BaseProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                connection, process = _started(*waiting.pop(0))
                running[connection] = process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                if _heard(ready, progress, done) is _OVER:
                    _finished(running.pop(ready))
    finally:
        _stop(list(running.values()))


def _started(work: Work[object], threads: int) -> tuple[Connection, BaseProcess]:
    ours, theirs = multiprocessing.Pipe()
    with with_threads(threads):
        process = _process(theirs, threads)
        process.start()
    theirs.close()
    # It may read its work only once it has loaded its libraries, 2 s later, for which nothing here waits.
    threading.Thread(target=_hand_over, args=(ours, ForkingPickler.dumps(work)), daemon=True).start()
    return ours, process


def _process(connection: Connection, threads: int) -> BaseProcess:
    arguments = (connection, dict(os.environ), threads)
    if not _FORKS:
        return multiprocessing.get_context("spawn").Process(target=_do, args=arguments, daemon=True)
    _run_server()  # a fork of this process itself, with OpenMP's threads, can hang
    return multiprocessing.get_context("forkserver").Process(target=_do, args=arguments, daemon=True)


def _hand_over(connection: Connection, work: memoryview) -> None:
    with suppress(OSError):  # a process that ended before tells by its exit code
        connection.send_bytes(work)


class Beside(Generic[T_co]):
    """Work that another process does while this one does something else, with half of the threads each.

    Until the result is there this process does without the other half: a student's steps beside the teacher's answers
    took as long with all threads, and a quarter more CPU time.

    With one core, or `alone`, it is done in this process when its result is asked for.
    """

    def __init__(self, work: Work[T_co], progress: Progress, alone: bool = False) -> None:
        import torch  # not above: a process that does the work loads what that needs, and no more

        self._work, self._progress = work, progress
        self._running: tuple[Connection, BaseProcess] | None = None
        self._threads = torch.get_num_threads()
        if not alone and cores() > 1:
            return_freed_memory()
            self._running = _started(work, max(cores() // 2, 1))
            torch.set_num_threads(max(self._threads - cores() // 2, 1))
        self._with_all = partial(torch.set_num_threads, self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            _stop([self._running[1]])
        self._with_all()

    def result(self) -> T_co:
        """Wait for what the work returns; to be asked for once.

        Raises:
            EdgerecError: as raised by it; or its process was killed.
        """
        if self._running is None:
            return self._work(self._progress)
        connection, process = self._running
        found: object = None
        while (heard := _heard(connection, self._progress, Silent())) is not _OVER:
            found = heard or found
        _finished(process)
        self._with_all()
        return cast(T_co, found[0] if isinstance(found, tuple) else None)


_OVER = object()


def _heard(connection: Connection, progress: Progress, done: Track) -> object:
    """Pass on what a process says; (result,) if it says that, `_OVER` once it has said all.

    Raises:
        EdgerecError: what it raised.
    """
    try:
        kind, value = connection.recv()
    except (EOFError, ConnectionResetError):  # the latter where it had not read its work
        return _OVER
    if kind == "error":
        name, message = value
        raise getattr(errors, name)(message) if name else RuntimeError(f"in a process beside this one:\n{message}")
    if kind == "result":
        return (value,)
    if kind == "done":
        done.advance(value)
    else:
        progress.say(value)
    return None


def _finished(process: BaseProcess) -> None:
    process.join()
    if process.exitcode == STOPPED:
        raise EdgerecError("a process beside this one was stopped from outside; the same command goes on from there")
    if process.exitcode:
        raise EdgerecError(
            f"a process beside this one ended with {process.exitcode}; was memory short? lower [teacher] impressions"
        )


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_JOIN_S)
        if process.is_alive():
            process.kill()


def _do(connection: Connection, environment: Mapping[str, str], threads: int) -> None:
    """The whole life of a process. SIGTERM ends it as Ctrl-C does, so that a checkpoint is written."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)
    try:
        if _FORKS:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            os.environ.clear()
            os.environ.update(environment)
        with threads_of_libraries(threads):  # a forked process has the threads of the one that loaded them
            result = connection.recv()(_Sender(connection))
        if result is not None:
            connection.send(("result", result))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except EdgerecError as error:
        connection.send(("error", (type(error).__name__, str(error))))
    except Exception as error:  # a defect: it is raised where the work was asked for
        connection.send(("error", ("", "".join(traceback.format_exception(error)))))
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
