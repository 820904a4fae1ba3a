"""The SQLite file of a device: its schema, its transactions and bounds, and what happens when it is damaged or full.

A device that nobody looks after must go on. So a damaged file is set aside, what can still be read of it is taken over,
and where there is no file to write, events are kept in memory; `trouble` says why.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Final, TypeVar

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError, need
from edgerec.runtime.salvage import FLIPPED, Salvaged, key_statement, looks_like_ours, own_salt, salt_of, salvage

APPLICATION: Final = 0x65646763
"""SQLite's mark of our files ("edgc"): another program's database is never touched."""
SCHEMA: Final = 2
PAGE: Final = 4096
OPENING_S: Final = 5.0
"""How long opening and forgetting wait for another process."""
WAITING_MS: Final = 200
"""How long an event waits for another process: a touch page must not stand still."""
RETRY_S: Final = 30.0
"""A file that could not be used is tried again so often."""
DAMAGED: Final = ".damaged"
_DAMAGE = ("malformed", "not a database", "disk image", "corrupt", "encrypted")
"""Words of SQLite's errors about a file that was changed."""
_FAILING = ("I/O", "locking protocol", "unable to open")
"""Words of SQLite's errors about a disk that fails; a connection that met one may wait for ten seconds at each call."""

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
T = TypeVar("T")
_abandoned: list[sqlite3.Connection] = []
"""Of files that another process replaced; closing one would remove the new file's write-ahead log."""


