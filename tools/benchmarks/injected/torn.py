"""Power cuts: what a process wrote is replayed to every prefix, and with what was not yet flushed lost or torn.

One process stores events, one takes updates; see `recorded` for what a disk may have taken.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

from tools.benchmarks.injected.library import Injector
from tools.benchmarks.injected.recorded import Change, Disk, changes, steps, surviving
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, still_works, stored


def record(home: Path, work: Callable[[Injector], object]) -> tuple[Disk, list[Change]]:
    """What `home` held before `work`, and what `work` did there, in a process of its own."""
    before = Disk.of(home)
    descriptor = os.open(home.with_suffix(".record"), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    child = os.fork()
    if child == 0:
        injector = Injector(home)
        injector.record(descriptor)
        try:
            work(injector)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(descriptor)
    known = deepcopy(before)
    done = list(changes(steps(home.with_suffix(".record").read_bytes()), str(home), known))
    assert any(change.op == "A" for change in done), "nothing was recorded: is the library preloaded?"
    for number in known.files:  # those that were made meanwhile are there, empty and without a name
        before.files.setdefault(number, bytearray())
    for number in known.folders:
        before.folders.setdefault(number, {})
    return before, done


def cuts(
    before: Disk, done: Sequence[Change], folder: Path, count: int, choose: random.Random
) -> Iterator[tuple[Path, set[int]]]:
    """Devices after a power cut, and what was acknowledged: every prefix, then so many with loose ends, at least."""
    prefixes = list(range(1, len(done) + 1))
    ends = [(end, False) for end in prefixes] if count >= len(prefixes) else []
    ends += [(choose.choice(prefixes), True) for _ in range(max(count - len(ends), 0))]
    for number, (end, loose) in enumerate(ends):
        disk, device = deepcopy(before), folder / str(number)
        disk.take(surviving(done[:end], choose) if loose else done[:end])
        disk.write(device)
        yield device, {change.place for change in done[:end] if change.op == "A"}
        shutil.rmtree(device)


# --- events ---


def _store_events(kit: Kit, home: Path, injector: Injector) -> None:
    """In a log that is so small that it is emptied into the file again and again."""
    with kit.open(kit["small"], home / "s.sqlite") as rec:
        for number in range(40):
            if rec.observe(kit.items[number % len(kit.items)], event_id=str(number)):
                injector.acknowledge(number)
            if number % 10 == 9:
                rec.recommend(3, log=True)


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Of a process that stores events."""
    home = folder / "home"
    home.mkdir()
    before, done = record(home, lambda injector: _store_events(kit, home, injector))
    for device, told in cuts(before, done, folder, count, random.Random(seed)):

        def verify(device: Path = device, told: set[int] = told) -> Outcome:
            with still_works(kit, kit["small"], device / "s.sqlite") as rec:
                health = rec.health()
            lost = missing({str(number) for number in told}, stored(device / "s.sqlite", ""))
            note = f"{lost} lost; set aside: {health['damaged']}" if lost or health["damaged"] else ""
            return Outcome(lost=lost or int(bool(health["damaged"])), note=note)

        yield attempt(verify)


# --- updates ---


def _take_updates(kit: Kit, home: Path, injector: Injector) -> None:
    """A delta, then a bundle; each is acknowledged with its version."""
    for update in ("delta", "3"):
        with kit.open(home / "bundle") as rec:
            rec.update(kit[update])
            injector.acknowledge(rec.bundle.manifest.version)
        with kit.open(home / "bundle") as rec:
            rec.recommend(3)


def run_updates(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Of a process that takes updates: the newest version that was acknowledged is in use, and none is thought bad."""
    home = folder / "home"
    home.mkdir()
    shutil.copytree(kit["1"], home / "bundle")
    before, done = record(home, lambda injector: _take_updates(kit, home, injector))
    for device, told in cuts(before, done, folder, count, random.Random(seed)):

        def verify(device: Path = device, told: set[int] = told) -> Outcome:
            with kit.open(device / "bundle") as rec:
                version, bad = rec.bundle.manifest.version, rec.health()["rolled_back"]
                assert len(rec.recommend(3)) == 3, "does not recommend"
                if version < 3:
                    rec.update(kit["3"])
            with kit.open(device / "bundle") as rec:
                assert rec.bundle.manifest.version == 3, "takes no update any more"
            older = version < max(told, default=1)
            note = f"version {version} after {max(told, default=1)}, thought bad: {bad}" if older or bad else ""
            return Outcome(lost=int(older or bool(bad)), note=note)

        yield attempt(verify)
