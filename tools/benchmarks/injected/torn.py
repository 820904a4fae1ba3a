"""Power cuts: what a process wrote is replayed to every prefix, and with what was not yet flushed lost or torn.

Of the steps since a file was last flushed, a disk may have taken any, in any order, and a write in parts of 512 bytes.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.benchmarks.injected.library import Injector
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, still_works, stored

SECTOR: Final = 512


class Step(NamedTuple):
    """One step: "W" wrote `content` at `place`, "T" cut the file to `place`, "S" flushed it, "C" made it, "U" removed
    it, "A" acknowledged event `place`."""

    op: str
    path: str
    place: int
    content: bytes


def steps(record: bytes) -> list[Step]:
    """Read what the library wrote down; SQLite's shared memory is none of the disk's."""
    found, at = [], 0
    while at < len(record):
        op, name, place, size = struct.unpack_from("<cIqQ", record, at)
        at += 21
        path, content = record[at : at + name].decode(), record[at + name : at + name + size]
        at += name + size
        if not path.endswith("-shm"):
            found.append(Step(op.decode(), path, place, content))
    return found


def surviving(done: Sequence[Step], choose: random.Random) -> list[Step]:
    """The steps that a power cut leaves, in the order in which the disk took them."""
    flushed = {step.path: number for number, step in enumerate(done) if step.op == "S"}
    kept: list[Step] = []
    loose: list[Step] = []
    for number, step in enumerate(done):
        if step.op not in "WT" or number < flushed.get(step.path, -1):
            kept.append(step)
        elif choose.random() < 0.5:
            loose.append(_torn(step, choose) if choose.random() < 0.3 else step)
    choose.shuffle(loose)
    return kept + loose


def _torn(step: Step, choose: random.Random) -> Step:
    """A part of a write, in whole sectors of the file."""
    if step.op != "W" or len(step.content) < 2:
        return step
    end = (step.place + choose.randrange(len(step.content))) // SECTOR * SECTOR
    return step._replace(content=step.content[: max(end - step.place, 0)])


def replay(survived: Sequence[Step], home: str, folder: Path) -> None:
    """Make the files of `home` anew in `folder`."""
    for step in survived:
        path = folder / os.path.relpath(step.path or home, home)
        if step.op == "C":
            path.touch()
        elif step.op == "U":
            path.unlink(missing_ok=True)
        elif step.op in "WT" and path.exists():
            with path.open("r+b") as file:
                if step.op == "T":
                    file.truncate(step.place)
                else:
                    file.seek(step.place)
                    file.write(step.content)


def record(kit: Kit, home: Path) -> list[Step]:
    """Of a process that stores events in a log that is so small that it is emptied into the file again and again."""
    home.mkdir()
    descriptor = os.open(home.with_suffix(".record"), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    child = os.fork()
    if child == 0:
        injector = Injector(home)
        injector.record(descriptor)
        try:
            with kit.open(kit["small"], home / "s.sqlite") as rec:
                for number in range(40):
                    if rec.observe(kit.items[number % len(kit.items)], event_id=str(number)):
                        injector.acknowledge(number)
                    if number % 10 == 9:
                        rec.recommend(3, log=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(descriptor)
    return steps(home.with_suffix(".record").read_bytes())


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Every prefix as it was written, then so many with loose ends, at least."""
    choose, home = random.Random(seed), folder / "home"
    whole = record(kit, home)
    assert any(step.op == "A" for step in whole), "nothing was recorded: is the library preloaded?"
    prefixes = list(range(1, len(whole) + 1))
    ends = [(end, False) for end in prefixes] if count >= len(prefixes) else []
    ends += [(choose.choice(prefixes), True) for _ in range(max(count - len(ends), 0))]
    for number, (end, loose) in enumerate(ends):
        done = whole[:end]
        device = folder / str(number)
        device.mkdir()
        replay(surviving(done, choose) if loose else done, str(home), device)
        wanted = {str(step.place) for step in done if step.op == "A"}

        def verify(device: Path = device, wanted: set[str] = wanted) -> Outcome:
            with still_works(kit, kit["small"], device / "s.sqlite") as rec:
                health = rec.health()
            lost = missing(wanted, stored(device / "s.sqlite", ""))
            note = f"{lost} lost; set aside: {health['damaged']}" if lost or health["damaged"] else ""
            return Outcome(lost=lost or int(bool(health["damaged"])), note=note)

        yield attempt(verify)
