"""Tables on disk as lazy frames, and SQL expressions over their rows.

Text files (CSV and its relatives), Parquet and JSONL; one file, a glob, or a folder, whose parts "key=value" are
columns.
"""

from __future__ import annotations

import glob
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from edgerec.config import DataConfig, ItemsConfig, UsersConfig, nearest
from edgerec.data.numbers import Decimal, number_of, plain_number_of, truth_of
from edgerec.data.text_files import SEPARATORS, Dialect, count_lines, read_text_files
from edgerec.errors import DataError

__all__ = ["PLAIN", "Reading", "Source", "files_of", "hash_files", "reading", "sql"]

_JSON = {".jsonl", ".ndjson"}
_PARQUET = {".parquet", ".pq"}
_PACKED = (".gz", ".zst")
_MOSTLY, _HALF = 0.9, 0.5
"""The part of a column's values that are numbers if it is a column of numbers: in an SQL expression, and by itself."""


@dataclass(frozen=True)
class Reading:
    """How tables are read, as far as the settings say it.

    Attributes:
        missing: words that stand for no value.
    """

    dialect: Dialect = field(default_factory=Dialect)
    decimal: Decimal = "."
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: DataConfig, table: ItemsConfig | UsersConfig | None = None) -> Reading:
        """For the log, or for a table beside it."""
        own = data if table is None else table
        return cls(Dialect(data.encoding, own.separator, data.quote, own.header), data.decimal, data.missing)

    def beside(self) -> Reading:
        """The same for another table, which may have other separators and a header."""
        return replace(self, dialect=Dialect(self.dialect.encoding))


PLAIN = Reading()
"""Without any setting."""


