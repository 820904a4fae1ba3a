"""The user's events on the device: a bounded SQLite log that survives a crash."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgerec.errors import DataError

MAX_EVENTS = 10_000
"""Rows that are kept; the oldest go first. A history of 256 distinct items rarely reaches further back."""
NO_KIND = "event"
"""The kind of an event for which no binary task was positive."""


@dataclass(frozen=True)
class Events:
    """Past events of one user, in any order; the three have equal length E.

    Attributes:
        item: ids, or int64 (E,) item indices; items that the bundle does not know are ignored.
        kind: int64 (E,), bit i set: binary task i was positive.
        time_ms: int64 (E,), milliseconds since 1970 UTC.
    """

    item: Sequence[str] | npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]


def kind_mask(kind: str, kinds: Sequence[str]) -> int:
    """The bitmask of a kind such as "event", "click" or "click+like".

    Raises:
        DataError: a part is no kind of this bundle.

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


class EventStore:
    """The log in one SQLite file, or in memory. One process at a time; not thread-safe, its owner serialises.

    Kinds are stored by name, so that the log outlives a bundle whose tasks are numbered otherwise.
    """

    def __init__(self, path: Path | None, max_events: int = MAX_EVENTS) -> None:
        """Open or create the log.

        Raises:
            DataError: the file is something else or cannot be opened.
        """
        self._name = str(path or "memory")
        self._max_events = max_events
        try:
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a power cut
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS events(id INTEGER PRIMARY KEY, item TEXT NOT NULL, kind TEXT NOT NULL, "
                "time_ms INTEGER NOT NULL, context TEXT)"
            )
            self._db.execute("SELECT id, item, kind, time_ms, context FROM events LIMIT 1")
        except sqlite3.Error as error:
            raise DataError(f"{self._name}: cannot be used as an event log ({error}); name another file") from error

    def append(self, item: str, kind: str, time_ms: int, context: Mapping[str, object]) -> None:
        """Write one event; it is on the disk when this returns.

        Raises:
            DataError: it could not be written (disk full, locked, read-only).
        """
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                added = self._db.execute(
                    "INSERT INTO events(item, kind, time_ms, context) VALUES (?, ?, ?, ?)",
                    (item, kind, time_ms, json.dumps(context) if context else None),
                )
                # Ids grow by one, so this is the row bound without counting.
                self._db.execute("DELETE FROM events WHERE id <= ?", ((added.lastrowid or 0) - self._max_events,))
        except (sqlite3.Error, OverflowError) as error:
            raise DataError(f"{self._name}: the event was not stored ({error})") from error

    def events(self, kinds: Sequence[str]) -> Events:
        """All events, oldest first; a kind's parts that `kinds` does not know (an older bundle's) are left out."""
        rows = self._db.execute("SELECT item, kind, time_ms FROM events ORDER BY id").fetchall()
        known = set(kinds)
        masks = {k: kind_mask("+".join(known.intersection(k.split("+"))) or NO_KIND, kinds) for _, k, _ in rows}
        return Events(
            item=[item for item, _, _ in rows],
            kind=np.array([masks[kind] for _, kind, _ in rows], np.int64),
            time_ms=np.array([time_ms for _, _, time_ms in rows], np.int64),
        )

    def forget(self) -> None:
        """Erase all events, from the file and from its write-ahead log.

        Raises:
            DataError: the disk refused it.
        """
        try:
            self._db.execute("DELETE FROM events")
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise DataError(f"{self._name}: the events could not be erased ({error})") from error

    def close(self) -> None:
        """Close the file; its events stay."""
        self._db.close()
