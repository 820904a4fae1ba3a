"""A disk that is full or fails: once or from then on, at a random call of a process; or from the start.

Whatever it says, the process goes on and recommends, raises nothing but errors of ours, and keeps what it acknowledged.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgerec.errors import EdgerecError
from tools.benchmarks.injected.killed import _calls
from tools.benchmarks.injected.library import Injector, Mode
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, still_works, stored


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """So many faults."""
    choose = random.Random(seed)
    calls = _calls(kit, folder / "dry", 1)
    for number in range(count):
        device = folder / str(number)
        device.mkdir()
        shutil.copytree(kit["1"], device / "bundle")
        at = choose.randint(1, calls) if number % 5 else 1
        mode, lasting = choose.choice((Mode.NO_SPACE, Mode.IO_ERROR)), number % 5 == 0 or choose.random() < 0.5
        where = device if mode == Mode.NO_SPACE else device / "s.sqlite"  # a bundle that cannot be read is none

        def trial(device: Path = device, at: int = at, mode: Mode = mode, lasting: bool = lasting,
                  where: Path = where) -> Outcome:  # fmt: skip
            told: set[str] = set()
            _fill(kit, device, told)
            with Injector(where).at(at, mode, lasting):
                _use(kit, device, told)
            still_works(kit, device / "bundle", device / "s.sqlite").close()
            lost = missing(told, stored(device / "s.sqlite", ""))
            return Outcome(lost=lost, note=f"{lost} lost by {mode.name}" if lost else "")

        yield attempt(trial)


def _fill(kit: Kit, device: Path, told: set[str]) -> None:
    """Some events before anything happens."""
    with kit.open(device / "bundle", device / "s.sqlite") as rec:
        told |= {f"b{n}" for n in range(5) if rec.observe(kit.items[n], event_id=f"b{n}")}


def _use(kit: Kit, device: Path, told: set[str]) -> None:
    """Use everything; only errors of ours are passed over, and none by what must always work."""
    with kit.open(device / "bundle", device / "s.sqlite") as rec:
        for number in range(6):
            if rec.observe(kit.items[number], event_id=f"d{number}"):
                told.add(f"d{number}")
            assert len(rec.recommend(3, log=number == 3)) == 3, "does not recommend"
            rec.health()
            if number == 2:
                with suppress(EdgerecError):
                    rec.profile("gone").forget()
            if number == 4:
                with suppress(EdgerecError):
                    rec.update(kit["2"])
