"""What may leave the device, for evaluation: only data of users who agreed, with noise that is added on the device.

Noise is randomised response (Warner, JASA 1965; with many values: Kairouz et al., ICML 2016): each item is kept with
probability ``e^epsilon / (e^epsilon + n - 1)`` and is else one of the catalogue's other n - 1 items, evenly; each
kind is flipped with probability ``1 / (e^epsilon + 1)``. So one event's item, and each of its kinds, is
epsilon-locally differentially private. Times are cut to the day, users are numbered anew in every export, and the
context is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from edgerec.bundle import Catalog
from edgerec.files import write_whole
from edgerec.runtime.events import Events, kind_name
from edgerec.runtime.store import EventStore
from edgerec.tasks.units import MS_PER_DAY

CONSENT: Final = "consent"
"""Under which name a user's agreement is stored."""


def consent(store: EventStore, profile: str, given: bool) -> None:
    """Remember that a user agrees, or no longer does."""
    store.learned.put(CONSENT, b"1" if given else None, profile)


def agreed(store: EventStore) -> list[str]:
    """Profiles of the users who do."""
    return [profile for profile in store.profiles() if store.learned.get(CONSENT, profile)]


def exported(
    store: EventStore, catalog: Catalog, kinds: Sequence[str], epsilon: float | None, random: Random
) -> Iterator[dict[str, object]]:
    """Rows ``user, item, kind, time_ms`` of the events of all users who agreed.

    Args:
        epsilon: of the noise; None: without noise. With noise, events of items that the catalogue does not hold are
            left out, since randomised response never gives them.
    """
    n = len(catalog)
    for number, profile in enumerate(_shuffled(agreed(store), random), 1):
        events = store.events.read(kinds, profile)
        for item, kind, time_ms in zip(events.item, events.kind, events.time_ms, strict=True):
            index = catalog.index_of(str(item))
            if epsilon is not None:
                if index is None:
                    continue
                item = catalog.named(other_item(index, n, epsilon, random))[0]
                kind = other_kinds(kind, len(kinds), epsilon, random)
                time_ms -= time_ms % MS_PER_DAY
            yield {"user": number, "item": item, "kind": kind_name(kind, kinds), "time_ms": time_ms}


def other_item(index: int, n: int, epsilon: float, random: Random) -> int:
    """An item of n by randomised response."""
    if random.random() < math.exp(epsilon) / (math.exp(epsilon) + n - 1):
        return index
    other = random.randrange(n - 1)
    return other + (other >= index)


def other_kinds(kind: int, n: int, epsilon: float, random: Random) -> int:
    """A bitmask of n kinds by randomised response."""
    flipped = 1 / (math.exp(epsilon) + 1)
    return kind ^ sum(1 << i for i in range(n) if random.random() < flipped)


def _shuffled(profiles: Sequence[str], random: Random) -> list[str]:
    return random.sample(profiles, len(profiles))


def exported_lists(
    store: EventStore, kinds: Sequence[str], random: Random, with_past: bool = False
) -> Iterator[dict[str, object]]:
    """One row for each place of a logged list of users who agreed: for off-policy evaluation and experiments.

    Columns: user, list, time_ms, bundle, rank (from 1), item, probability (of being chosen for its place), utility,
    pool (how many candidates there were), team ("a" or "b" in a list of two bundles, else None) and kind (what was done
    with it; None: nothing). `with_past` adds, to the first place of a list, what another bundle needs to make its own:
    context, and past, the user's events before it as [item, kind, time_ms].
    """
    number = 0
    for user, profile in enumerate(_shuffled(agreed(store), random), 1):
        events = store.events.read(kinds, profile) if with_past else None
        for logged in store.lists.read(profile):
            number += 1
            answers = store.events.answers(logged.name, profile)
            for rank, (item, p, u) in enumerate(zip(logged.items, logged.probability, logged.utility, strict=True), 1):
                row: dict[str, object] = {
                    "user": user, "list": number, "time_ms": logged.time_ms, "bundle": logged.bundle, "rank": rank,
                    "item": item, "probability": p, "utility": u, "pool": logged.pool,
                    "team": logged.teams[rank - 1] if logged.teams else None, "kind": answers.get(item),
                }  # fmt: skip
                if events is not None:
                    first = rank == 1
                    row["context"] = dict(logged.context) if first else None
                    row["past"] = _before(events, logged.time_ms, kinds) if first else None
                yield row


def _before(events: Events, time_ms: int, kinds: Sequence[str]) -> list[list[object]]:
    rows = zip(events.item, events.kind, events.time_ms, strict=True)
    return [[str(item), kind_name(kind, kinds), at] for item, kind, at in rows if at < time_ms]


class StoredProfile(NamedTuple):
    """What a store holds of one user: numbers of events and lists, and whether the user agreed to an export."""

    profile: str
    events: int
    lists: int
    agreed: bool


def stored_profiles(store: EventStore) -> list[StoredProfile]:
    """All users of a store."""
    consenting = set(agreed(store))
    return [
        StoredProfile(
            profile,
            len(store.events.read((), profile).item),
            len(store.lists.read(profile)),
            profile in consenting,
        )
        for profile in store.profiles()
    ]


def write_rows(rows: Iterable[Mapping[str, object]], out: Path) -> int:
    """Write exported rows as JSON lines, which only their owner may read; returns how many."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_whole(out, "".join(lines), mode=0o600)
    return len(lines)
