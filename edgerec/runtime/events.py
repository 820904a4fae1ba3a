"""What a user did: events, their kinds, and the table of them on the device."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from sqlite3 import Connection
from typing import Final, NamedTuple

from edgerec.errors import DataError
from edgerec.runtime.database import Database
from edgerec.tasks.buffers import AnyArray, ints
from edgerec.tasks.units import MS_PER_DAY

NO_KIND: Final = "event"
"""The kind of an event for which no binary task was positive."""
DEFAULT_PROFILE: Final = ""
MAX_WAITING: Final = 1000
"""Events that wait in memory while another process holds the file."""
RUNS_ON_MS: Final = MS_PER_DAY
"""A clock is believed about a time once it has run on from there for so long,"""
PAUSE_MS: Final = 32 * MS_PER_DAY
"""in steps that are not longer than this: a jump starts anew."""


class Events(NamedTuple):
    """Past events of one user, in any order; the three have equal length E.

    Attributes:
        item: ids, or an array of item indices; items that the bundle does not know are ignored.
        kind: bit i set: binary task i was positive.
        time_ms: milliseconds since 1970 UTC.
    """

    item: Sequence[str] | AnyArray
    kind: Sequence[int] | AnyArray
    time_ms: Sequence[int] | AnyArray


class Clock(NamedTuple):
    """What is known of the time: the device's clock, which may be wrong, and when the bundle was built, in ms."""

    now_ms: int
    built_ms: int = 0


NO_EVENTS: Final = Events(ints(), ints(), ints())


def kind_mask(kind: str, kinds: Sequence[str]) -> int:
    """The bitmask of a kind such as "event", "click" or "click+like".

    Raises:
        DataError: a part is not a kind of this bundle.

    >>> kind_mask("click+like", ["click", "long_view", "like"])
    5
    """
    if kind == NO_KIND:
        return 0
    mask = 0
    for part in kind.split("+"):
        if part not in kinds:
            known = ", ".join([NO_KIND, *kinds])
            raise DataError(f"unknown kind {part!r}; this bundle knows: {known} (several as a+b)")
        mask |= 1 << kinds.index(part)
    return mask


def kind_name(mask: int, kinds: Sequence[str]) -> str:
    """The inverse of `kind_mask`."""
    return "+".join(name for i, name in enumerate(kinds) if mask >> i & 1) or NO_KIND


class _Row(NamedTuple):
    """An event as it is stored."""

    profile: str
    item: str
    kind: str
    time_ms: int
    content: str | None
    event_id: str | None
    list_name: str | None
    by_clock: bool