@dataclass(frozen=True)
class Source:
    """A table on disk that is read when needed.

    Attributes:
        path: as the settings name it, for messages; it may stand for many files.
        frame: all rows, lazily, files in the order of their names. A field b of a column a is a column "a.b", too.
        how: how it is read.
        as_text: are all columns strings because the files do not tell types?
        rows: how many rows the files have, counted without parsing them; None if that is not possible.
        notes: what was found out about the files, one sentence each.
        numbers: for `with_numbers`, its columns from those of the files.
    """

    path: str
    frame: pl.LazyFrame
    how: Reading = PLAIN
    as_text: bool = False
    rows: int | None = None
    notes: tuple[str, ...] = ()
    numbers: dict[str, pl.Expr] = field(default_factory=dict, repr=False)
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str, how: Reading = PLAIN) -> Source:
        """Find the files and look at their columns.

        Args:
            path: one file, a folder, or a glob.

        Raises:
            DataError: the file is missing, empty or of an unknown kind.
        """
        with reading(path):
            source = _scan(files_of(path), path, how)
            if not source.schema:
                raise DataError(f"{path}: is empty; expected a header and rows")
            fields = [
                pl.col(name).struct.field(inner.name).alias(f"{name}.{inner.name}")
                for name, dtype in source.schema.items()
                if isinstance(dtype, pl.Struct)
                for inner in dtype.fields
            ]
            frame = source.frame.with_columns(fields) if fields else source.frame
            if how.missing:
                text = pl.col(pl.String)
                frame = frame.with_columns(pl.when(~text.str.strip_chars().is_in(how.missing)).then(text))
            return replace(source, frame=frame)

    @cached_property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        with reading(self.path):
            return self.frame.collect_schema()

    def expression(self, text: str, what: str) -> tuple[pl.Expr, pl.DataType]:
        """A column of this table or an SQL expression over its rows, and its type.

        Args:
            what: the settings key that uses it, such as ``[data] user``.

        Raises:
            DataError: a column is missing, or the expression is not valid over these columns.
        """
        if text in self.schema:
            return pl.col(text), self.schema[text]
        # A name such as "user" is a word of SQL, too.
        parsed = pl.col(text) if text.isidentifier() else sql(text, what)
        for name in parsed.meta.root_names():
            if name not in self.schema:
                close = nearest(name, self.schema)
                hint = f"did you mean {close!r}?" if close else f"its columns are {', '.join(self.schema)}"
                if self.as_text and not close:
                    hint += "; if the file has no header, name its columns: header = [...]"
                raise DataError(f"{self.path}: {what} = {text!r}: there is no column {name!r}; {hint}")
        try:
            dtype = self.frame.select(parsed.alias("_")).collect_schema()["_"]
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path}: {what} = {text!r}: {_first_line(error)}") from None
        return parsed, dtype

    def with_numbers(self, expressions: Iterable[str]) -> tuple[Source, list[str]]:
        """This table with numbers and booleans in the columns that expressions use, decided over all of their rows.

        Only text files are changed: other formats tell their types. A column is of numbers if most of its values are;
        the others count as missing.

        Returns:
            The table, and how many values of a column are missing because they are no numbers.
        """
        if not self.as_text:
            return self, []
        expressions = list(expressions)
        used = {name for text in expressions for name in _columns_in(text) if name in self.schema}
        names = sorted(name for name in used if not any(_is_compared_with_text(name, text) for text in expressions))
        kinds, notes = {}, []
        for name, found in self.numbers_in(names).items():
            if found.truths == found.given and found.given:
                kinds[name] = truth_of(pl.col(name))
            elif found.given and found.numbers >= (_HALF if name in expressions else _MOSTLY) * found.given:
                number = (plain_number_of if found.plain else number_of)(pl.col(name), self.how.decimal)
                kinds[name] = number.cast(pl.Int64) if found.whole else number
                notes += found.note(self.path, name)
        return replace(self, frame=self.frame.with_columns(**kinds), as_text=False, numbers=kinds), notes

    def number(self, name: str, what: str) -> pl.Expr:
        """A column as numbers, whether the file has it as such or as text."""
        column, dtype = self.expression(name, what)
        return number_of(column, self.how.decimal) if dtype == pl.String else column

    def numbers_in(self, names: Sequence[str]) -> dict[str, NumbersFound]:
        """How many values of columns of strings are numbers, by column, counted over all rows."""
        plain = self._numbers_in(names, plain=True)
        others = [name for name, found in plain.items() if found.numbers < found.given]
        return plain | self._numbers_in(others, plain=False)

    def _numbers_in(self, names: Sequence[str], plain: bool) -> dict[str, NumbersFound]:
        if not names:
            return {}
        counts: dict[str, pl.Expr] = {}
        for name in names:
            text = pl.col(name)
            if not plain:
                stripped = text.str.strip_chars()
                text = pl.when((stripped != "") & (stripped.str.to_lowercase() != "nan")).then(stripped)
            number = (plain_number_of if plain else number_of)(text, self.how.decimal)
            counts[f"given {name}"] = text.count()
            counts[f"numbers {name}"] = number.count()
            counts[f"whole {name}"] = ((number == number.round()) & (number.abs() < 2**53)).all()
            counts[f"truths {name}"] = pl.lit(0) if plain else truth_of(text).count()
            counts[f"odd {name}"] = text.filter(number.is_null() & text.is_not_null()).first()
        with reading(self.path):
            row = self.frame.select(**counts).collect(engine="streaming").row(0, named=True)
        keys = ("given", "numbers", "whole", "truths", "odd")
        return {name: NumbersFound(**{key: row[f"{key} {name}"] for key in keys}, plain=plain) for name in names}


@dataclass(frozen=True)
class NumbersFound:
    """What a column of strings holds.

    Attributes:
        given, numbers, truths: how many values there are, how many are numbers, how many are true or false.
        whole: have all numbers no fraction? odd: the first value that is no number. plain: are all digits alone?
    """

    given: int
    numbers: int
    whole: bool
    truths: int
    odd: str | None
    plain: bool

    def note(self, path: str, name: str) -> list[str]:
        """A sentence about values that are no numbers, if there are any."""
        others = self.given - self.numbers
        if not others:
            return []
        return [
            f"{path}: {others:,} of {self.given:,} values of {name!r} are no numbers, such as {self.odd!r}; they count "
            "as missing"
        ]


def sql(text: str, what: str) -> pl.Expr:
    """Parse an SQL expression; a plain word is a column.

    Raises:
        DataError: `text` is not an SQL expression.
    """
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{what}: {text!r} is neither a column nor SQL: {_first_line(error)}") from None


