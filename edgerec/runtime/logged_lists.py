"""Lists that were shown to a user, with the probability of each choice, and the table of them on the device."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from sqlite3 import Connection
from typing import Any, Final, NamedTuple

from edgerec.runtime.database import Database
from edgerec.runtime.events import DEFAULT_PROFILE, plain

EVER: Final = -(2**62)
"""Before all times."""
_CONTENT: Final = ("bundle", "items", "probability", "utility", "pool", "context")
"""Keys of the stored content, in order."""


class LoggedList(NamedTuple):
    """A list that was logged.

    Attributes:
        name: what `Recommender.observe` calls it. bundle: "NAME VERSION" of the bundle that made it.
        items: ids, first to last. probability: of each having been chosen for its place, 1 where nothing was drawn.
        utility: of each. pool: how many candidates the drawn places were filled from.
        teams: of a list of two bundles, "a" or "b" for each place; empty else.
    """

    name: str
    time_ms: int
    bundle: str
    items: tuple[str, ...]
    probability: tuple[float, ...]
    utility: tuple[float, ...]
    pool: int
    context: Mapping[str, Any]
    teams: str = ""

    def to_json(self) -> str:
        """All but name and time."""
        content = {key: getattr(self, key) for key in _CONTENT} | ({"teams": self.teams} if self.teams else {})
        return json.dumps(content, separators=(",", ":"), default=plain)

    @classmethod
    def from_json(cls, name: str, time_ms: int, content: str) -> LoggedList:
        """The inverse of `to_json`."""
        v = json.loads(content)
        items, probability, utility = (tuple(v[key]) for key in ("items", "probability", "utility"))
        more = v["pool"], v["context"], v.get("teams", "")
        return cls(name, time_ms, v["bundle"], items, probability, utility, *more)


def new_name() -> str:
    """A name for a list: random, so that it reveals nothing."""
    return os.urandom(16).hex()


class ListTable:
    """The logged lists of all users of a device."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, logged: LoggedList, profile: str = DEFAULT_PROFILE) -> bool:
        """Log a list; False if it could not be written, which is counted in `EventStore.lost`."""

        def insert(db: Connection) -> None:
            added = db.execute(
                "INSERT INTO lists(name, profile, time_ms, content) VALUES (?, ?, ?, ?)",
                (logged.name, profile, logged.time_ms, logged.to_json()),
            )
            oldest = (added.lastrowid or 0) - self._database.bounds.rows
            db.execute("DELETE FROM lists WHERE id <= ?", (oldest,))

        try:
            self._database.write(insert)
        except self._database.error:
            self._database.count_loss()
            return False
        return True

    def read(self, profile: str = DEFAULT_PROFILE, since_ms: int = EVER, newest: int = -1) -> list[LoggedList]:
        """A user's lists, oldest first; `newest`: so many of them at most."""
        sql = "SELECT name, time_ms, content FROM lists WHERE profile = ? AND time_ms >= ? ORDER BY id DESC LIMIT ?"
        lists = []
        for row in reversed(self._database.rows(sql, profile, since_ms, newest)):
            with suppress(ValueError, KeyError, TypeError, RecursionError):  # a damaged row is left out
                lists.append(LoggedList.from_json(*row))
        return lists

    def how_often(self, since_ms: int, profile: str = DEFAULT_PROFILE) -> Counter[str]:
        """In how many lists since then each item was."""
        return Counter(item for logged in self.read(profile, since_ms) for item in logged.items)

    def count(self) -> int:
        """Rows of all users."""
        return int(self._database.rows("SELECT count(*) FROM lists")[0][0])
