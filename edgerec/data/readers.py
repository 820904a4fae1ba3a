"""CSV, Parquet and JSONL files as lazy frames, and SQL expressions over their rows."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from edgerec.config import nearest
from edgerec.errors import DataError

__all__ = ["Source", "files_of", "hash_files", "reading", "sql"]

_CSV = {".csv": ",", ".tsv": "\t"}
_JSON = {".jsonl", ".ndjson"}
_PARQUET = {".parquet", ".pq"}


@dataclass(frozen=True)
class Source:
    """A table on disk that is read when needed.

    Attributes:
        path: as the settings name it, for messages; a glob may stand for many files.
        frame: all rows, lazily, files in the order of their names.
    """

    path: str
    frame: pl.LazyFrame

    @classmethod
    def open(cls, path: str, as_text: Iterable[str] = ()) -> Source:
        """Find the files and look at their columns.

        Args:
            path: one file, or a glob.
            as_text: expressions whose columns are read as strings from CSV, so that an id "007" keeps its zeros.

        Raises:
            DataError: the file is missing, empty or of an unknown kind.
        """
        text = [name for expression in as_text for name in _columns_in(expression)]
        with reading(path):
            source = cls(path, _scan(files_of(path), dict.fromkeys(text, pl.String())))
            if not source.schema:
                raise DataError(f"{path}: is empty; expected a header and rows")
        return source

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
        parsed = sql(text, what)
        for name in parsed.meta.root_names():
            if name not in self.schema:
                close = nearest(name, self.schema)
                hint = f"did you mean {close!r}?" if close else f"its columns are {', '.join(self.schema)}"
                raise DataError(f"{self.path}: {what} = {text!r}: there is no column {name!r}; {hint}")
        try:
            dtype = self.frame.select(parsed.alias("_")).collect_schema()["_"]
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path}: {what} = {text!r}: {_first_line(error)}") from None
        return parsed, dtype


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


def files_of(path: str) -> list[Path]:
    """The files that a path or glob matches, by name.

    Raises:
        DataError: it matches none.
    """
    if Path(path).is_file():
        return [Path(path)]
    files = sorted(Path(name) for name in glob.glob(path) if Path(name).is_file())
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


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn errors of Polars and of the system into a DataError that names the file."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: is empty; expected a header and rows") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {_first_line(error)}") from None


def _scan(files: list[Path], text: dict[str, pl.DataType]) -> pl.LazyFrame:
    name = files[0].name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    if any(file.stat().st_size == 0 for file in files):
        raise DataError(f"{next(f for f in files if f.stat().st_size == 0)}: is empty; expected a header and rows")
    if suffix in _PARQUET:
        return pl.scan_parquet(files, glob=False)
    if suffix in _JSON:
        return pl.scan_ndjson(files, infer_schema_length=10_000)
    if suffix in _CSV:
        return pl.scan_csv(files, separator=_CSV[suffix], glob=False, schema_overrides=text, infer_schema_length=10_000)
    raise DataError(f"{files[0]}: expected a .csv, .tsv, .parquet, .jsonl or .ndjson file, got {suffix or 'no ending'}")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
