"""Four processes use one store and one bundle at once: events, lists, erasing, two updates."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgerec.errors import DataError
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, still_works, stored

PROCESSES = 4


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """For `count` seconds; each process is one outcome, and so is what they left."""
    shutil.copytree(kit["1"], folder / "bundle")
    children = []
    for number in range(PROCESSES):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            outcome = attempt(lambda number=number: _use(kit, folder, number, count), count)  # type: ignore[misc]
            outcome.seconds -= count  # what it took beyond its time
            os.write(write, json.dumps(vars(outcome)).encode())
            os._exit(0)
        os.close(write)
        children.append((child, read))
    for child, read in children:
        with os.fdopen(read) as told:
            said = json.loads(told.read())
        os.waitpid(child, 0)
        yield Outcome(**said)

    def verify() -> Outcome:
        still_works(kit, folder / "bundle", folder / "s.sqlite").close()
        told = {line for path in folder.glob("*.told") for line in path.read_text().split()}
        lost = missing(told, stored(folder / "s.sqlite", ""))
        return Outcome(lost=lost, note=f"{lost} of {len(told)} lost" if lost else "")

    yield attempt(verify)


def _use(kit: Kit, folder: Path, who: int, seconds: float) -> Outcome:
    end, number, slowest, longest = time.monotonic() + seconds, 0, 0.0, ""
    with kit.open(folder / "bundle", folder / "s.sqlite") as rec, (folder / f"{who}.told").open("w") as told:
        while time.monotonic() < end:
            start = time.monotonic()
            if rec.observe(kit.items[number % len(kit.items)], event_id=f"{who}-{number}"):
                told.write(f"{who}-{number}\n")
            assert len(rec.recommend(3, log=number % 20 == 0)) == 3, "does not recommend"
            took = time.monotonic() - start
            if number % 50 == 49:
                rec.profile(f"gone {who}").observe(kit.items[0])
                with suppress(DataError):  # another process is reading the old rows
                    rec.profile(f"gone {who}").forget()
            if who == 0 and number in (30, 90):
                rec.update(kit["2" if number == 30 else "3"])
            if took > slowest:
                slowest, longest = took, f"slowest call {took:.2f} s"
            number += 1
    # A call on a touch page that stands still for longer is a fault as well.
    return Outcome(crashed=int(slowest > 5), note=longest if slowest > 5 else "")
