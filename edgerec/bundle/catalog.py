"""catalog.sqlite: item index, id, title, availability and attributes; readable wherever SQLite is."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from edgerec.errors import BundleError, ConfigError

OWN_COLUMNS: Final = ("idx", "id", "title", "available")
# What a condition may call: pure functions, none of which can allocate much or reach outside.
_NULLS = ("coalesce", "ifnull", "iif", "nullif", "typeof")
_NUMBERS = ("abs", "max", "min", "round", "sign")
_TEXTS = ("glob", "instr", "length", "like", "lower", "ltrim", "rtrim", "substr", "substring", "trim", "upper")
FUNCTIONS: Final = frozenset((*_NULLS, *_NUMBERS, *_TEXTS))


def write_catalog(path: Path, items: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write the items, in index order, as table ``items(idx, id, title, available, *columns)``.

    Equal input gives equal bytes.
    A column is INTEGER or REAL if all its values are whole numbers or numbers, else TEXT. An attribute named like
    one of edgerec's own columns gets a trailing underscore ("id" becomes "id_").
    Args:
        path: must not exist.
        items: each with "id" (str, unique), "title" (str) and the `columns`; a missing value is None. "available"
            may be given: False makes the item no candidate.
        columns: names of the attributes.
    Raises:
        BundleError: two items have one id, two columns one name (SQLite ignores case), or the disk is full.
    """
    rows = list(items)
    names = [f"{name}_" if name.lower() in OWN_COLUMNS else name for name in columns]
    if len({name.lower() for name in names}) < len(names):
        raise BundleError(f"{path}: two item columns have one name (case does not count): {', '.join(columns)}")
    declared = "".join(
        f", {_quoted(n)} {_sql_type(r.get(c) for r in rows)}" for n, c in zip(names, columns, strict=True)
    )
    marks = ",".join("?" * (len(OWN_COLUMNS) + len(names)))
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")  # write_bundle flushes the file
            db.execute("BEGIN")
            db.execute(
                "CREATE TABLE items(idx INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, "
                f"available INTEGER NOT NULL DEFAULT 1{declared})"
            )
            own = ((i, r["id"], r["title"], int(r.get("available", True))) for i, r in enumerate(rows))
            values = ((*o, *(r.get(c) for c in columns)) for o, r in zip(own, rows, strict=True))
            db.executemany(f"INSERT INTO items VALUES ({marks})", values)
            db.execute("COMMIT")
            db.execute("VACUUM")
    except sqlite3.Error as error:
        raise BundleError(f"{path}: the catalogue could not be written ({error})") from error


class Catalog:
    """The items of a bundle, read on demand: opening costs the same for a thousand items as for a million.

    Thread-safe.
    """

    def __init__(self, path: Path) -> None:
        """Open read-only.

        Raises:
            BundleError: not a catalogue.
        """
        # "immutable" takes no lock and writes no file beside it: the bundle may lie on a read-only disk.
        uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        try:
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA trusted_schema = OFF")
            self.columns: tuple[str, ...] = tuple(r[1] for r in self._db.execute("PRAGMA table_info(items)"))
            rows = self._db.execute("SELECT count(*) FROM items").fetchone() if self.columns else (0,)
            self._size: int = rows[0]
        except sqlite3.Error as error:
            raise BundleError(f"{path}: not a catalogue ({error}); build the bundle again") from error
        if self.columns[: len(OWN_COLUMNS)] != OWN_COLUMNS:
            raise BundleError(f"{path}: not a catalogue (table items lacks {', '.join(OWN_COLUMNS)}); build it again")
        self._db.set_authorizer(_authorize)
        self._lock = Lock()
        self._index: dict[str, int | None] = {}
        self._named: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        """Number of items: indices run from 0 to this less one."""
        return self._size

    def index_of(self, item_id: str) -> int | None:
        """The index of an item, None if the catalogue does not hold it."""
        if item_id not in self._index:
            found = self._rows("SELECT idx FROM items WHERE id = ?", item_id)
            self._index[item_id] = found[0][0] if found else None
        return self._index[item_id]

    def named(self, index: int) -> tuple[str, str]:
        """Id and title of an item by index."""
        found = self._named.get(index)
        if found is None:
            found = self._named[index] = self._rows("SELECT id, title FROM items WHERE idx = ?", index)[0]
        return found

    def attributes(self, index: int) -> dict[str, Any]:
        """All attributes of an item by their names in the log."""
        row = self._rows("SELECT * FROM items WHERE idx = ?", index)[0]
        own = len(OWN_COLUMNS)
        return dict(zip(self.columns[own:], row[own:], strict=True))

    def nearest(self, item_id: str) -> list[str]:
        """Up to three ids that begin like `item_id`, for an error message."""
        for length in (3, 2, 1):
            start = item_id[:length]
            sql = "SELECT id FROM items WHERE substr(id, 1, ?) = ? ORDER BY id LIMIT 3"
            if found := self._rows(sql, len(start), start):
                return [row[0] for row in found]
        return []

    def unavailable(self) -> npt.NDArray[np.int64]:
        """Indices of the items that are not to be recommended."""
        return self._indices("available = 0")

    def failing(self, condition: str) -> npt.NDArray[np.int64]:
        """Indices of the items for which the SQL `condition` over the catalogue's columns is false or NULL.

        Raises:
            ConfigError: not one valid condition, or one that reads or calls anything but the items and `FUNCTIONS`.
        """
        # The line break ends a "--" comment, which would otherwise swallow the parenthesis.
        try:
            return self._indices(f"({condition}\n) IS NOT TRUE")
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise ConfigError(f"where: {condition!r}: {self._hint(str(error))}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _indices(self, condition: str) -> npt.NDArray[np.int64]:
        found = self._rows(f"SELECT idx FROM items WHERE {condition}")
        return np.fromiter((row[0] for row in found), np.int64, len(found))

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _hint(self, message: str) -> str:
        if "not authorized" in message or "prohibited" in message:
            return f"{message}; only columns of items and these functions may be used: {' '.join(sorted(FUNCTIONS))}"
        name = message.removeprefix("no such column: ")
        near = difflib.get_close_matches(name, self.columns, 1)
        guess = f", did you mean {near[0]!r}?" if near and name != message else ""
        return f"{message}{guess} (the catalogue has {', '.join(self.columns)})"


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first == "items")
        or (action == sqlite3.SQLITE_FUNCTION and second in FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql_type(values: Iterable[Any]) -> str:
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, bool}:
        return "INTEGER"
    return "REAL" if kinds <= {int, bool, float} else "TEXT"
