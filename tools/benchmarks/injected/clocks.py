"""Clocks and times that are wrong by years: nothing that was stored may be deleted for it.

The policy keeps events for 400 days. One user has events of today; then the device's clock runs years ahead or behind,
or an app gives times that cannot be, for as many events as make the store look for old ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgerec.errors import EdgerecError
from tools.benchmarks.injected.library import Injector
from tools.benchmarks.injected.trial import Kit, Outcome, attempt, missing, stored

DAY_S = 86_400
YEAR_S = 365 * DAY_S
CLAIMS = ("clock", "ahead", "behind", "seconds", "the last year of all")


def run(kit: Kit, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """So many."""
    choose = random.Random(seed)
    for number in range(count):
        claim, years = CLAIMS[number % len(CLAIMS)], choose.uniform(1, 30) * choose.choice((-1, 1))
        path = folder / f"{number}.sqlite"

        def trial(path: Path = path, claim: str = claim, years: float = years) -> Outcome:
            return _wrong(kit, path, claim, years)

        yield attempt(trial)


def _wrong(kit: Kit, path: Path, claim: str, years: float) -> Outcome:
    now = time.time()
    claimed = {"ahead": (now + abs(years) * YEAR_S) * 1000, "behind": -abs(years) * YEAR_S * 1000, "seconds": now,
               "the last year of all": 253_402_300_799_000}.get(claim)  # fmt: skip
    accepted = 0
    injector = Injector(path)
    with kit.open(kit["old"], path) as rec:
        told = {f"a{n}" for n in range(20) if rec.profile("anna").observe(kit.items[n % 9], event_id=f"a{n}")}
        if claimed is None:
            injector.clock(years * YEAR_S)
        for number in range(140):
            with suppress(EdgerecError):
                at = None if claimed is None else int(claimed)
                stored_it = rec.profile("bob").observe(kit.items[number % 9], time=at)
                accepted += claimed is not None and stored_it
        assert len(rec.recommend(3)) == 3, "does not recommend"
    with kit.open(kit["old"], path) as rec:  # the device starts again with the wrong clock
        assert len(rec.recommend(3)) == 3, "does not recommend"
        with suppress(EdgerecError):
            rec.profile("bob").observe(kit.items[0])
    injector.clock(0)
    with kit.open(kit["old"], path) as rec:
        told |= {"z"} if rec.profile("anna").observe(kit.items[0], event_id="z") else set()
        assert len(rec.profile("anna").recommend(3)) == 3, "does not recommend"
    lost = missing(told, stored(path, "anna"))
    said = [f"{lost} lost"] * bool(lost) + ["an impossible time was taken"] * bool(accepted)
    note = f"{claim}: {', '.join(said)}" if said else ""
    return Outcome(lost=lost, accepted=int(accepted > 0), note=note)
