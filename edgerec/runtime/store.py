"""What the device remembers: events, logged lists, and what was learned from both, in one bounded SQLite file.

Every row belongs to a profile. Kinds and items are stored by name, so that the file outlives a bundle which numbers
them otherwise. The file never leaves the device, and nothing else about a user is written anywhere.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError
from edgerec.runtime.database import Database
from edgerec.runtime.events import DEFAULT_PROFILE, EventTable
from edgerec.runtime.logged_lists import ListTable


class LearnedTable:
    """Values by user and name: what was learned of a user, and what a user agreed to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, profile: str = DEFAULT_PROFILE) -> bytes | None:
        """The value under this name."""
        rows = self._database.rows("SELECT value FROM learned WHERE profile = ? AND name = ?", profile, name)
        return None if not rows else bytes(rows[0][0])

    def put(self, name: str, value: bytes | None, profile: str = DEFAULT_PROFILE) -> None:
        """Store a value; None removes it. One that cannot be written is learned again."""
        values: tuple[object, ...]
        if value is None:
            sql, values = "DELETE FROM learned WHERE profile = ? AND name = ?", (profile, name)
        else:
            sql, values = "INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", (profile, name, value)
        with suppress(self._database.error):
            self._database.write(lambda db: db.execute(sql, values))


class EventStore:
    """The file of a device, or memory. Thread-safe; several processes may share a file.

    Attributes:
        events, lists, learned: its tables.
    """

    def __init__(self, path: Path | None, bounds: Bounds | None = None, key: bytes | None = None) -> None:
        """Open or create the log.

        A file of ours that was damaged is set aside as ``NAME.damaged``, and one with what could be read of it takes
        its place. Where no file can be used (disk full or read-only), events are kept in memory and `trouble` says why.
        Args:
            key: 32 bytes that encrypt the file; needs SQLCipher (the extra `encrypt`).
        Raises:
            DataError: the file is something else, or is locked by another key.
            MissingExtraError: SQLCipher is not installed.
        """
        self._database = Database(path, bounds or Bounds(), key)
        self.events = EventTable(self._database)
        self.lists = ListTable(self._database)
        self.learned = LearnedTable(self._database)

    @property
    def lost(self) -> int:
        """Events and lists that the disk did not take."""
        return self._database.lost

    @property
    def trouble(self) -> str | None:
        """Why events are in memory only, against the caller's wish; None if they are not."""
        return self._database.trouble

    @property
    def damage(self) -> str | None:
        """What was wrong with the file that this process set aside; None if there was none."""
        return self._database.damage

    @property
    def version(self) -> tuple[int, int]:
        """Changes when anything was written, by this process or another."""
        return self._database.version

    @property
    def bounds(self) -> Bounds:
        """Of rows, bytes and age."""
        return self._database.bounds

    def bound(self, bounds: Bounds) -> None:
        """Take other bounds, which an update may bring; bytes are those of the file's opening."""
        self._database.bounds = bounds._replace(bytes=self.bounds.bytes)

    def profiles(self) -> list[str]:
        """Names of all users of whom something is stored."""
        sql = "SELECT profile FROM events UNION SELECT profile FROM lists UNION SELECT profile FROM learned ORDER BY 1"
        return [row[0] for row in self._database.rows(sql)]

    def forget(self, profile: str | None = None) -> None:
        """Erase all that is known of a profile, or of all, from the file, its write-ahead log, and what was set aside.

        Raises:
            DataError: the disk refused it, or another process is reading the old rows.
        """
        name = self._database.name

        def delete(db: Connection) -> None:
            for table in ("events", "lists", "learned"):
                if profile is None:
                    db.execute(f"DELETE FROM {table}")
                else:  # row by row ("+"): an index that lacks a row, by damage, would leave it
                    db.execute(f"DELETE FROM {table} WHERE +profile = ?", (profile,))

        self.events.drop_waiting(profile)
        try:
            erased = self._database.erase(delete)
        except (self._database.error, OSError) as error:
            raise DataError(f"{name}: the events could not be erased ({error})") from error
        if self.trouble is not None and self._database.path is not None:
            raise DataError(f"{name}: erased from memory, but the file cannot be written ({self.trouble})")
        if not erased:
            raise DataError(f"{name}: erased, but another process still reads the old rows; forget again later")

    def size(self) -> dict[str, int]:
        """Rows of events and lists, bytes on disk, writes lost to a full disk, files set aside as damaged, events that
        wait for another process. Rows are 0 where the file cannot be read.
        """
        counts = dict.fromkeys(("events", "lists", "damaged"), 0)
        with suppress(DataError):
            counts["events"], counts["lists"] = self.events.count(), self.lists.count()
            counts["damaged"] = self._database.fact("damaged")
        return {**counts, "bytes": self._database.size_bytes(), "lost": self.lost, "waiting": self.events.waiting}

    def close(self) -> None:
        """Close the file; its events stay."""
        if self.events.waiting:
            self.events.flush()
        self._database.close()