class Database:
    """One file, or memory, with the tables of `EventStore`. Thread-safe; several processes may share a file.

    Attributes:
        name: of the file, for messages. bounds: of rows, bytes and age.
        lost: writes that the disk did not take.
        damage: what was wrong with the file that this process set aside; None if there was none.
        trouble: why the file is not used and rows are in memory only; None while it is.
        error: SQLite's exception, by whichever library the file is read.
        lock: held for every statement.
    """

    def __init__(self, path: Path | None, bounds: Bounds, key: bytes | None) -> None:
        """See `EventStore`."""
        self.path, self.bounds, self.name, self._key = path, bounds, str(path or "memory"), key
        if key is not None and not (isinstance(key, bytes) and len(key) == 32):
            got = f"{len(key)}" if isinstance(key, bytes) else f"a {type(key).__name__}"
            raise DataError(f"{self.name}: a key has 32 bytes, got {got}")
        self._sql: ModuleType = sqlite3 if key is None else need("sqlcipher3.dbapi2", "encrypt", "an encrypted log")
        self.error: type[Exception] = self._sql.Error
        self.lock = RLock()
        self.damage: str | None = None
        self.trouble: str | None = None
        self._retry_s, self._salvaged = 0.0, Salvaged({})
        self._writes = 0
        self._unnoted: dict[str, int] = {}  # counts that the next write puts on the disk
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self.connection = self._opened()
        self.lost = self.fact("lost")

    def write(self, work: Callable[[sqlite3.Connection], T], stay: bool = False) -> T:
        """One transaction. Where the file has reached its bytes, its oldest tenth makes room, once.

        A file that turns out to be damaged is set aside, and `work` is done on what takes its place; in memory where
        the disk fails, unless it is to stay with the file.
        """
        with self.lock:
            self._writes += 1
            self._follow_file()
            try:
                return self._transaction(work)
            except (self.error, UnicodeDecodeError, MemoryError) as error:
                if (stay and not self._is_damage(error)) or not self._heal(error):
                    raise
                return self._transaction(work)

    def rows(self, sql: str, *values: object) -> list[Any]:
        """All rows of a query.

        Raises:
            DataError: the file cannot be read.
        """
        with self.lock:
            try:
                return self.connection.execute(sql, values).fetchall()
            except (self.error, UnicodeDecodeError, MemoryError) as error:
                if self._heal(error):
                    return self.connection.execute(sql, values).fetchall()
                raise DataError(f"{self.name}: cannot be read ({error})") from error

    def fact(self, name: str) -> int:
        """A count that outlives a restart; 0 if it was never written."""
        rows = self.rows("SELECT value FROM facts WHERE name = ?", name)
        return (int(rows[0][0]) if rows else 0) + self._unnoted.get(name, 0)

    def count_loss(self) -> None:
        """Count a write that the disk did not take; the next one that it takes, or closing, notes that too."""
        with self.lock:
            self.lost += 1
            self._unnoted["lost"] = self._unnoted.get("lost", 0) + 1

    def is_busy(self, error: Exception) -> bool:
        """Whether another process holds the file, so that the same write may succeed later."""
        return "locked" in str(error) or "busy" in str(error)

    @property
    def version(self) -> tuple[int, int]:
        """Changes when anything was written, by this process or another."""
        with self.lock:
            return self._writes, self.rows("PRAGMA data_version")[0][0]

    def size_bytes(self) -> int:
        """On disk, with the write-ahead log."""
        if self.path is None:
            return 0
        files = [_beside(self.path, end) for end in ("", "-wal", "-shm")]
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the file; its rows stay."""
        with self.lock:
            if self._unnoted and self.trouble is None:
                with suppress(self.error):
                    self.write(lambda db: None)
            self.connection.close()

    # --- erasing ---

    def erase(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """As `write`, and no byte of what was deleted is left; False if another process still reads older rows.

        A full disk takes no write-ahead log, but the rows can be overwritten in place.
        """
        with self.lock:
            self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * OPENING_S)}")
            try:
                return self._erased(work)
            except self.error as error:
                if self.path is None or ("full" not in str(error) and "I/O" not in str(error)):
                    raise
                return self._erased_in_place(work)
            finally:
                self.connection.execute(f"PRAGMA busy_timeout = {WAITING_MS}")

    def _erased_in_place(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """On a disk that takes neither a write-ahead log nor its index: by a connection that needs none."""
        self.connection.close()
        try:
            self.connection = self._open(self.path, alone=True)
            self.connection.execute("PRAGMA journal_mode = MEMORY")
            erased = self._erased(work)
        except (self.error, OSError):
            self._reopen()
            if self.trouble is None:
                raise
            return self._erased(work)  # of what is in memory
        self._reopen()
        return erased

    def _reopen(self) -> None:
        self.connection.close()
        self.connection = self._opened()

    def _erased(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        self.write(work, stay=True)
        if self.path is not None and self.trouble is None:
            # Pages of others' rows hold copies of rows that once were beside them.
            self.connection.execute("VACUUM")
            _beside(self.path, DAMAGED).unlink(missing_ok=True)
        return not self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    # --- opening ---

    def _opened(self) -> sqlite3.Connection:
        """The file; what takes its place where it is damaged; or memory, with what can be read of it.

        Raises:
            DataError: the file is something else, or is locked by another key.
        """
        if self.path is None:
            return self._open(None)
        try:
            return self._open(self.path)
        except (self.error, UnicodeDecodeError, MemoryError, OSError) as error:
            if not self._is_damage(error):
                return self._in_memory(error)
            try:
                ours = self._is_ours()
            except OSError as failing:
                return self._in_memory(failing)
            if not ours:
                raise DataError(f"{self.name}: cannot be used as an event log ({error}); {self._advice()}") from error
            return self._replaced(error)

    def _replaced(self, error: Exception) -> sqlite3.Connection:
        """A new file with what can be read of the damaged one, which is set aside."""
        assert self.path is not None
        left = self._salvage()
        try:
            self.path.replace(_beside(self.path, DAMAGED))
            _remove_logs(self.path)
            db = self._open(self.path)
            left.put(db)
        except (self.error, OSError):
            return self._in_memory(error, left)
        self._unnoted["damaged"] = self._unnoted.get("damaged", 0) + 1
        said = " ".join(str(error).split()) or type(error).__name__
        self.damage = f"{said}; the file is set aside as {self.path.name}{DAMAGED}"
        return db

    def _in_memory(self, error: Exception, left: Salvaged | None = None) -> sqlite3.Connection:
        left = left or self._salvage()
        db = self._open(None)
        left.put(db)
        self._salvaged = left
        self.trouble, self._retry_s = f"{error}; events are in memory only", time.monotonic() + RETRY_S
        return db

    def _salvage(self) -> Salvaged:
        assert self.path is not None
        return salvage(self._sql, self.path, self._key)

    def _open(self, path: Path | None, alone: bool = False) -> sqlite3.Connection:
        """A connection; `alone` keeps other processes out, and no index of the write-ahead log on the disk."""
        if path is not None and not path.exists():
            _remove_logs(path)  # of a file that was deleted
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif path is not None and not alone and not _takes_index(path):
            raise PermissionError(f"{_beside(path, '-shm').name} cannot be written")
        db = self._unlocked(path)
        try:
            if alone:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
            tables = self._refuse_others(db)
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a power cut
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            self._prepare(db, tables)
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise self._sql.DatabaseError(f"malformed: {str(found).strip().splitlines()[-1]}")
            pages = max(self.bounds.bytes // PAGE, 64)
            # The write-ahead log takes an eighth of the bytes, the database the rest.
            db.execute(f"PRAGMA wal_autocheckpoint = {max(pages // 16, 8)}")
            db.execute(f"PRAGMA journal_size_limit = {pages * PAGE // 8}")
            db.execute(f"PRAGMA max_page_count = {pages - pages // 8}")
            db.execute(f"PRAGMA busy_timeout = {WAITING_MS}")
        except BaseException:
            db.close()
            raise
        self._identity = None if path is None else _identity(path)
        return db

    def _unlocked(self, path: Path | None) -> sqlite3.Connection:
        connect = partial(self._sql.connect, check_same_thread=False, isolation_level=None, timeout=OPENING_S)
        db: sqlite3.Connection = connect(path or ":memory:")
        if self._key is None or path is None:
            return db
        try:
            db.execute(key_statement(self._key, own_salt(self._key)))
            db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            return db
        except (self.error, MemoryError):
            db.close()
        db = connect(path)
        db.execute(key_statement(self._key, b""))  # of an earlier version
        return db

    def _refuse_others(self, db: sqlite3.Connection) -> set[str]:
        """Names of the tables of a file that is ours, or new."""
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        whole = tables.issuperset(("events", "lists", "learned", "facts"))
        if whole and (mark ^ APPLICATION).bit_count() <= FLIPPED and mark != APPLICATION:
            db.execute(f"PRAGMA application_id = {APPLICATION}")
        elif tables and mark != APPLICATION and (mark != 0 or "events" not in tables):
            raise DataError(f"{self.name}: is a database of another program; name another file")
        if any(kind in ("view", "trigger") for (kind,) in db.execute("SELECT type FROM sqlite_master")):
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

    # --- damage ---

    def _is_damage(self, error: Exception) -> bool:
        # A table's name may not be UTF-8 any more; SQLCipher is out of memory after a page that it cannot read.
        return isinstance(error, UnicodeDecodeError | MemoryError) or any(word in str(error) for word in _DAMAGE)

    def _is_ours(self) -> bool:
        assert self.path is not None
        if self._key is None:
            return looks_like_ours(self.path, APPLICATION)
        return salt_of(self.path, self._key) is not None

    def _advice(self) -> str:
        if self._key is None:
            return "name another file"
        # Of a file from before salts followed from the key, or of which no page is whole.
        return "give the key that it was written with, or name another file: damage to its salt looks like a wrong key"

    def _heal(self, error: Exception) -> bool:
        """Whether the file was damaged, and another one, or memory, has taken its place."""
        if self.path is None or self.trouble is not None:
            return False
        damaged = self._is_damage(error)
        if not damaged and not any(word in str(error) for word in _FAILING):
            return False
        # What a failing disk no longer gives, the connection may still know.
        left = None if damaged or "locking" in str(error) else Salvaged.of(self.connection)
        with suppress(self.error):
            self.connection.close()
        self.connection = self._replaced(error) if damaged else self._in_memory(error, left)
        return True

    def _follow_file(self) -> None:
        """Go to the file that is there now, where it was deleted, replaced, or can be used again."""
        if self.path is None:
            return
        if self.trouble is not None:
            if time.monotonic() >= self._retry_s:
                self._return_to_file()
        elif _identity(self.path) == self._identity:
            self._log_identity = _identity(_beside(self.path, "-wal"))
        else:
            if not self.path.exists():
                self.connection.close()
            else:
                _abandoned.append(self.connection)
                # What was written to the old file must not be replayed into the new one.
                if _identity(_beside(self.path, "-wal")) == self._log_identity:
                    _remove_logs(self.path)
            self.connection = self._opened()

    def _return_to_file(self) -> None:
        """Take the rows in memory to the file, if it can be used again."""
        assert self.path is not None
        self._retry_s = time.monotonic() + RETRY_S
        try:
            db = self._open(self.path)
        except (self.error, OSError, UnicodeDecodeError, MemoryError, DataError):
            return
        try:
            Salvaged.of(self.connection).add(db, self._salvaged)
        except self.error:
            db.close()
            return
        self.connection, self.trouble = db, None

    # --- a transaction ---

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self.connection
        db.execute("BEGIN IMMEDIATE")
        try:
            if self._nearly_full():
                self._make_room()
            result = work(db)
            if self.trouble is None:
                for name, count in self._unnoted.items():
                    db.execute(_COUNT, (name, count, count))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if self.trouble is None:
            self._unnoted = {}
        return result

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


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _takes_index(path: Path) -> bool:
    """Whether SQLite can write its index of the write-ahead log; where it can only read it, each call waits ten seconds
    for a writer.
    """
    index = _beside(path, "-shm")
    return not index.exists() or os.access(index, os.W_OK)


def _remove_logs(path: Path) -> None:
    for end in ("-wal", "-shm"):
        _beside(path, end).unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
