"""First settings for a log, guessed from the names and values of its columns; each guess says why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from edgerec.config import MAX_BINARY_TASKS
from edgerec.data.readers import Source, reading
from edgerec.data.times import time_ms
from edgerec.errors import DataError
from edgerec.tasks.units import MS_PER_DAY

__all__ = ["Guess", "Settings", "guess_settings"]

_SAMPLE = 200_000

# Words of a column's name, most telling first.
_USER = ("user", "customer", "visitor", "member", "client", "shopper", "buyer", "account", "uid")
_ITEM = ("item", "product", "stock", "sku", "article", "movie", "video", "track", "song", "book", "news", "asin", "iid")
_TIME = ("timestamp", "time", "datetime", "date", "ts", "created", "when")
_SESSION = ("session", "basket", "invoice", "order", "visit", "transaction", "receipt", "cart")
_CLICK = ("click", "clicked")
_FLAGS = {"view", "like", "liked", "follow", "buy", "bought", "purchase", "purchased", "conversion", "share", "comment"}
_FLAGS |= {*_CLICK, "forward", "favorite", "save", "saved", "hate", "is", "label"}
_RATING = ("rating", "stars", "rate", "score")
_WATCH = ("play", "watch", "watched", "dwell", "stay", "listen", "read")
_QUANTITY = ("quantity", "qty")
_CONTEXT = ("tab", "page", "device", "platform", "os", "channel", "source", "slot", "placement", "surface", "position")
_NO_ID = ("name", "title", "description", "text", "type", "tag", "duration", "price", "url", "date", "time")


@dataclass(frozen=True)
class Guess:
    """A role, the column that has it, and why."""

    role: str
    column: str
    why: str


@dataclass
class Settings:
    """The text of a settings file, and the guesses in it."""

    toml: str
    guesses: list[Guess] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    """What is looked at of a table: its path as the settings will name it and its first rows."""

    path: str
    source: Source
    sample: pl.DataFrame

    @classmethod
    def open(cls, path: Path, folder: Path) -> _Table:
        source = Source.open(str(path))
        with reading(str(path)):
            sample = source.frame.head(_SAMPLE).collect()
        if sample.is_empty():
            raise DataError(f"{path}: has no rows; expected at least one")
        return cls(Path(os.path.relpath(path, folder)).as_posix(), source, sample)


def guess_settings(log: Path, items: Path | None, users: Path | None, folder: Path) -> Settings:
    """Write settings for a log, to be read and corrected by a person.

    Args:
        log: the interactions; `items` and `users`: tables beside them.
        folder: where the settings file will be; paths in it are relative to this.

    Raises:
        DataError: a file cannot be read, or user, item or time is nowhere to be seen.
    """
    table = _Table.open(log, folder)
    guesser = _Guesser(table)
    roles = guesser.roles()
    lines = [
        "# Guessed by `edgerec init`; read each guess and correct it. `edgerec prepare` checks everything.",
        f"name = {_quote(_name_of(log))}",
        'device = "kiosk-x86"                     # see: edgerec devices',
        "",
        "[data]",
        f"interactions = {_quote(table.path)}",
    ]
    lines += [_line(key, guess) for key, guess in roles.items()]
    lines += guesser.where() + guesser.after() + guesser.context() + guesser.split(roles["time"].column)
    lines += guesser.attributes("items", roles["item"].column, _Table.open(items, folder) if items else None)
    lines += guesser.attributes("users", roles["user"].column, _Table.open(users, folder) if users else None)
    lines += guesser.tasks(roles)
    return Settings("\n".join(lines) + "\n", guesser.guesses)


class _Guesser:
    def __init__(self, table: _Table) -> None:
        self.table, self.sample = table, table.sample
        self.left = list(table.sample.columns)
        self.guesses: list[Guess] = []
        self.labels: list[str] = []

    def take(self, role: str, column: str, why: str) -> Guess:
        """Give a column a role; it is no candidate for another one."""
        guess = Guess(role, column, why)
        self.guesses.append(guess)
        if column in self.left:
            self.left.remove(column)
        return guess

    # ------------------------------------------------------------------ roles

    def roles(self) -> dict[str, Guess]:
        """user, item, time, and session if there is one."""
        found = {"time": self._time(), "user": self._id("user", _USER), "item": self._id("item", _ITEM)}
        session = self._named(_SESSION, self.left)
        if session is not None:
            per_session = self.sample.group_by(session).agg(pl.col(found["user"].column).n_unique(), rows=pl.len())
            rows = self.sample.height / per_session.height
            if rows > 1.2:
                found["session"] = self.take("session", session, f"by its name; {rows:.1f} rows share one")
        return {role: found[role] for role in ("user", "item", "time", "session") if role in found}

    def _id(self, role: str, words: tuple[str, ...]) -> Guess:
        column = self._named(words, self.left, _NO_ID)
        if column is not None:
            return self.take(role, column, f"by its name; {self.sample[column].n_unique()} different values")
        candidates = [name for name in self.left if self._may_be_id(name)]
        if not candidates:
            raise DataError(
                f"{self.table.path}: no column looks like the {role} (columns: {', '.join(self.sample.columns)}); "
                f"rename one to {role}_id, or write the settings by hand"
            )
        column = max(candidates, key=lambda name: self.sample[name].n_unique())
        return self.take(role, column, f"no name tells; the most different values ({self.sample[column].n_unique()})")

    def _may_be_id(self, name: str) -> bool:
        column = self.sample[name]
        whole = column.dtype.is_integer() or column.dtype == pl.String
        return whole and 2 <= column.n_unique() <= 0.9 * len(column) and not self._is_flag(name)

    def _time(self) -> Guess:
        readable = {name: note for name in self.left if (note := self._as_time(name))}
        named = [name for name in readable if _words(name).intersection(_TIME)]
        dated = [name for name in readable if self.sample[name].dtype.is_temporal()]
        for candidates, why in ((named, "by its name"), (dated, "by its type")):
            if candidates:
                column = max(candidates, key=lambda name: self.sample[name].n_unique())
                return self.take("time", column, f"{why}; {readable[column]}")
        raise DataError(
            f"{self.table.path}: no column looks like a time (columns: {', '.join(self.sample.columns)}); "
            "rename one to time, or write the settings by hand"
        )

    def _as_time(self, name: str) -> str | None:
        values = self.sample[name].drop_nulls().head(1000)
        if values.is_empty() or values.dtype == pl.Boolean:
            return None
        try:
            return time_ms(pl.col(name), values, "UTC", name)[1]
        except DataError:
            return None

    def _named(self, words: tuple[str, ...], columns: Iterable[str], never: tuple[str, ...] = ()) -> str | None:
        """The column whose name holds the most telling of `words`; one that also says id or code goes first."""
        best: tuple[tuple[int, int], str] | None = None
        for name in columns:
            parts = _words(name)
            hits = [i for i, word in enumerate(words) if word in parts]
            if hits and not parts.intersection(never):
                rank = (0 if parts & {"id", "code", "no", "number"} else 1, hits[0])
                best = min(best, (rank, name)) if best else (rank, name)
        return best[1] if best else None

    # ------------------------------------------------------------------ the rest of [data]

    def where(self) -> list[str]:
        """Returned goods are no purchases."""
        column = self._named(_QUANTITY, self.left)
        if column is None or not self.sample[column].dtype.is_numeric() or not (self.sample[column] <= 0).any():
            return []
        guess = self.take("where", f"{_sql(column)} > 0", "some quantities are not above zero: returns are left out")
        self.left.remove(column)
        return [_line("where", guess)]

    def after(self) -> list[str]:
        """Flags and watch times are known only after the exposure."""
        flags = [name for name in self.left if self._is_flag(name) and _words(name).intersection(_FLAGS)]
        amounts = [name for name in self.left if _words(name).intersection(_WATCH) and self._is_number(name)]
        ratings = [name for name in self.left if _words(name).intersection(_RATING) and self._is_number(name)]
        self.labels = flags + amounts + ratings
        for name in self.labels:
            self.left.remove(name)
        if not self.labels:
            return []
        self.guesses.append(Guess("after", ", ".join(self.labels), "what people did, by names and values"))
        return [
            "# known only after the exposure, so never features: what people did, by names and values",
            _list("after", self.labels),
        ]

    def context(self) -> list[str]:
        """Where and when something was shown."""
        found = [
            name for name in self.left if _words(name).intersection(_CONTEXT) and self.sample[name].n_unique() <= 1000
        ]
        for name in found:
            self.take("context", name, f"by its name; {self.sample[name].n_unique()} different values")
        categorical = f"categorical = {json.dumps(found)}, " if found else ""
        return [f'context = {{ {categorical}from_time = ["hour", "weekday"] }}  # times are taken as UTC; set timezone']

    def split(self, time: str) -> list[str]:
        """Windows that fit the span of the log."""
        values = self.sample[time].drop_nulls().head(1000)
        ms, _ = time_ms(pl.col(time), values, "UTC", time)
        with reading(self.table.path):
            span = self.table.source.frame.select(ms.max() - ms.min()).collect(engine="streaming").item() or 0
        days = span / MS_PER_DAY
        windows = ((120, 1100, "28d"), (28, 120, "7d"), (5, 28, "1d"))
        window = next((text for least, most, text in windows if least <= days < most), None)
        if window is None:
            return [f'split = {{ by = "rows", valid = 0.1, test = 0.1 }}  # tenths of the rows: {days:.0f} days in all']
        return [f'split = {{ by = "time", valid = "{window}", test = "{window}" }}  # the log spans {days:.0f} days']

    # ------------------------------------------------------------------ [data.items], [data.users]

    def attributes(self, section: str, key: str, beside: _Table | None) -> list[str]:
        """Columns of a table beside the log, or columns of the log that hardly change for one item or user."""
        if beside is None:
            table, columns, lines = self.sample, [name for name in self.left if self._belongs_to(name, key)], []
        else:
            table = beside.sample
            id_column = self._id_of(beside, key, _ITEM if section == "items" else _USER)
            columns = [name for name in table.columns if name != id_column]
            lines = [
                f"path = {_quote(beside.path)}",
                _line("id", self.take(f"{section} id", id_column, "matches the log's")),
            ]
        kinds: dict[str, list[str]] = {"text": [], "categorical": [], "numeric": []}
        for name in columns:
            kind = _kind_of(table[name], is_id="id" in _words(name))
            if kind is None or name in self.labels or (section == "users" and kind == "text"):
                continue
            kinds[kind].append(name)
            self.take(f"{section} {kind}", name, _WHY[kind])
        lines += [_list(kind, names) + f"  # {_WHY[kind]}" for kind, names in kinds.items() if names]
        return ["", f"[data.{section}]", *lines] if lines else []

    def _belongs_to(self, name: str, key: str) -> bool:
        if _words(name).intersection({"price", "brand", "category"}):
            return _words(key).intersection(_ITEM) != set()
        groups = (
            self.sample.group_by(key)
            .agg(pl.col(name).drop_nulls().n_unique(), rows=pl.len())
            .filter(pl.col("rows") > 1)
        )
        return groups.height > 1 and groups.filter(pl.col(name) <= 1).height > 0.75 * groups.height

    def _id_of(self, beside: _Table, key: str, words: tuple[str, ...]) -> str:
        if key in beside.sample.columns:
            return key
        column = self._named(words, beside.sample.columns, _NO_ID) or self._named(("id",), beside.sample.columns)
        return column or beside.sample.columns[0]

    # ------------------------------------------------------------------ [[task]]

    def tasks(self, roles: dict[str, Guess]) -> list[str]:
        """One task for each flag and amount, and which item comes next."""
        lines: list[str] = []
        names: set[str] = set()

        def add(name: str, kind: str, why: str, **keys: str) -> None:
            while name in names:
                name += "_"
            names.add(name)
            lines.extend(["", "[[task]]", f"name = {_quote(name)}", f'kind = "{kind}"  # {why}'])
            lines.extend(f"{key} = {value}" for key, value in keys.items())
            self.guesses.append(Guess(f"task {name}", keys.get("label", ""), why))

        flags = [name for name in self.labels if self._is_flag(name) and "hate" not in _words(name)]
        frequent = sorted(flags, key=lambda name: -float(self.sample[name].cast(pl.Float64).mean() or 0))  # type: ignore[arg-type]
        for name in frequent[:MAX_BINARY_TASKS]:
            add(_task_name(name), "binary", "a column of 0 and 1", label=_quote(_sql(name)))
        for name in self.labels:
            if self._is_flag(name):
                continue
            if _words(name).intersection(_RATING):
                liked = round(0.8 * float(self.sample[name].max()), 2)  # type: ignore[arg-type]
                add(
                    "like",
                    "binary",
                    "ratings in the upper fifth of the scale",
                    label=_quote(f"{_sql(name)} >= {liked:g}"),
                )
            else:
                add(_task_name(name), "regression", "an amount, by its name", label=_quote(_sql(name)), clip="0.995")
        click = next((name for name in flags if _words(name).intersection(_CLICK)), None)
        consumed = {"label": _quote(_sql(click))} if click else {}
        add("next", "retrieval", "which item comes next", **consumed)
        user, item = roles["user"].column, roles["item"].column
        pairs = self.sample.drop_nulls([user, item])
        if not click and pairs.select(user, item).n_unique() < 0.9 * pairs.height:
            add("new", "retrieval", "users come back to items, so discovery is a task of its own", repeats='"exclude"')
        if "session" in roles:
            add("related", "related", "items of one session")
        return lines

    def _is_flag(self, name: str) -> bool:
        column = self.sample[name].drop_nulls()
        if column.dtype == pl.Boolean:
            return column.n_unique() == 2
        return bool(
            column.dtype.is_numeric() and column.n_unique() == 2 and column.cast(pl.Float64).is_in([0.0, 1.0]).all()
        )

    def _is_number(self, name: str) -> bool:
        return self.sample[name].dtype.is_numeric() and self.sample[name].n_unique() > 2


_WHY = {
    "text": "words, many different",
    "categorical": "names, or few different numbers",
    "numeric": "numbers, many different",
}


def _kind_of(column: pl.Series, is_id: bool) -> str | None:
    """text, categorical, numeric, or None for what carries nothing or is none of these."""
    values = column.drop_nulls()
    distinct = values.n_unique()
    if distinct < 2:
        return None
    if values.dtype.is_float():
        return "numeric" if distinct > 20 else "categorical"
    if values.dtype.is_integer() or values.dtype == pl.Boolean:
        return "categorical" if is_id or distinct <= 1000 else "numeric"
    if values.dtype != pl.String:
        return None
    many_words = float(values.head(10_000).str.count_matches(r"\s\S").mean() or 0) >= 1  # type: ignore[arg-type]
    return "text" if many_words and distinct > 100 else "categorical" if distinct <= 10_000 else None


def _words(name: str) -> set[str]:
    """Lower-case words of a column's name: "StockCode" and "stock_code" are stock and code."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[a-z]+", spaced.lower())
    return {*words, *(word.removesuffix("id") for word in words if len(word) > 4 and word.endswith("id"))}


def _name_of(log: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", log.name.partition(".")[0]).strip("-") or "log"


def _task_name(column: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", column.lower().removeprefix("is_")).strip("_")
    return name if name[:1].isalpha() else f"task_{name}"


def _sql(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_]\w*", column) else f'"{column}"'


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _line(key: str, guess: Guess) -> str:
    return f"{key} = {_quote(guess.column)}  # {guess.why}"


def _list(key: str, names: list[str]) -> str:
    return f"{key} = {json.dumps(names, ensure_ascii=False)}"
