"""How long-running work reports its progress: bars on a terminal, plain lines elsewhere, nothing in tests.

Work is said in stages, and a stage in parts, which may lie within each other. While one of them lasts, its state is
shown at least every few seconds, with the time that is left if the work ahead was announced. Everything goes to
standard error, so that a command's result on standard output can be piped.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID, TextColumn

__all__ = ["Ahead", "Lines", "Outlook", "Progress", "Silent", "Track", "age", "duration", "progress_for"]

Ahead: TypeAlias = Mapping[str, Mapping[str, float]]
"""Work that lies ahead: by the title of a stage, the seconds that each of its parts may take, by its description. The
part "" is all that has no description."""


class Track(Protocol):
    """One part of the work."""

    def advance(self, n: float = 1, note: str = "") -> None:
        """Count `n` more units as done; `note` (such as a loss) replaces the note beside the count."""


class Progress(Protocol):
    """What a stage may say while it works."""

    def expect(self, ahead: Ahead) -> None:
        """Announce the work that lies ahead; the time that is left is then shown with all that follows."""

    def headline(self, title: str) -> None:
        """Begin a new topic."""

    def stage(self, title: str) -> AbstractContextManager[None]:
        """A stage of the work under a headline; it ends with the `with` block."""

    def track(self, total: int | None, description: str) -> AbstractContextManager[Track]:
        """A part of `total` units, or of None where they cannot be counted; it ends with the `with` block."""

    def say(self, line: str) -> None:
        """Report one finding."""


class Silent:
    """Says nothing."""

    def expect(self, ahead: Ahead) -> None:
        """Expect nothing."""

    def headline(self, title: str) -> None:
        """Say nothing."""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Say nothing."""
        yield

    @contextmanager
    def track(self, total: int | None, description: str) -> Iterator[Track]:
        """Count nothing."""
        yield self

    def advance(self, n: float = 1, note: str = "") -> None:
        """Count nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""


def duration(seconds: float) -> str:
    """A length of time as one says it.

    >>> duration(44.6), duration(80), duration(400), duration(9000)
    ('45 s', '1 minute', '7 minutes', '2.5 hours')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f"{seconds / 3600:.1f} hours"


def age(path: Path) -> str:
    """How long ago a file was written, as one says it."""
    return duration(max(time.time() - path.stat().st_mtime, 0.0))


# ------------------------------------------------------------------------------------------------ the time that is left


@dataclass
class _Part:
    """A stage or a part that has begun."""

    description: str
    total: int | None
    began_s: float = field(default_factory=time.monotonic)
    done: float = 0.0
    note: str = ""

    def advance(self, n: float = 1, note: str = "") -> None:
        self.done, self.note = self.done + n, note or self.note

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began_s

    def __str__(self) -> str:
        count = ""
        if self.total is not None:
            done = f"{int(self.done):,}" if self.done == int(self.done) else f"{self.done:,.4g}"
            count = f" {done}/{max(self.total, math.ceil(self.done)):,},"  # a total may be an estimate
        return f"{self.description}:{count} {duration(self.seconds)}" + (f", {self.note}" if self.note else "")


class Outlook:
    """The time that is left: what was expected of each part, corrected by what the finished parts took.

    The first parts of a short run say little of the others, so the correction begins as none and counts in full once
    half of all expected work is done.
    """

    def __init__(self, ahead: Ahead | None = None) -> None:
        self._ahead = {stage: dict(parts) for stage, parts in (ahead or {}).items()}
        self._doubt_s = sum(sum(parts.values()) for parts in self._ahead.values()) / 4
        self._expected_s = self._took_s = 0.0

    def finish_part(self, stage: str, part: str, seconds: float) -> None:
        """A part is over after so many seconds."""
        expected_s = self._ahead.get(stage, {}).pop(part, None)
        if expected_s is not None:
            self._expected_s += expected_s
            self._took_s += seconds

    def finish_stage(self, stage: str) -> None:
        """Nothing of a stage is left, whatever was expected."""
        self._ahead.pop(stage, None)

    def left_s(self, stage: str = "", part: str = "", seconds: float = 0.0, share: float | None = None) -> float | None:
        """Seconds that are left of all that was announced; None if nothing is.

        Args:
            part: that is at work since `seconds`. share: of it that is done, if that is known.
        """
        if not self._ahead:
            return None
        pace = (self._doubt_s + self._took_s) / (self._doubt_s + self._expected_s or 1.0) or 1.0
        expected_s = self._ahead.get(stage, {}).get(part, 0.0) * pace
        others_s = sum(sum(parts.values()) for parts in self._ahead.values()) * pace - expected_s
        # A part that takes longer than was expected may well take as long again as it has been late.
        here_s = max(expected_s - seconds, min(seconds - expected_s, expected_s / 2), 0.0)
        if share:
            here_s = share * (seconds / share - seconds) + (1 - share) * here_s
        return max(others_s + here_s, 0.0)