def _columns_in(expression: str) -> list[str]:
    """Columns that an expression may read; its whole text, too, since a column may be named like an SQL keyword
    ("user")."""
    try:
        return [expression, *pl.sql_expr(expression).meta.root_names()]
    except pl.exceptions.PolarsError:
        return [expression]


def _is_compared_with_text(column: str, expression: str) -> bool:
    """Is a column compared with a string in SQL, such as in ``code = '01'``? Then it is one, whatever it looks like."""
    compared = rf"""(?i)\b{re.escape(column)}["`]?\s*(?:[=<>!]+|(?:not\s+)?(?:in|like|ilike)\b)\s*\(?\s*'"""
    return re.search(compared, expression) is not None


def files_of(path: str) -> list[Path]:
    """The files that a path or glob matches, by name; of a folder those in all of its folders that hold rows.

    Raises:
        DataError: it matches none.
    """
    if Path(path).is_file():
        return [Path(path)]
    found = [Path(name) for name in glob.glob(path)]
    inside = [file for folder in found if folder.is_dir() for file in folder.rglob("*") if _holds_rows(file, folder)]
    files = sorted([file for file in found if file.is_file()] + inside)
    if not files:
        raise DataError(f"{path}: no such file; paths in the settings are relative to the settings file")
    return files


def hash_files(paths: Iterable[str]) -> str:
    """SHA-256 over the contents of all files that `paths` match; file names do not matter."""
    total = hashlib.sha256()
    for path in paths:
        for file in files_of(path):
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _holds_rows(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    return not hidden and _suffix(file) in {*SEPARATORS, *_JSON, *_PARQUET} and file.is_file()


def _suffix(file: Path) -> str:
    name = file.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn errors of Polars and of the system into a DataError that names the file."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: is empty; expected a header and rows") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        line = _first_line(error)
        if "utf-8" in line.lower() or "utf8" in line.lower():
            line = 'it is not in UTF-8; name its encoding in [data], such as encoding = "cp1252"'
        elif "could not parse" in line:
            line += '; if quotation marks in the file are plain characters, set quote = "" in [data]'
        raise DataError(f"{path}: cannot be read: {line}") from None


def _scan(files: list[Path], path: str, how: Reading) -> Source:
    suffixes = {_suffix(file) for file in files}
    if len(suffixes) > 1:
        raise DataError(
            f"{path}: has files of several kinds ({', '.join(sorted(suffixes))}); name those of one by a glob"
        )
    if empty := next((file for file in files if file.stat().st_size == 0), None):
        raise DataError(f"{empty}: is empty; expected a header and rows")
    suffix = suffixes.pop()
    if suffix in SEPARATORS:
        table = read_text_files(files, path, suffix, how.dialect)
        return Source(path, table.frame, how, True, table.rows, table.notes, _folder=table.folder)
    if suffix in _PARQUET:
        frame = _parquet(files)
        return Source(path, frame, how, rows=frame.select(pl.len()).collect().item())
    if suffix in _JSON:
        # All lines tell the types: a field that is null at first, or a whole number, may be another one later.
        parts = [pl.scan_ndjson(file, infer_schema_length=None) for file in files]
        frame = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")
        return Source(path, frame, how, rows=count_lines(files))
    hint = "; write one object of the array a line, as .jsonl" if suffix == ".json" else ""
    raise DataError(
        f"{files[0]}: expected a .csv, .tsv, .dat, .txt, .parquet, .jsonl or .ndjson file, "
        f"got {suffix or 'no ending'}{hint}"
    )


def _parquet(files: list[Path]) -> pl.LazyFrame:
    """Parquet files; parts "key=value" of their paths are columns of strings, as ids and categories are."""
    keys = {part.partition("=")[0] for part in files[0].parts[:-1] if "=" in part}
    schemas = {tuple(pl.read_parquet_schema(file).items()) for file in files}
    hive = pl.Schema(dict.fromkeys(sorted(keys), pl.String())) if keys else None

    def scan(some: list[Path]) -> pl.LazyFrame:
        return pl.scan_parquet(some, glob=False, hive_partitioning=bool(keys), hive_schema=hive)

    return scan(files) if len(schemas) == 1 else pl.concat([scan([file]) for file in files], how="diagonal_relaxed")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
