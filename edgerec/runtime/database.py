"""The SQLite file of a device: its schema, its transactions and bounds, and what happens when it is damaged or full."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Final

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError, need

APPLICATION: Final = 0x65646763
"""SQLite's mark of our files ("edgc"): another program's database is never touched."""
SCHEMA: Final = 2
PAGE: Final = 4096
_DAMAGED = ("malformed", "not a database", "disk image", "corrupt")
"""Words of SQLite's errors about a file that was changed."""

_TABLES = """
CREATE TABLE IF NOT EXISTS events(
    id INTEGER PRIMARY KEY, profile TEXT NOT NULL DEFAULT '', item TEXT NOT NULL, kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL, context TEXT, event_id TEXT, list TEXT, by_clock INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_of ON events(profile, id);
CREATE UNIQUE INDEX IF NOT EXISTS events_once ON events(profile, event_id) WHERE event_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS lists(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, profile TEXT NOT NULL, time_ms INTEGER NOT NULL,
    content TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS lists_of ON lists(profile, id);
CREATE TABLE IF NOT EXISTS learned(profile TEXT NOT NULL, name TEXT NOT NULL, value BLOB, PRIMARY KEY(profile, name));
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_COUNT = "INSERT INTO facts VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + ?"
_ADDED = ("profile TEXT NOT NULL DEFAULT ''", "event_id TEXT", "list TEXT", "by_clock INTEGER NOT NULL DEFAULT 0")
"""Columns of `events` that the first schema did not have."""


class Database:
    """One file, or memory, with the tables of `EventStore`. Thread-safe; several processes may share a file.

    Attributes:
        name: of the file, for messages. bounds: of rows, bytes and age.
        lost: writes that the disk did not take.
        error: SQLite's exception, by whichever library the file is read.
    """

    def __init__(self, path: Path | None, bounds: Bounds, key: bytes | None) -> None:
        """See `EventStore`."""
        self.path, self.bounds, self.name = path, bounds, str(path or "memory")
        self._sql: ModuleType = sqlite3 if key is None else need("sqlcipher3.dbapi2", "encrypt", "an encrypted log")
        self.error: type[Exception] = self._sql.Error
        self._lock = RLock()
        self._writes = 0
        self._unnoted = 0  # losses that the disk did not take either; the next write notes them
        self.lost = 0
        try:
            self.connection = self._open(key)
        except (self.error, UnicodeDecodeError) as error:
            # In a changed file, a table's name may not be UTF-8.
            damaged = isinstance(error, UnicodeDecodeError) or any(word in str(error) for word in _DAMAGED)
            if path is None or key is not None or not _is_ours(path) or not damaged:
                raise DataError(f"{self.name}: cannot be used as an event log ({error}); name another file") from error
            _set_aside(path)
            self.connection = self._open(key)
            with self.writing() as db:
                db.execute(_COUNT, ("damaged", 1, 1))
        self.lost = self.fact("lost")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Where the file has reached its bytes, its oldest tenth makes room, once."""
        with self._lock:
            self._writes += 1
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                if self._nearly_full():
                    self._make_room()
                yield self.connection
                if self._unnoted:
                    self.connection.execute(_COUNT, ("lost", self._unnoted, self._unnoted))
                self.connection.execute("COMMIT")
                self._unnoted = 0
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[Any]:
        """All rows of a query.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            with self._lock:
                return self.connection.execute(sql, values).fetchall()
        except (self.error, UnicodeDecodeError) as error:
            raise DataError(f"{self.name}: cannot be read ({error})") from error

    def fact(self, name: str) -> int:
        """A count that outlives a restart; 0 if it was never written."""
        rows = self.rows("SELECT value FROM facts WHERE name = ?", name)
        return int(rows[0][0]) if rows else 0

    def count_loss(self) -> None:
        """Count a write that the disk did not take, on the disk if it takes that."""
        self.lost += 1
        self._unnoted += 1
        with suppress(self.error), self.writing():
            pass

    def flush(self) -> bool:
        """Empty the write-ahead log into the file; False if another process still reads older rows."""
        with self._lock:
            return not self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    @property
    def version(self) -> tuple[int, int]:
        """Changes when anything was written, by this process or another."""
        with self._lock:
            return self._writes, self.rows("PRAGMA data_version")[0][0]

    def size_bytes(self) -> int:
        """On disk, with the write-ahead log."""
        if self.path is None:
            return 0
        files = [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm")]
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the file; its rows stay."""
        with self._lock:
            self.connection.close()

    # --- opening ---

    def _open(self, key: bytes | None) -> sqlite3.Connection:
        connect = self._sql.connect
        db: sqlite3.Connection = connect(
            self.path or ":memory:", check_same_thread=False, isolation_level=None, timeout=10
        )
        try:
            if key is not None:
                if len(key) != 32:
                    raise DataError(f"{self.name}: a key has 32 bytes, got {len(key)}")
                db.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            tables = self._refuse_others(db)
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a power cut
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            self._prepare(db, tables)
            pages = max(self.bounds.bytes // PAGE, 64)
            # The write-ahead log takes an eighth of the bytes, the database the rest.
            db.execute(f"PRAGMA wal_autocheckpoint = {max(pages // 16, 8)}")
            db.execute(f"PRAGMA journal_size_limit = {pages * PAGE // 8}")
            db.execute(f"PRAGMA max_page_count = {pages - pages // 8}")
        except BaseException:
            db.close()
            raise
        return db

    def _refuse_others(self, db: sqlite3.Connection) -> set[str]:
        """Names of the tables of a file that is ours, or new."""
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        if (tables and mark not in (0, APPLICATION)) or (tables and "events" not in tables):
            raise DataError(f"{self.name}: is a database of another program; name another file")
        if any(kind != "table" and kind != "index" for (kind,) in db.execute("SELECT type FROM sqlite_master")):
            raise DataError(f"{self.name}: has views or triggers, which an event log never has; name another file")
        return tables

    def _prepare(self, db: sqlite3.Connection, tables: set[str]) -> None:
        """Create the tables, or take over those of the first schema."""
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA and "lists" in tables:
            for table in ("events", "lists", "learned", "facts"):
                db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
            return
        db.execute("BEGIN IMMEDIATE")
        if "events" in tables:
            known = {row[1] for row in db.execute("PRAGMA table_info(events)")}
            if not {"id", "item", "kind", "time_ms", "context"} <= known:
                raise DataError(f"{self.name}: its events table is of another program; name another file")
            for column in _ADDED:
                if column.split()[0] not in known:
                    db.execute(f"ALTER TABLE events ADD COLUMN {column}")
        for statement in filter(str.strip, _TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file itself bears our mark

    # --- a full file ---

    def _nearly_full(self) -> bool:
        most, used, unused = (
            self.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("max_page_count", "page_count", "freelist_count")
        )
        return bool(used - unused > 0.9 * most)

    def _make_room(self) -> None:
        for table in ("events", "lists"):
            low, high = self.connection.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
            if low is not None:
                self.connection.execute(f"DELETE FROM {table} WHERE id < ?", (low + (high - low) // 10,))


def _is_ours(path: Path) -> bool:
    """Whether a file, damaged or not, bears our mark."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(72)
    return head[:15] == b"SQLite format 3" and head[68:72] == APPLICATION.to_bytes(4, "big")


def _set_aside(path: Path) -> None:
    os.replace(path, path.with_name(f"{path.name}.damaged"))  # noqa: PTH105
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