class _State:
    """What is being worked on, and the time that is left; shared by the kinds of progress that show it."""

    def __init__(self) -> None:
        self.outlook = Outlook()
        self.stages: list[_Part] = []
        self.parts: list[_Part] = []

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        self.stages.append(_Part(title, None))
        try:
            yield
        finally:
            self.outlook.finish_stage(self.stages.pop().description)

    @contextmanager
    def part(self, total: int | None, description: str) -> Iterator[_Part]:
        part = _Part(description, total)
        self.parts.append(part)
        try:
            yield part
        finally:
            self.parts.remove(part)
            if not self.parts and self.stages:
                self.outlook.finish_part(self.stages[-1].description, description, part.seconds)

    def innermost(self) -> _Part | None:
        """What is worked on now."""
        return [*self.stages, *self.parts][-1] if self.stages or self.parts else None

    def left(self) -> str:
        """ "about 4 minutes left in all", or nothing."""
        parts, stages = self.parts[:1], self.stages[-1:]
        left_s = None
        if parts and stages:
            share = parts[0].done / parts[0].total if parts[0].total else None
            left_s = self.outlook.left_s(stages[0].description, parts[0].description, parts[0].seconds, share)
        elif stages:
            left_s = self.outlook.left_s(stages[0].description)
        return "" if left_s is None else f"about {duration(left_s)} left in all"


# ------------------------------------------------------------------------------------------------ lines


class Lines:
    """Plain lines, for pipes and log files; at least one every `every_s` seconds while a stage or part lasts."""

    def __init__(self, out: TextIO | None = None, every_s: float = 10.0) -> None:
        self._out, self._every_s = out or sys.stderr, every_s
        self._state, self._last_s = _State(), time.monotonic()
        self._over: threading.Event | None = None

    def expect(self, ahead: Ahead) -> None:
        """Show the time that is left with each line of a part."""
        self._state.outlook = Outlook(ahead)

    def headline(self, title: str) -> None:
        """Print the headline."""
        self._print(f"== {title}")

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print the headline, and what is worked on until the end of the stage."""
        self.headline(title)
        with self._state.stage(title), self._beating():
            yield

    @contextmanager
    def track(self, total: int | None, description: str) -> Iterator[Track]:
        """Print the count now and then, and once more at the end of a part that took long."""
        with self._state.part(total, description) as part, self._beating():
            yield part
        if part.seconds >= self._every_s:
            self.say(str(part))

    def say(self, line: str) -> None:
        """Print the line."""
        self._print(f"   {line}")

    def _print(self, line: str) -> None:
        self._last_s = time.monotonic()
        print(line, file=self._out, flush=True)

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """A thread says what is worked on whenever nothing has been said for long; one for all that lies within."""
        if self._over is not None:
            yield
            return
        self._over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(self._over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._over = None
            thread.join()

    def _beat(self, over: threading.Event) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more
            while not over.wait(max(self._last_s + self._every_s - time.monotonic(), 0.01)):
                part = self._state.innermost()
                if part is not None and time.monotonic() - self._last_s >= self._every_s:
                    self.say("; ".join(filter(None, (str(part), self._state.left()))))


# ------------------------------------------------------------------------------------------------ bars


class _Bars:
    """Live bars through `rich`, which only the `train` extra promises: one for each part, the time left beneath."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console, self._state = Console(stderr=True, highlight=False), _State()
        self._bars: RichProgress | None = None

    def expect(self, ahead: Ahead) -> None:
        self._state.outlook = Outlook(ahead)

    def headline(self, title: str) -> None:
        self._console.print(title, style="bold", markup=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        self.headline(title)
        with self._state.stage(title), self._live() as bars:
            task = bars.add_task(title, total=None, note="", left=self._state.left)
            try:
                yield
            finally:
                bars.remove_task(task)

    @contextmanager
    def track(self, total: int | None, description: str) -> Iterator[Track]:
        with self._state.part(total, description) as part, self._live() as bars:
            task = bars.add_task(description, total=total, note="", left=str)
            try:
                yield _BarTrack(bars, task, part)
            finally:
                bars.remove_task(task)

    def say(self, line: str) -> None:
        self._console.print(f"   {line}", markup=False)

    @contextmanager
    def _live(self) -> Iterator[RichProgress]:
        """The one live display, from the first stage or part to the end of that one."""
        if self._bars is not None:
            yield self._bars
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("   {task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            _note_column(),
        )
        with Progress(*columns, console=self._console, transient=True, refresh_per_second=4) as self._bars:
            try:
                yield self._bars
            finally:
                self._bars = None


def _note_column() -> TextColumn:
    """Count, note and time left of a row; the last is asked for each time that it is shown."""
    from rich.progress import Task, TextColumn
    from rich.text import Text

    class Note(TextColumn):
        def render(self, task: Task) -> Text:
            count = "" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}"
            return Text("  ".join(filter(None, (count, task.fields["note"], task.fields["left"]()))))

    return Note("")


class _BarTrack:
    def __init__(self, bars: RichProgress, task: TaskID, part: _Part) -> None:
        self._bars, self._task, self._part = bars, task, part

    def advance(self, n: float = 1, note: str = "") -> None:
        self._part.advance(n, note)
        self._bars.update(self._task, advance=n, note=self._part.note)


def progress_for(stream: TextIO | None = None) -> Progress:
    """The kind of progress that fits `stream` (standard error by default)."""
    stream = stream or sys.stderr
    return _Bars() if stream.isatty() and find_spec("rich") else Lines(stream)