class EventTable:
    """The events of all users of a device, by item id and kind name: the file outlives a bundle."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Row] = []

    def append(
        self,
        item: str,
        kind: str,
        time_ms: int,
        context: Mapping[str, object],
        *,
        profile: str = DEFAULT_PROFILE,
        event_id: str | None = None,
        list_name: str | None = None,
        by_clock: bool = False,
        clock: Clock | None = None,
    ) -> bool:
        """Write one event; it is on the disk when this returns.

        Args:
            clock: by which the age of other events is judged; None: none is too old.
            event_id: an event of this profile with the same id is not written again.
            by_clock: the time is the device's clock. Earlier events with a later time of that clock were stamped while
                it ran ahead; they get this event's time.
        Returns:
            Whether the event is new.
        Raises:
            DataError: it could not be written (disk full, read-only), which is counted in `EventStore.lost`; or another
                process holds the file, and the event waits in memory for the next one, counted in `waiting`.
        """
        database = self._database
        content = json.dumps(context, default=plain) if context else None
        row = _Row(profile, item, kind, time_ms, content, event_id, list_name, by_clock)
        with database.lock:
            try:
                added = database.write(lambda db: [self._insert(db, one, clock) for one in (*self._waiting, row)])
            except (database.error, OverflowError, OSError) as error:
                if database.is_busy(error) and len(self._waiting) < MAX_WAITING:
                    self._waiting.append(row)
                    raise DataError(f"{database.name}: is in use; the event waits in memory ({error})") from error
                database.count_loss()
                raise DataError(f"{database.name}: the event was not stored ({error})") from error
            self._waiting = []
            if database.trouble is not None and database.path is not None:
                database.count_loss()
                raise DataError(f"{database.name}: {database.trouble}")
            return added[-1]

    @property
    def waiting(self) -> int:
        """Events that another process's lock has kept from the disk."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write what waits, or count it as lost: nothing comes after this."""
        with self._database.lock:
            try:
                self._database.write(lambda db: [self._insert(db, row, None) for row in self._waiting])
            except self._database.error:
                for _ in self._waiting:
                    self._database.count_loss()
            self._waiting = []

    def drop_waiting(self, profile: str | None) -> None:
        """Forget what waits of a profile, or of all."""
        self._waiting = [row for row in self._waiting if profile is not None and row.profile != profile]

    def _insert(self, db: Connection, row: _Row, clock: Clock | None) -> bool:
        added = db.execute(
            "INSERT INTO events(profile, item, kind, time_ms, context, event_id, list, by_clock) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            row,
        )
        if added.rowcount == 0:
            return False
        number = added.lastrowid or 0
        if row.by_clock:
            _set_back(db, number, row.time_ms, row.profile)
        self._drop_old(db, number, clock)
        return True

    def read(self, kinds: Sequence[str], profile: str = DEFAULT_PROFILE) -> Events:
        """All events of a user, oldest first; parts of a kind that `kinds` lacks (an older bundle's) are left out."""
        rows = self._database.rows("SELECT item, kind, time_ms FROM events WHERE profile = ? ORDER BY id", profile)
        rows += [(row.item, row.kind, row.time_ms) for row in self._waiting if row.profile == profile]
        known = set(kinds)
        masks = {k: kind_mask("+".join(known.intersection(k.split("+"))) or NO_KIND, kinds) for _, k, _ in rows}
        return Events(
            item=[item for item, _, _ in rows],
            kind=ints([masks[kind] for _, kind, _ in rows]),
            time_ms=ints([time_ms for _, _, time_ms in rows]),
        )

    def answers(self, list_name: str, profile: str = DEFAULT_PROFILE) -> dict[str, str]:
        """What was done with a list: the kind by item, those of several events joined with "+"."""
        kinds: dict[str, str] = {}
        sql = "SELECT item, kind FROM events WHERE profile = ? AND list = ? ORDER BY id"
        for item, kind in self._database.rows(sql, profile, list_name):
            kinds[item] = f"{kinds[item]}+{kind}" if item in kinds else kind
        return kinds

    def count(self) -> int:
        """Rows of all users."""
        return int(self._database.rows("SELECT count(*) FROM events")[0][0])

    def _drop_old(self, db: Connection, number: int, clock: Clock | None) -> None:
        bounds = self._database.bounds
        # Ids grow by one, so this is the row bound without counting.
        db.execute("DELETE FROM events WHERE id <= ?", (number - bounds.rows,))
        believed_ms = None if clock is None or bounds.days is None else _newly_believed(db, clock)
        if believed_ms is not None and bounds.days is not None:
            oldest = believed_ms - int(bounds.days * MS_PER_DAY)
            db.execute("DELETE FROM events WHERE time_ms < ?", (oldest,))
            db.execute("DELETE FROM lists WHERE time_ms < ?", (oldest,))


def _newly_believed(db: Connection, clock: Clock) -> int | None:
    """A time that has certainly passed; None where it is the one that was known before.

    No event is asked, since one from the future would make all others old, and the clock only about times from which it
    has run on: one that is set to a wrong year is soon set back.
    """
    facts: dict[str, int] = dict(
        db.execute("SELECT name, value FROM facts WHERE name IN ('clock', 'believed')").fetchall()
    )
    last, before = facts.get("clock"), facts.get("believed", 0)
    believed = max(before, clock.built_ms)
    ran_ms = -1 if last is None else clock.now_ms - last
    if last is not None and RUNS_ON_MS <= ran_ms <= PAUSE_MS:
        believed = max(believed, last)
    if not 0 <= ran_ms < RUNS_ON_MS:
        db.execute("INSERT OR REPLACE INTO facts VALUES ('clock', ?)", (clock.now_ms,))
    if believed == before:
        return None
    db.execute("INSERT OR REPLACE INTO facts VALUES ('believed', ?)", (believed,))
    return believed


def _set_back(db: Connection, number: int, time_ms: int, profile: str) -> None:
    """Set events back that were stamped while the clock ran ahead.

    The earlier events are in order after every call, so the last of them tells whether there are any.
    """
    last = db.execute(
        "SELECT time_ms FROM events WHERE profile = ? AND id < ? AND by_clock = 1 ORDER BY id DESC LIMIT 1",
        (profile, number),
    ).fetchone()
    if last is not None and last[0] > time_ms:
        db.execute(
            "UPDATE events SET time_ms = ? WHERE profile = ? AND by_clock = 1 AND time_ms > ?",
            (time_ms, profile, time_ms),
        )


def plain(value: object) -> object:
    """For JSON: numpy's numbers as numbers, anything else that JSON does not know as a string."""
    return float(value) if isinstance(value, Real) else str(value)
