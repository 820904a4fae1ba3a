"""What can still be read of a damaged event log, and whether a damaged file is one at all."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote

Row: TypeAlias = tuple[Any, ...]
_COLUMNS: Final = {
    "events": ("id", "profile", "item", "kind", "time_ms", "context", "event_id", "list", "by_clock"),
    "lists": ("id", "name", "profile", "time_ms", "content"),
    "learned": ("profile", "name", "value"),
    "facts": ("name", "value"),
}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "id": (int,), "time_ms": (int,), "by_clock": (int,), "context": (str, type(None)), "event_id": (str, type(None)),
    "list": (str, type(None)),
}  # fmt: skip
"""Of what is neither a string nor any value."""
_MAGIC: Final = b"SQLite format 3\0"
FLIPPED: Final = 8
"""Bits of a file's head that may be changed; the head of another file differs in many more."""
_LOOKED_AT, _TREES = 32, (2, 5, 10, 13)
"""Pages after the first one that tell whether a file without a head held tables; how a page of a table begins."""
# SQLCipher 4: a page ends with its initialization vector and an HMAC over all before it and the page's number.
_PAGE, _SALT, _MAC, _SALT_MASK = 4096, 16, 64, 0x3A


class Salvaged(NamedTuple):
    """Rows by table."""

    rows: dict[str, list[Row]]

    @classmethod
    def of(cls, db: sqlite3.Connection) -> Salvaged:
        """All rows that can be read."""
        return cls({table: list(_readable(db, table)) for table in _COLUMNS})

    def put(self, db: sqlite3.Connection) -> None:
        """Write the rows, under their own numbers, into empty tables."""
        self._insert(db, {table: (names, rows) for table, names in _COLUMNS.items() if (rows := self.rows.get(table))})

    def add(self, db: sqlite3.Connection, before: Salvaged) -> None:
        """Write the rows that are not in `before`, under new numbers, behind others'."""
        added = {}
        for table in ("events", "lists", "learned"):
            old = set(before.rows.get(table, ()))
            new = [row for row in self.rows.get(table, ()) if row not in old]
            numbered = _COLUMNS[table][0] == "id"
            added[table] = (_COLUMNS[table][numbered:], [row[numbered:] for row in new])
        self._insert(db, added)

    @staticmethod
    def _insert(db: sqlite3.Connection, tables: Mapping[str, tuple[Sequence[str], Sequence[Row]]]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for table, (names, rows) in tables.items():
                how = "REPLACE" if table == "learned" else "IGNORE"
                marks = ", ".join("?" * len(names))
                db.executemany(f"INSERT OR {how} INTO {table}({', '.join(names)}) VALUES ({marks})", rows)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def salvage(sql: ModuleType, path: Path, key: bytes | None) -> Salvaged:
    """What can be read of a file, which is not changed; nothing where it cannot be opened at all."""
    for mode in ("mode=ro", "mode=ro&immutable=1"):  # the second where not even a lock can be written
        with suppress(sql.Error, OSError, MemoryError, UnicodeDecodeError):  # the last of a table's name
            uri = f"file:{quote(str(path.absolute()))}?{mode}"
            with closing(sql.connect(uri, uri=True, isolation_level=None, timeout=1.0)) as db:
                if key is not None:
                    db.execute(key_statement(key, salt_of(path, key) or b""))
                db.execute("PRAGMA trusted_schema = OFF")
                db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
                return Salvaged.of(db)
    return Salvaged({})


def looks_like_ours(path: Path, application: int) -> bool:
    """Whether a file, damaged or not, bears our mark; also one whose head is gone: zeros after a power cut, or a first
    page of other bytes before pages of tables.

    Raises:
        OSError: the disk does not give it.
    """
    with path.open("rb") as file:
        head = file.read(72)
    if not any(head):
        return True
    if len(head) < 72:
        return _MAGIC.startswith(head[:16])
    ours = _MAGIC + application.to_bytes(4, "big")
    if _differing(head[:16] + head[68:72], ours) <= FLIPPED:
        return True
    return _differing(head[:16], _MAGIC) > FLIPPED and _holds_tables(path)


def _holds_tables(path: Path) -> bool:
    """Whether most of the first pages after the head are those of SQLite's tables and indices.

    The file of another program with a whole head is known by it, so only a file without one is looked at in this way.
    Source: SQLite's file format, section 1.6.
    """
    with path.open("rb") as file:
        file.seek(_PAGE)
        pages = [file.read(_PAGE) for _ in range(_LOOKED_AT)]
    whole = [page for page in pages if len(page) == _PAGE and any(page)]
    trees = [page for page in whole if page[0] in _TREES and 8 <= int.from_bytes(page[5:7], "big") <= _PAGE]
    return bool(whole) and 2 * len(trees) > len(whole)


def own_salt(key: bytes) -> bytes:
    """The salt of a file: it follows from the key, so that it is known where damage changed the one in the file.

    Files of earlier versions have random ones. A salt makes only the key of the pages' HMACs; pages are encrypted with
    the key itself.
    """
    return hmac.digest(key, b"edgerec event log", "sha512")[:_SALT]


def key_statement(key: bytes, salt: bytes) -> str:
    """How SQLCipher is told a key; if the salt is empty, it takes the one with which the file begins."""
    return f"PRAGMA key = \"x'{key.hex()}{salt.hex()}'\""


def salt_of(path: Path, key: bytes) -> bytes | None:
    """With which salt an encrypted file was written with this key; None if the key does not fit any page of it.

    Raises:
        OSError: the disk does not give it.
    """
    ours = own_salt(key)
    with path.open("rb") as file:
        head = file.read(_SALT)
    if not any(head) or ours.startswith(head) or (len(head) == _SALT and _differing(head, ours) <= FLIPPED):
        return ours
    return next((salt for salt in (head, ours) if len(head) == _SALT and _fits_a_page(path, key, salt)), None)


def _fits_a_page(path: Path, key: bytes, salt: bytes) -> bool:
    """Whether any page was written with this key: then another key is not what is wrong."""
    mac_key = hashlib.pbkdf2_hmac("sha512", key, bytes(byte ^ _SALT_MASK for byte in salt), 2, 32)
    with path.open("rb") as file:
        for number, page in enumerate(iter(lambda: file.read(_PAGE), b""), 1):
            content = page[_SALT if number == 1 else 0 : -_MAC] + number.to_bytes(4, "little")
            if hmac.compare_digest(hmac.digest(mac_key, content, "sha512"), page[-_MAC:]):
                return True
    return False


def _differing(some: bytes, others: bytes) -> int:
    """Bits."""
    return sum((one ^ other).bit_count() for one, other in zip(some, others, strict=True))


def _readable(db: sqlite3.Connection, table: str) -> Iterator[Row]:
    """Rows of a table from its start up to the damage, and from its end back to it."""
    columns, seen = _COLUMNS[table], set()
    for order in ("", "DESC"):
        with suppress(db.Error, UnicodeDecodeError, OverflowError, MemoryError):
            sql = f"SELECT rowid, {', '.join(columns)} FROM {table} ORDER BY rowid {order}"
            for number, *values in db.execute(sql):
                if number not in seen and all(map(_is_plausible, columns, values)):
                    seen.add(number)
                    yield tuple(values)
            return


def _is_plausible(column: str, value: object) -> bool:
    return column == "value" or isinstance(value, _TYPES.get(column, (str,)))
