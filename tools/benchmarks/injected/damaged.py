"""Damage: signed bundles and stores of events, plain and encrypted, with bits flipped, parts cut, exchanged or zero.

A bundle must be refused. A store must not keep a device from recommending, from erasing, or from storing anew; what was
acknowledged after the damage must be there after the next start. A file that holds something else altogether may be
somebody's: it is refused in one line and left as it is, since `forget` would erase what was set aside.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgerec.errors import BundleError, DataError
from tools.benchmarks.injected.trial import Kit, Outcome, attempt

KEY = bytes(range(32))
PAGE = 4096
FOREIGN = b"another program's"
"""Ends what `_other` writes, so that the trial knows it."""


def _flip(content: bytearray, choose: random.Random) -> None:
    for _ in range(choose.choice((1, 1, 8))):
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)


def _cut(content: bytearray, choose: random.Random) -> None:
    del content[choose.randrange(len(content)) :]


def _grow(content: bytearray, choose: random.Random) -> None:
    content += choose.randbytes(choose.randrange(1, 9999))


def _page(content: bytearray, choose: random.Random) -> None:
    """One page of another's bytes, or of none."""
    start = choose.randrange(len(content)) // PAGE * PAGE
    size = len(content[start : start + PAGE])
    content[start : start + PAGE] = choose.choice((bytes(size), choose.randbytes(size), b"\xff" * size))


def _other(content: bytearray, choose: random.Random) -> None:
    """Something else altogether: nothing, zeros, or a foreign file."""
    foreign = choose.choice((b"import os\n" * 99, choose.randbytes(len(content)))) + FOREIGN
    content[:] = choose.choice((b"", bytes(len(content)), foreign))


DAMAGE: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _flip, _cut, _grow, _page, _page, _other)


def damage(path: Path, choose: random.Random) -> bool:
    """Change a file; False if it is what it was."""
    before = path.read_bytes()
    content = bytearray(before)
    if content:
        choose.choice(DAMAGE)(content, choose)
    path.write_bytes(content)
    return bytes(content) != before


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """So many, of bundles and stores in turn."""
    choose = random.Random(seed)
    keys = [None, KEY] if find_spec("sqlcipher3") else [None]
    for number in range(count):
        device = folder / str(number)
        device.mkdir()
        if number % 2:
            yield _bundle(kit, device, choose)
        else:
            yield attempt(_store(kit, device, random.Random(choose.random()), keys[number // 2 % len(keys)]))
        shutil.rmtree(device)


def _bundle(kit: Kit, device: Path, choose: random.Random) -> Outcome:
    shutil.copytree(kit["1"], device / "bundle")
    while not damage(choose.choice(sorted((device / "bundle").iterdir())), choose):
        pass

    def trial() -> Outcome:
        try:
            with kit.open(device / "bundle"):
                return Outcome(accepted=1, note="a damaged bundle was opened")
        except BundleError as error:
            assert "\n" not in str(error), "more than one line"
            return Outcome()

    return attempt(trial)


def _store(kit: Kit, device: Path, choose: random.Random, key: bytes | None) -> Callable[[], Outcome]:
    how: dict[str, Any] = {} if key is None else {"store_key": key}
    path = device / "s.sqlite"

    def trial() -> Outcome:
        rec = kit.open(kit["1"], path, **how)
        for number in range(120):
            rec.profile(("anna", "bob")[number % 2]).observe(kit.items[number % len(kit.items)], event_id=f"a{number}")
        log = path.with_name("s.sqlite-wal").read_bytes()
        rec.close()
        if choose.random() < 0.3:  # as a process leaves it that was killed
            path.with_name("s.sqlite-wal").write_bytes(log)
        damage(choose.choice([p for p in device.iterdir() if not p.name.endswith("-shm")]), choose)
        foreign = path.read_bytes().endswith(FOREIGN)
        return _foreign(kit, path, how) if foreign else _after(kit, path, how)

    return trial


def _foreign(kit: Kit, path: Path, how: dict[str, Any]) -> Outcome:
    """`_other` wrote a foreign file: it is refused, unless a write-ahead log beside it holds the pages of a store."""
    before, log = path.read_bytes(), path.with_name(f"{path.name}-wal")
    logged = log.exists() and log.stat().st_size > 0
    try:
        kit.open(kit["1"], path, **how).close()
    except DataError as error:
        assert "\n" not in str(error), "more than one line"
        changed = path.read_bytes() != before
        return Outcome(lost=int(changed), note="another's file was changed" if changed else "")
    return _after(kit, path, how) if logged else Outcome(accepted=1, note="another's file was taken for a store")


def _after(kit: Kit, path: Path, how: dict[str, Any]) -> Outcome:
    """Start with a damaged store, use it, and start again."""
    told = set()
    with kit.open(kit["1"], path, **how) as rec:
        for number in range(5):
            if rec.profile("anna").observe(kit.items[number], event_id=f"c{number}"):
                told.add(number)
            assert len(rec.profile("anna").recommend(3)) == 3, "does not recommend"
        rec.profile("bob").forget()
        rec.health()
    with kit.open(kit["1"], path, **how) as rec:
        user, left = rec.profile("anna"), len(rec.profile("bob").arrays.history(None).items)
        before = rec.health()["events"]
        for number in told:  # an event that is still there is not stored again
            user.observe(kit.items[number], event_id=f"c{number}")
        lost = int(rec.health()["events"]) - int(before)  # type: ignore[call-overload]
        assert len(user.recommend(3)) == 3, "does not recommend"
    note = f"{lost} lost, {left} of whom was erased are left" if lost or left else ""
    return Outcome(lost=lost + int(left > 0), note=note)
