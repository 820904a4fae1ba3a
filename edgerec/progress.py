"""How long-running work reports its progress: a bar on a terminal, plain lines elsewhere, nothing in tests.

Everything goes to standard error, so that a command's result on standard output can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Lines", "Progress", "Silent", "Track", "progress_for"]


class Track(Protocol):
    """One piece of countable work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units as done; `note` (such as a loss) replaces the note beside the count."""


class Progress(Protocol):
    """What a stage may say while it works."""

    def stage(self, title: str) -> None:
        """Begin a stage of the work, with a headline."""

    def track(self, total: int, description: str) -> AbstractContextManager[Track]:
        """Count `total` units of work; the count ends with the `with` block."""

    def say(self, line: str) -> None:
        """Report one finding."""


class Silent:
    """Says nothing."""

    def stage(self, title: str) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, total: int, description: str) -> Iterator[Track]:
        """Count nothing."""
        yield self

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""


class _LineTrack:
    """Prints the count if `every_s` seconds have passed since the last line."""

    def __init__(self, out: TextIO, total: int, description: str, every_s: float) -> None:
        self._out, self._total, self._description, self._every_s = out, total, description, every_s
        self._done, self._note, self._last_s = 0, "", time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done, self._note = self._done + n, note or self._note
        if time.monotonic() - self._last_s >= self._every_s:
            self._last_s = time.monotonic()
            note = f"  {self._note}" if self._note else ""
            print(f"   {self._description}: {self._done}/{self._total}{note}", file=self._out, flush=True)


class Lines:
    """Plain lines, for pipes and log files; a count is repeated at most every `every_s` seconds."""

    def __init__(self, out: TextIO | None = None, every_s: float = 5.0) -> None:
        self._out, self._every_s = out or sys.stderr, every_s

    def stage(self, title: str) -> None:
        """Print the headline."""
        print(f"== {title}", file=self._out, flush=True)

    @contextmanager
    def track(self, total: int, description: str) -> Iterator[Track]:
        """Print the count now and then."""
        yield _LineTrack(self._out, total, description, self._every_s)

    def say(self, line: str) -> None:
        """Print the line."""
        print(f"   {line}", file=self._out, flush=True)


class _Bars:
    """A live bar through `rich`, which only the `train` extra promises."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def stage(self, title: str) -> None:
        self._console.print(title, style="bold", markup=False)

    @contextmanager
    def track(self, total: int, description: str) -> Iterator[Track]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("   {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            yield _BarTrack(bars, bars.add_task(description, total=total, note=""))

    def say(self, line: str) -> None:
        self._console.print(f"   {line}", markup=False)


class _BarTrack:
    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, n: int = 1, note: str = "") -> None:
        if note:
            self._bars.update(self._task, advance=n, note=note)
        else:
            self._bars.advance(self._task, n)


def progress_for(stream: TextIO | None = None) -> Progress:
    """The kind of progress that fits `stream` (standard error by default)."""
    stream = stream or sys.stderr
    return _Bars() if stream.isatty() and find_spec("rich") else Lines(stream)
