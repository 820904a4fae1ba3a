"""A `Progress` that measures: wall and CPU seconds and peak memory of each stage and each part of it."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgerec.progress import Ahead, Progress, Track

__all__ = ["Cost", "Measured"]

SAMPLE_S = 0.1
"""Between two looks at the memory: a peak that is shorter may be missed."""
MIB = 2**20


@dataclass
class Cost:
    """What a stage or a part of it took.

    Attributes:
        path: the stage, its part, a part of that, and so on.
        wall_s, cpu_s: seconds; the CPU time of processes counts when they have ended.
        peak_mib: most resident memory of this process and those that it started, together.
    """

    path: tuple[str, ...]
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0


class Measured:
    """Measures all that passes through it, and passes it on to another `Progress`.

    On Linux the memory is sampled, so that each part has a peak of its own; pages that several processes share are
    counted once. Elsewhere it is the most that this process had since it began.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._costs: dict[tuple[str, ...], Cost] = {}
        self._open: list[Cost] = []

    def costs(self, rest: str = "all else") -> list[Cost]:
        """All of them in the order in which they began; `rest` names what lies in none of a stage's parts."""
        found = []
        for path, cost in self._costs.items():
            if len(path) == 1:
                own = [c for c in self._costs.values() if c.path[0] == path[0]]
                parts = [c for c in own if len(c.path) == 2]
                wall_s, cpu_s = (sum(getattr(c, name) for c in parts) for name in ("wall_s", "cpu_s"))
                left = Cost((*path, rest), cost.wall_s - wall_s, cost.cpu_s - cpu_s)
                found += [*own, left] if parts else own
        return found

    def expect(self, ahead: Ahead) -> None:
        """Passed on."""
        self._progress.expect(ahead)

    def headline(self, title: str) -> None:
        """Passed on."""
        self._progress.headline(title)

    def say(self, line: str) -> None:
        """Passed on."""
        self._progress.say(line)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Measured."""
        with self._progress.stage(title), self._measure(title):
            yield

    @contextmanager
    def track(self, total: int | None, description: str) -> Iterator[Track]:
        """Measured."""
        with self._progress.track(total, description) as track, self._measure(description):
            yield track

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        path = (*(self._open[-1].path if self._open else ()), name)
        cost = self._costs.setdefault(path, Cost(path))
        self._open.append(cost)
        sampler = None if len(self._open) > 1 else _Sampler(self._open)
        wall_s, cpu_s = time.perf_counter(), _cpu_s()
        try:
            yield
        finally:
            cost.wall_s += time.perf_counter() - wall_s
            cost.cpu_s += _cpu_s() - cpu_s
            _note_memory(self._open)
            if sampler is not None:
                sampler.stop()
            self._open.pop()


class _Sampler(threading.Thread):
    """Looks at the memory again and again; a look takes some 0.1 ms."""

    def __init__(self, open_costs: list[Cost]) -> None:
        super().__init__(daemon=True)
        self._costs, self._over = open_costs, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            _note_memory(self._costs)

    def stop(self) -> None:
        self._over.set()
        self.join()


def _note_memory(costs: Iterable[Cost]) -> None:
    mib = _resident_mib()
    for cost in list(costs):
        cost.peak_mib = max(cost.peak_mib, mib)


def _cpu_s() -> float:
    """Of this process and of those that it started, as far as they tell: on Linux all, elsewhere those that ended."""
    if not Path("/proc/self/stat").exists():
        t = os.times()
        return t.user + t.system + t.children_user + t.children_system
    return sum(_ticks(process) for process in _processes()) / os.sysconf("SC_CLK_TCK")


def _ticks(process: Path) -> int:
    """CPU time of a process and of those that it started and that have ended."""
    try:
        after_name = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0
    return sum(map(int, after_name[11:15]))  # utime, stime, cutime, cstime: proc(5)


def _processes() -> Iterator[Path]:
    """This process and all that it started, in Linux's /proc."""
    waiting = [os.getpid()]
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        yield process
        with suppress(OSError):  # it has just ended
            for thread in (process / "task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())


def _resident_mib() -> float:
    """Memory of this process and of those that it started; of pages that n processes share, each has an n-th."""
    if not Path("/proc/self/smaps_rollup").exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (MIB if sys.platform == "darwin" else 1024)
    kib, own = 0, Path("/proc/self/cmdline").read_bytes()
    for process in _processes():
        # Until a process runs its own program, its memory is this process's, and would count twice.
        with suppress(OSError, StopIteration):  # it has just ended
            if process.name == str(os.getpid()) or (process / "cmdline").read_bytes() != own:
                lines = (process / "smaps_rollup").open()
                kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024
