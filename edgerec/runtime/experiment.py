"""Two bundles on one device: each user has one of them (A/B), or both fill one list (interleaving); no server.

Who has which follows from a salted hash, so it is the same at every start, and another salt draws anew. Lists are
logged with what made them; `edgerec evaluate --events` compares the two.

Source of team drafting: Radlinski et al., CIKM 2008.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Final, Literal, Unpack

from edgerec.bundle.columns import Parameter
from edgerec.errors import ConfigError
from edgerec.runtime.arguments import Time
from edgerec.runtime.events import NO_KIND
from edgerec.runtime.logged_lists import LoggedList, new_name
from edgerec.runtime.model import RequestArguments
from edgerec.runtime.recommender import Recommender
from edgerec.runtime.results import Recommendation, Recommendations

__all__ = ["Experiment", "share_of", "team_draft"]

UNIT: Final = "unit"
"""Under which name a user's random number is stored."""


class ListArguments(RequestArguments, total=False):
    """What `Recommender.recommend` takes besides k."""

    where: str | None
    parameters: Mapping[str, Parameter] | None
    exclude: Collection[str]
    diversity: float | None
    explain: bool
    log: bool | None


class Experiment:
    """Recommends like a `Recommender`, by bundle a or b; both are opened on one store file, for one user.

    Args:
        salt: of this experiment; another one draws users anew.
        mode: "ab" or "interleave". The latter needs far fewer users, and tells which is better, but not by how much.
        share: of users who have b in "ab".
        unit: names the user, such as an account; None: a random number that the device keeps for each of its users.
    Raises:
        ConfigError: unknown mode, share outside [0, 1], or the two hold the same bundle.
    """

    def __init__(
        self,
        a: Recommender,
        b: Recommender,
        salt: str,
        mode: Literal["ab", "interleave"] = "ab",
        share: float = 0.5,
        unit: str | None = None,
    ) -> None:
        if mode not in ("ab", "interleave"):
            raise ConfigError(f"mode: expected ab or interleave, got {mode!r}")
        if not 0 <= share <= 1:
            raise ConfigError(f"share: expected 0 to 1, got {share}")
        if a.arrays.model.name == b.arrays.model.name:
            raise ConfigError(f"an experiment needs two bundles, got {a.arrays.model.name} twice")
        self.a, self.b, self.salt, self.mode, self.share = a, b, salt, mode, share
        self._unit = unit

    @property
    def arm(self) -> Literal["a", "b"]:
        """Which of the two this user has, in "ab"."""
        return "b" if share_of(self.salt, self._unit_name()) < self.share else "a"

    def recommend(self, k: int = 10, **request: Unpack[ListArguments]) -> Recommendations:
        """As `Recommender.recommend`; the list is always logged.

        Raises:
            ConfigError: see there.
        """
        asked: ListArguments = {**request, "log": self.mode == "ab"}
        if self.mode == "ab":
            return (self.b if self.arm == "b" else self.a).recommend(k, **asked)
        lists = [rec.recommend(k, **asked) for rec in (self.a, self.b)]
        rows = {row.item: row for recommended in lists for row in recommended[::-1]}
        random = Random(secrets.randbits(64))
        of_a, of_b = ([row.item for row in recommended] for recommended in lists)
        items, teams = team_draft(of_a, of_b, k, random)
        merged = [rows[item] for item in items]
        name = self._log(merged, teams, request)
        return Recommendations(merged, lists[0].why_fewer if len(merged) < k else {}, name)

    def observe(
        self,
        item: str,
        kind: str = NO_KIND,
        time: Time = None,
        context: Mapping[str, object] | None = None,
        *,
        event_id: str | None = None,
        list_name: str | None = None,
    ) -> bool:
        """As `Recommender.observe`; give `list_name`, so that the list has its answer."""
        return self.a.observe(item, kind, time, context, event_id=event_id, list_name=list_name)

    def _unit_name(self) -> str:
        if self._unit is None:
            memory = self.a._memory
            unit = memory.store.learned.get(UNIT, memory.profile)
            if unit is None:
                unit = secrets.token_hex(16).encode()
                memory.store.learned.put(UNIT, unit, memory.profile)
            self._unit = unit.decode()
        return self._unit

    def _log(self, rows: Sequence[Recommendation], teams: str, request: ListArguments) -> str | None:
        models, memory = (self.a.arrays.model, self.b.arrays.model), self.a._memory
        logged = LoggedList(
            name=new_name(),
            time_ms=models[0].now_ms(request.get("now")),
            bundle="|".join(model.name for model in models),
            items=tuple(row.item for row in rows),
            probability=(1.0,) * len(rows),
            utility=tuple(row.utility for row in rows),
            pool=len(rows),
            context={**(request.get("context") or {}), **(request.get("user") or {})},
            teams=teams,
        )
        return logged.name if memory.store.lists.append(logged, memory.profile) else None


def share_of(salt: str, unit: str) -> float:
    """A number in [0, 1) that is even over units, and independent between salts.

    >>> share_of("summer", "u1") == share_of("summer", "u1") != share_of("winter", "u1")
    True
    """
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    digest = hashlib.sha256(f"{len(salt)}:{salt}{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def team_draft(a: Sequence[str], b: Sequence[str], k: int, random: Random) -> tuple[list[str], str]:
    """The k items that two lists choose in turns, and a letter for each: who chose it.

    In each round a coin says who is first; each then takes its best item that is not taken. A side that has no item
    left passes.
    """
    rests = {"a": iter(a), "b": iter(b)}
    items: list[str] = []
    teams: list[str] = []
    taken: set[str] = set()
    while len(items) < k:
        before = len(items)
        for side in ("ab", "ba")[random.randrange(2)]:
            item = next((i for i in rests[side] if i not in taken), None)
            if item is not None and len(items) < k:
                items.append(item)
                teams.append(side)
                taken.add(item)
        if len(items) == before:
            break
    return items, "".join(teams)
