"""What the device remembers: events, lists that were shown, and what was learned from both, in one bounded SQLite file.

Every row belongs to a profile. Kinds and items are stored by name, so that the file outlives a bundle which numbers
them otherwise. The file never leaves the device, and nothing else about a user is written anywhere.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from threading import RLock
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError, need

NO_KIND = "event"
"""The kind of an event for which no binary task was positive."""
DEFAULT_PROFILE: Final = ""
APPLICATION: Final = 0x65646763
"""SQLite's mark of our files ("edgc"): another program's database is never touched."""
SCHEMA: Final = 2
PAGE: Final = 4096
MS_PER_DAY: Final = 86_400_000
SELDOM: Final = 64
"""Old rows are looked for once in so many events."""
_DAMAGED = ("malformed", "not a database", "disk image", "corrupt")

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


class Events(NamedTuple):
    """Past events of one user, in any order; the three have equal length E.

    Attributes:
        item: ids, or int64 (E,) item indices; items that the bundle does not know are ignored.
        kind: int64 (E,), bit i set: binary task i was positive.
        time_ms: int64 (E,), milliseconds since 1970 UTC.
    """

    item: Sequence[str] | npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]


class Shown(NamedTuple):
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
        fields = (self.bundle, self.items, self.probability, self.utility, self.pool, self.context)
        teams = {"teams": self.teams} if self.teams else {}
        content = dict(zip(_SHOWN, fields, strict=True)) | teams
        return json.dumps(content, separators=(",", ":"), default=_plain)

    @classmethod
    def from_json(cls, name: str, time_ms: int, content: str) -> Shown:
        """The inverse of `to_json`."""
        v = json.loads(content)
        items, probability, utility = (tuple(v[key]) for key in ("items", "probability", "utility"))
        more = v["pool"], v["context"], v.get("teams", "")
        return cls(name, time_ms, v["bundle"], items, probability, utility, *more)


_SHOWN = ("bundle", "items", "probability", "utility", "pool", "context")


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
    """The file, or memory. Thread-safe; several processes may share a file."""

    def __init__(self, path: Path | None, bounds: Bounds | None = None, key: bytes | None = None) -> None:
        """Open or create the log.

        A file of ours that was damaged is set aside as ``NAME.damaged``, and an empty one takes its place: a device
        that nobody looks after must go on.
        Args:
            key: 32 bytes that encrypt the file; needs SQLCipher (the extra `encrypt`).
        Raises:
            DataError: the file is something else, is locked by another key, or cannot be opened.
            MissingExtraError: SQLCipher is not installed.
        """
        self._path, self._bounds, self._lock = path, bounds or Bounds(), RLock()
        self._name = str(path or "memory")
        self._sql = sqlite3 if key is None else need("sqlcipher3.dbapi2", "encrypt", "an encrypted log")
        self._writes = 0
        self._unnoted = 0  # losses that the disk did not take either; the next write notes them
        self.lost = 0
        try:
            self._db = self._open(path, key)
        except (self._sql.Error, UnicodeDecodeError) as error:
            # A changed file can hold a name of a table that is no text.
            damaged = isinstance(error, UnicodeDecodeError) or any(word in str(error) for word in _DAMAGED)
            if key is not None or not _is_ours(path) or not damaged:
                raise DataError(f"{self._name}: cannot be used as an event log ({error}); name another file") from error
            _set_aside(path)
            self._db = self._open(path, key)
            with self._writing() as db:
                db.execute(_COUNT, ("damaged", 1, 1))
        self.lost = self._fact("lost")

    def _open(self, path: Path | None, key: bytes | None) -> Any:
        db = self._sql.connect(path or ":memory:", check_same_thread=False, isolation_level=None, timeout=10)
        try:
            if key is not None:
                if len(key) != 32:
                    raise DataError(f"{self._name}: a key has 32 bytes, got {len(key)}")
                db.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            mark = db.execute("PRAGMA application_id").fetchone()[0]
            if (tables and mark not in (0, APPLICATION)) or (tables and "events" not in tables):
                raise DataError(f"{self._name}: is a database of something else; name another file")
            if any(kind != "table" and kind != "index" for (kind,) in db.execute("SELECT type FROM sqlite_master")):
                raise DataError(f"{self._name}: holds views or triggers, which no event log does; name another file")
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a power cut
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            self._prepare(db, tables)
            pages = max(self._bounds.bytes // PAGE, 64)
            # The write-ahead log takes an eighth of the bytes, the database the rest.
            db.execute(f"PRAGMA wal_autocheckpoint = {max(pages // 16, 8)}")
            db.execute(f"PRAGMA journal_size_limit = {pages * PAGE // 8}")
            db.execute(f"PRAGMA max_page_count = {pages - pages // 8}")
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: Any, tables: set[str]) -> None:
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA and "lists" in tables:
            for table in ("events", "lists", "learned", "facts"):
                db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
            return
        db.execute("BEGIN IMMEDIATE")
        if "events" in tables:
            known = {row[1] for row in db.execute("PRAGMA table_info(events)")}
            if not {"id", "item", "kind", "time_ms", "context"} <= known:
                raise DataError(f"{self._name}: its table of events is of something else; name another file")
            for column in _ADDED:
                if column.split()[0] not in known:
                    db.execute(f"ALTER TABLE events ADD COLUMN {column}")
        for statement in filter(str.strip, _TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file itself bears our mark

    # --- events ---

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
    ) -> bool:
        """Write one event; it is on the disk when this returns.

        Args:
            event_id: an event of this profile with the same id is not written again.
            by_clock: the time is the device's clock. Earlier events that are stamped with a later time were so by a
                clock that ran ahead; they are set back to this one's time.
        Returns:
            Whether the event is new.
        Raises:
            DataError: it could not be written (disk full, locked, read-only); counted in `lost`.
        """
        row = (
            profile,
            item,
            kind,
            time_ms,
            json.dumps(context, default=_plain) if context else None,
            event_id,
            list_name,
            by_clock,
        )
        try:
            with self._writing() as db:
                added = db.execute(
                    "INSERT INTO events(profile, item, kind, time_ms, context, event_id, list, by_clock) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    row,
                )
                if added.rowcount == 0:
                    return False
                number = added.lastrowid or 0
                if by_clock:
                    self._set_back(db, number, time_ms, profile)
                # Ids grow by one, so this is the row bound without counting.
                db.execute("DELETE FROM events WHERE id <= ?", (number - self._bounds.rows,))
                if self._bounds.days is not None and number % SELDOM == 1:
                    oldest = time_ms - int(self._bounds.days * MS_PER_DAY)
                    db.execute("DELETE FROM events WHERE time_ms < ?", (oldest,))
                    db.execute("DELETE FROM lists WHERE time_ms < ?", (oldest,))
                return True
        except (self._sql.Error, OverflowError) as error:
            self._lose()
            raise DataError(f"{self._name}: the event was not stored ({error})") from error

    @staticmethod
    def _set_back(db: Any, number: int, time_ms: int, profile: str) -> None:
        """Set events back that a clock which ran ahead has stamped; what this leaves is in order, so one look tells."""
        last = db.execute(
            "SELECT time_ms FROM events WHERE profile = ? AND id < ? AND by_clock = 1 ORDER BY id DESC LIMIT 1",
            (profile, number),
        ).fetchone()
        if last is not None and last[0] > time_ms:
            db.execute(
                "UPDATE events SET time_ms = ? WHERE profile = ? AND by_clock = 1 AND time_ms > ?",
                (time_ms, profile, time_ms),
            )

    def events(self, kinds: Sequence[str], profile: str = DEFAULT_PROFILE) -> Events:
        """All events, oldest first; a kind's parts that `kinds` does not know (an older bundle's) are left out."""
        rows = self._rows("SELECT item, kind, time_ms FROM events WHERE profile = ? ORDER BY id", profile)
        known = set(kinds)
        masks = {k: kind_mask("+".join(known.intersection(k.split("+"))) or NO_KIND, kinds) for _, k, _ in rows}
        return Events(
            item=[item for item, _, _ in rows],
            kind=np.array([masks[kind] for _, kind, _ in rows], np.int64),
            time_ms=np.array([time_ms for _, _, time_ms in rows], np.int64),
        )

    def answers(self, list_name: str, profile: str = DEFAULT_PROFILE) -> dict[str, str]:
        """What was done with a list: the kind by item, those of several events joined with "+"."""
        found: dict[str, str] = {}
        sql = "SELECT item, kind FROM events WHERE profile = ? AND list = ? ORDER BY id"
        for item, kind in self._rows(sql, profile, list_name):
            found[item] = f"{found[item]}+{kind}" if item in found else kind
        return found

    # --- lists ---

    def show(self, shown: Shown, profile: str = DEFAULT_PROFILE) -> bool:
        """Log a list; False if it could not be written, which is counted in `lost`."""
        try:
            with self._writing() as db:
                added = db.execute(
                    "INSERT INTO lists(name, profile, time_ms, content) VALUES (?, ?, ?, ?)",
                    (shown.name, profile, shown.time_ms, shown.to_json()),
                )
                db.execute("DELETE FROM lists WHERE id <= ?", ((added.lastrowid or 0) - self._bounds.rows,))
                return True
        except self._sql.Error:
            self._lose()
            return False

    def shown(self, profile: str = DEFAULT_PROFILE, since_ms: int = -(2**62), newest: int = -1) -> list[Shown]:
        """Logged lists, oldest first; `newest`: so many of them at most."""
        sql = "SELECT name, time_ms, content FROM lists WHERE profile = ? AND time_ms >= ? ORDER BY id DESC LIMIT ?"
        found = []
        for row in reversed(self._rows(sql, profile, since_ms, newest)):
            with suppress(ValueError, KeyError, TypeError, RecursionError):  # a row that is damaged is no list
                found.append(Shown.from_json(*row))
        return found

    def how_often(self, since_ms: int, profile: str = DEFAULT_PROFILE) -> Counter[str]:
        """In how many lists since then each item was."""
        return Counter(item for shown in self.shown(profile, since_ms) for item in shown.items)

    # --- what was learned ---

    def learned(self, name: str, profile: str = DEFAULT_PROFILE) -> bytes | None:
        """A value that was kept under this name."""
        rows = self._rows("SELECT value FROM learned WHERE profile = ? AND name = ?", profile, name)
        return None if not rows else bytes(rows[0][0])

    def learn(self, name: str, value: bytes | None, profile: str = DEFAULT_PROFILE) -> None:
        """Keep a value, or drop it; one that cannot be written is learned again."""
        with suppress(self._sql.Error), self._writing() as db:
            if value is None:
                db.execute("DELETE FROM learned WHERE profile = ? AND name = ?", (profile, name))
            else:
                db.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", (profile, name, value))

    # --- profiles ---

    def profiles(self) -> list[str]:
        """All that have an event or a list."""
        sql = "SELECT profile FROM events UNION SELECT profile FROM lists UNION SELECT profile FROM learned ORDER BY 1"
        return [row[0] for row in self._rows(sql)]

    def forget(self, profile: str | None = None) -> None:
        """Erase all that is known of a profile, or of all, from the file and from its write-ahead log.

        Raises:
            DataError: the disk refused it, or another process is reading the old rows.
        """
        try:
            with self._writing() as db:
                for table in ("events", "lists", "learned"):
                    if profile is None:
                        db.execute(f"DELETE FROM {table}")
                    else:
                        db.execute(f"DELETE FROM {table} WHERE profile = ?", (profile,))
            with self._lock:
                blocked = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except self._sql.Error as error:
            raise DataError(f"{self._name}: the events could not be erased ({error})") from error
        if blocked:
            raise DataError(f"{self._name}: erased, but another process still reads the old rows; forget again later")

    # --- the file ---

    @property
    def version(self) -> tuple[int, int]:
        """Changes when anything was written, by this process or another."""
        with self._lock:
            return self._writes, self._rows("PRAGMA data_version")[0][0]

    @property
    def bounds(self) -> Bounds:
        """Of rows, bytes and age."""
        return self._bounds

    def bound(self, bounds: Bounds) -> None:
        """Take other bounds, which an update may bring; bytes are those of the file's opening."""
        self._bounds = bounds._replace(bytes=self._bounds.bytes)

    def size(self) -> dict[str, int]:
        """Rows of events and lists, bytes on disk, events lost to a full disk, files set aside as damaged."""
        files = [self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm")] if self._path else []
        return {
            "events": self._rows("SELECT count(*) FROM events")[0][0],
            "lists": self._rows("SELECT count(*) FROM lists")[0][0],
            "bytes": sum(file.stat().st_size for file in files if file.exists()),
            "lost": self.lost,
            "damaged": self._fact("damaged"),
        }

    def close(self) -> None:
        """Close the file; its events stay."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """One transaction. Where the file has reached its bytes, its oldest tenth makes room, once."""
        with self._lock:
            self._writes += 1
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._nearly_full():
                    self._make_room()
                yield self._db
                if self._unnoted:
                    self._db.execute(_COUNT, ("lost", self._unnoted, self._unnoted))
                self._db.execute("COMMIT")
                self._unnoted = 0
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _nearly_full(self) -> bool:
        most, used, unused = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("max_page_count", "page_count", "freelist_count")
        )
        return bool(used - unused > 0.9 * most)

    def _make_room(self) -> None:
        for table in ("events", "lists"):
            low, high = self._db.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
            if low is not None:
                self._db.execute(f"DELETE FROM {table} WHERE id < ?", (low + (high - low) // 10,))

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            with self._lock:
                rows: list[Any] = self._db.execute(sql, values).fetchall()
                return rows
        except (self._sql.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self._name}: cannot be read ({error})") from error

    def _fact(self, name: str) -> int:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows else 0

    def _lose(self) -> None:
        self.lost += 1
        self._unnoted += 1
        with suppress(self._sql.Error), self._writing():
            pass


def _plain(value: object) -> object:
    """numpy's numbers as numbers; anything else that JSON does not know as its text."""
    return float(value) if isinstance(value, Real) else str(value)


def new_name() -> str:
    """Of a list: random, so that it tells nothing."""
    return os.urandom(16).hex()


def _is_ours(path: Path | None) -> bool:
    """Whether a file, damaged or not, bears our mark."""
    if path is None or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(72)
    return head[:15] == b"SQLite format 3" and head[68:72] == APPLICATION.to_bytes(4, "big")


def _set_aside(path: Path | None) -> None:
    assert path is not None
    os.replace(path, path.with_name(f"{path.name}.damaged"))  # noqa: PTH105
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
