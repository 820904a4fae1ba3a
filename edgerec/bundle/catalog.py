"""catalog.sqlite: item index, id, title, availability and attributes; readable wherever SQLite is."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from math import isfinite, nan
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from edgerec.bundle.columns import Lists, Numbers, Parameter, Texts, Value
from edgerec.errors import BundleError, ConfigError
from edgerec.tasks.buffers import Ints, ints

if TYPE_CHECKING:
    from edgerec.bundle.read import Bundle

OWN_COLUMNS: Final = ("idx", "id", "title", "available")
REMEMBERED: Final = 65_536
"""Ids, and titles, that are cached in memory."""
IN_MEMORY: Final = 64 * 2**20
"""Bytes of a catalogue that is read as a whole."""
MAX_CELL: Final = 1 << 20
"""Bytes of a value or a statement: longer ones are refused."""
_DAMAGED: Final = (sqlite3.Error, OverflowError, UnicodeDecodeError)
"""What a damaged file can raise; the last where the name of a table is not valid UTF-8."""


def write_catalog(path: Path, items: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write the items, in index order, as table ``items(idx, id, title, available, *columns)``.

    Equal input gives equal bytes.
    A column is INTEGER or REAL if all its values are whole numbers or numbers, TEXT_LIST if they are lists of strings,
    which are written as JSON, else TEXT. An attribute named like
    one of edgerec's own columns gets a trailing underscore ("id" becomes "id_").
    Args:
        path: must not exist.
        items: each with "id" (str, unique), "title" (str) and the `columns`; a missing value is None. "available"
            may be given: False means that the item is never a candidate.
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
            values = ((*o, *(_cell(r.get(c)) for c in columns)) for o, r in zip(own, rows, strict=True))
            db.executemany(f"INSERT INTO items VALUES ({marks})", values)
            # So that opening costs the same for a thousand items as for a million.
            db.execute("CREATE INDEX unavailable ON items(idx) WHERE available = 0")
            db.execute("COMMIT")
            db.execute("VACUUM")
    except sqlite3.Error as error:
        raise BundleError(f"{path}: the catalogue could not be written ({error})") from error


class Catalog:
    """The items of a bundle, read on demand: opening costs the same for a thousand items as for a million.

    Thread-safe.
    """

    @classmethod
    def of(cls, bundle: Bundle) -> Catalog:
        """The catalogue of a bundle, from its verified content; one of more than `IN_MEMORY` bytes stays on the disk.

        Raises:
            BundleError: not a catalogue, or changed since the bundle was verified.
        """
        path = bundle.path("catalog.sqlite")
        # Some builds of Python have no way to open bytes.
        in_memory = bundle.manifest.files[path.name].bytes <= IN_MEMORY and hasattr(sqlite3.Connection, "deserialize")
        return cls(path, bundle.read(path.name) if in_memory else None)

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """Open read-only.

        Args:
            content: of the file, if it was read before; then the path only names it in errors.
        Raises:
            BundleError: not a catalogue.
        """
        try:
            where = _uri(path) if content is None else ":memory:"
            self._db = sqlite3.connect(where, uri=True, check_same_thread=False, isolation_level=None)
            if content is not None:
                self._db.deserialize(content)
                self._db.execute("PRAGMA query_only = ON")
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
            self._db.execute("PRAGMA trusted_schema = OFF")
            self._db.execute("PRAGMA cell_size_check = ON")
            # A view or a trigger could do more than hold values.
            known = {("index", "items"), ("table", "items")}
            plain = set(self._db.execute("SELECT type, tbl_name FROM sqlite_master")) == known
            described = self._db.execute("PRAGMA table_xinfo(items)").fetchall() if plain else []
            self.columns: tuple[str, ...] = tuple(row[1] for row in described if row[6] == 0)
            self._kinds = {row[1]: _KINDS.get(row[2], "text") for row in described}
            last = self._db.execute("SELECT max(idx) FROM items").fetchone()[0] if plain else None
        except (*_DAMAGED, MemoryError) as error:  # the last where there is no content
            raise BundleError(f"{path}: not a catalogue ({_line(error)}); build the bundle again") from error
        if self.columns[: len(OWN_COLUMNS)] != OWN_COLUMNS or len(self.columns) < len(described):
            raise BundleError(f"{path}: not a catalogue (table items lacks {', '.join(OWN_COLUMNS)}); build it again")
        if last is not None and not (isinstance(last, int) and last >= 0):
            raise BundleError(f"{path}: not a catalogue (its last index is {last!r:.40}); build the bundle again")
        self._size = 0 if last is None else last + 1
        self._db.set_authorizer(_authorize)
        self._path = path
        self._lock = Lock()
        self._values: dict[str, Value] = {}
        self._index: dict[str, int | None] = {}
        self._named: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        """Number of items; indices run from 0 to one less."""
        return self._size

    def index_of(self, item_id: str) -> int | None:
        """The index of an item, None if the catalogue does not hold it."""
        try:
            return self._index[item_id]
        except KeyError:
            rows = self._rows("SELECT idx FROM items WHERE id = ?", item_id)
            index: int | None = rows[0][0] if rows else None
        if len(self._index) >= REMEMBERED:
            self._index.clear()
        self._index[item_id] = index
        return index

    def named(self, index: int) -> tuple[str, str]:
        """Id and title of an item by index."""
        names = self._named.get(index)
        if names is None:
            row = self._row("SELECT id, title FROM items WHERE idx = ?", index)
            names = (str(row[0]), str(row[1]))
            if len(self._named) >= REMEMBERED:
                self._named.clear()
            self._named[index] = names
        return names

    def attributes(self, index: int) -> dict[str, Any]:
        """All attributes of an item, by name."""
        row = self._row("SELECT * FROM items WHERE idx = ?", index)
        own = len(OWN_COLUMNS)
        named = zip(self.columns[own:], row[own:], strict=True)
        return {n: _list_of(value) if self._kinds[n] == "list" else value for n, value in named}

    def nearest(self, item_id: str) -> list[str]:
        """Up to three ids that begin like `item_id`, for an error message."""
        for length in (3, 2, 1):
            start = item_id[:length]
            sql = "SELECT id FROM items WHERE substr(id, 1, ?) = ? ORDER BY id LIMIT 3"
            if rows := self._rows(sql, len(start), start):
                return [row[0] for row in rows]
        return []

    def unavailable(self) -> Ints:
        """Indices of the items that are not to be recommended."""
        rows = self._rows("SELECT idx FROM items WHERE available = 0 ORDER BY idx")
        return ints(row[0] for row in rows)

    def failing(self, condition: str, parameters: Mapping[str, Parameter] | None = None) -> Ints:
        """Indices of the items for which a condition over the catalogue's columns is not true.

        Raises:
            ConfigError: it is not a valid condition, see `edgerec.bundle.conditions`.
        """
        from edgerec.bundle.conditions import Condition  # loaded on use: many policies have none

        return Condition.parse(condition, self).failing(self, parameters or {})

    # --- as columns, for conditions and for rules about attributes ---

    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return self.columns

    def kind_of(self, name: str) -> str | None:
        """ "number", "text" or "list", None if there is no such column."""
        return self._kinds.get(name)

    def column(self, name: str) -> Value:
        """A whole column, read when it is first used and cached.

        Raises:
            ConfigError: there is no such column.
        """
        column = self._values.get(name)
        if column is None:
            if name not in self._kinds:
                raise ConfigError(f"no column {name!r} (the catalogue has {', '.join(self.columns)})")
            rows = self._rows(f"SELECT {_quoted(name)} FROM items ORDER BY idx")
            if len(rows) != self._size:
                raise BundleError(f"{self._path}: its indices have gaps; build the bundle again")
            column = self._values[name] = _READERS[self._kinds[name]]([row[0] for row in rows])
        return column

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __del__(self) -> None:
        # After an update the old catalogue is closed once the last call that reads it has ended.
        if hasattr(self, "_db"):
            self._db.close()

    def _row(self, sql: str, index: int) -> tuple[Any, ...]:
        """The row of one item."""
        rows = self._rows(sql, index)
        if not rows:
            raise BundleError(f"{self._path}: there is no item {index}; build the bundle again")
        return rows[0]

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except UnicodeEncodeError:  # half of a surrogate pair: no catalogue holds it
            return []
        except _DAMAGED as error:
            raise BundleError(f"{self._path}: cannot be read ({_line(error)}); build the bundle again") from error


def _uri(path: Path) -> str:
    from urllib.parse import quote  # loaded on use: most catalogues are read into memory

    # "immutable" takes no lock and writes no file beside it: the bundle may be on a read-only disk.
    return f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"


def _line(error: Exception) -> str:
    """What an error says, in one line: SQLite quotes names, which may hold several."""
    return " ".join(str(error).split())


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first == "items")
        or (action == sqlite3.SQLITE_FUNCTION and second == "substr")
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _numbers(values: Sequence[Any]) -> Numbers:
    """A column of numbers; what is not a number is missing, whatever kind the file declares."""
    return array("d", [v if isinstance(v, int | float) and isfinite(v) else nan for v in values])


def _texts(values: Sequence[Any]) -> Texts:
    """A column of strings, in the same way."""
    index: dict[str, int] = {}
    codes = [index.setdefault(v, len(index)) if isinstance(v, str) else -1 for v in values]
    return Texts(list(index), array("i", codes))


def _lists(values: Sequence[Any]) -> Lists:
    """A column of lists of strings, in the same way."""
    texts = _texts(values)
    cells = [tuple(_list_of(text) or ()) for text in texts.values]
    return Lists(cells, array("i", [code if code >= 0 and cells[code] else -1 for code in texts.codes]))


def _list_of(value: Any) -> list[str] | None:
    """The strings of a list that is written as JSON; None for anything else."""
    try:
        read = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
    return [part for part in read if isinstance(part, str)] or None if isinstance(read, list) else None


def _cell(value: Any) -> Any:
    return json.dumps(list(value), ensure_ascii=False) if isinstance(value, list | tuple) else value


_KINDS: Final = {"INTEGER": "number", "REAL": "number", "TEXT_LIST": "list"}
"""By a column's type, what it holds; "text" for all others."""
_READERS: Final[Mapping[str, Callable[[Sequence[Any]], Value]]] = {"number": _numbers, "text": _texts, "list": _lists}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql_type(values: Iterable[Any]) -> str:
    kinds = {type(v) for v in values if v is not None}
    if kinds and kinds <= {list, tuple}:
        return "TEXT_LIST"
    if kinds <= {int, bool}:
        return "INTEGER"
    return "REAL" if kinds <= {int, bool, float} else "TEXT"
