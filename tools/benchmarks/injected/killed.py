"""Kills: a process is killed before, in the middle of or after a random call to the system, while it does all it can.

Each device is used by twenty processes, one after the other; after each kill the next one must find every event that
was acknowledged, once, and nothing that was erased, and recommend.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from edgerec.errors import EdgerecError
from tools.benchmarks.injected.library import Injector, Mode
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, still_works, stored

LIVES = 20
"""Processes that use a device."""
KILLS = (Mode.KILL_BEFORE, Mode.KILL_HALF, Mode.KILL_AFTER)


def use(kit: Kit, device: Path, life: int, tell: Callable[[str], object]) -> None:
    """A process's life: events, erased ones, lists, and in some lives an update; `tell` takes what was acknowledged."""
    with kit.open(device / "bundle", device / "s.sqlite") as rec:
        for number in range(6):
            for profile in ("", "gone"):
                name = f"{life}-{number}"
                user = rec.profile(profile)
                if user.observe(kit.items[number % len(kit.items)], event_id=name):
                    tell(f"{profile}+{name}")
            if number == 2:
                rec.profile("gone").forget()
                tell("forgotten")
            if number == 3:
                rec.recommend(3, log=True)
            if number == 4 and life % 4 == 1:
                with suppress(EdgerecError):  # an earlier life has taken it
                    rec.update(kit["delta"] if life % 8 == 1 else kit["3"])


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """So many kills."""
    choose, told, device, erased = random.Random(seed), set[str](), folder, set[str]()
    lengths: dict[int, int] = {}
    for number in range(count):
        life = number % LIVES
        if life == 0:
            device, told, erased = folder / str(number), set(), set()
            device.mkdir()
            shutil.copytree(kit["1"], device / "bundle")
        kind = life % 8
        if kind not in lengths:
            lengths[kind] = _calls(kit, folder / f"dry {kind}", life)
        told |= _killed(kit, device, life, choose.randint(1, lengths[kind]), choose.choice(KILLS))
        if "forgotten" in told:
            told.discard("forgotten")
            erased |= {f"{life}-{n}" for n in range(3)}
        wanted = {name[1:] for name in told if name[0] == "+"}

        def verify(device: Path = device, wanted: set[str] = wanted, erased: set[str] = erased) -> Outcome:
            still_works(kit, device / "bundle", device / "s.sqlite").close()
            lost = missing(wanted, stored(device / "s.sqlite", ""))
            back = erased.intersection(stored(device / "s.sqlite", "gone"))
            return Outcome(lost=lost + len(back), note=f"{lost} lost, {len(back)} not erased" if lost or back else "")

        yield attempt(verify)


def _killed(kit: Kit, device: Path, life: int, at: int, mode: Mode) -> set[str]:
    """What a process acknowledged before it was killed at a call."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            with Injector(device).at(at, mode):
                use(kit, device, life, lambda said: os.write(write, f"{said}\n".encode()))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        said = set(told.read().splitlines())
    os.waitpid(child, 0)
    return said


def _calls(kit: Kit, device: Path, life: int) -> int:
    """How many calls such a life makes."""
    device.mkdir()
    shutil.copytree(kit["1"], device / "bundle")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        injector = Injector(device)
        try:
            with injector.at(1 << 40, Mode.NONE):
                use(kit, device, life, len)
        finally:
            os.write(write, str(injector.calls).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        said = told.read()
    os.waitpid(child, 0)
    return max(int(said), 1)
