"""CSV and its relatives: separator, quotation marks, encoding and header of a file, and how many lines it has.

A file is read twice: as lines, which no quotation mark can hide, and as rows. Every value is text at first, so an id or
a category is what the file says; `edgerec.data.numbers` makes numbers of the columns that are used as such.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import polars as pl

from edgerec.errors import DataError

__all__ = ["SEPARATORS", "Dialect", "TextTable", "count_lines", "read_text_files"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|", ".dat": None, ".txt": None, ".data": None}
"""Text files by their ending, and the separator that it promises."""
_SNIFFED = ("::", "\t", ";", ",", "|")
_NAMES = {"\t": "tab"}
_SWALLOWED = 3
"""A quoted field with so many lines inside that look like rows has swallowed rows."""


@dataclass(frozen=True)
class Dialect:
    """How text files are written, as far as the settings say it; None is found out.

    Attributes:
        encoding: of the bytes. header: names of the columns of a file without one.
        quote: '"' for fields in quotation marks, "" for marks that are plain characters.
    """

    encoding: str = "utf-8"
    separator: str | None = None
    quote: str | None = None
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """Rows of text files, every column a string.

    Attributes:
        rows: how many rows the lines of the files make.
        notes: what was found out about the files, one sentence each.
        folder: holds UTF-8 copies as long as the frame is used.
    """

    frame: pl.LazyFrame
    rows: int
    notes: tuple[str, ...]
    folder: tempfile.TemporaryDirectory[str] | None = None


def read_text_files(files: Sequence[Path], path: str, suffix: str, dialect: Dialect) -> TextTable:
    """Find out how the files are written, and scan them.

    Args:
        files: with the same ending `suffix`. path: as messages name them.

    Raises:
        DataError: the files cannot be read as `dialect` says, or a quotation mark swallows rows.
    """
    notes: list[str] = []
    files, folder = _as_utf8(files, dialect, notes)
    first = _lines(files[:1]).head(20).collect()["line"].drop_nulls().to_list()
    if not first:
        raise DataError(f"{path}: is empty; expected a header and rows")
    separator = dialect.separator or _separator(first, SEPARATORS[suffix])
    _refuse_first_line(first, separator, path, dialect)
    if separator != SEPARATORS[suffix]:
        notes.append(f"columns are separated by {_NAMES.get(separator, separator)}")
    names = list(dialect.header) or _fields(first[0], separator)
    if not dialect.header and (_are_values(names) or _like_the_rest(names, [_fields(f, separator) for f in first[1:]])):
        raise DataError(
            f"{path}: the first line, {first[0][:60]!r}, holds no names of columns; name them in the settings, beside "
            'the path: header = ["user", "item", ...]; or put a line with names before it'
        )
    table = _Lines(files, path, separator, len(names), dialect)
    quoted = pl.col("line").str.contains('"', literal=True)
    nul = pl.col("line").str.contains("\x00", literal=True)
    longer = ~quoted & (pl.col("line").str.count_matches(separator, literal=True) >= len(names))
    counted = table.lines().select(
        n=pl.len(), quotes=quoted.sum(), nul=nul.sum(), longer=longer.sum(), at=longer.arg_max()
    )
    lines, with_quotes, n_nul, n_longer, at = counted.collect(engine="streaming").row(0)
    if n_nul:
        notes.append(
            f"{n_nul:,} lines hold NUL characters: a value with one is another than the same without; take them out"
        )
    if n_longer:
        notes.append(
            f"{n_longer:,} lines have more fields than there are columns, the first is line {at + 1}; what is behind "
            "the last column is left out"
        )
    rows = lines - (0 if dialect.header else len(files))
    quote = table.quote(notes) if with_quotes and len(names) > 1 and len(separator) == 1 else ""
    frame = table.scan(quote)
    if quote and with_quotes:
        rows -= _inside(frame, path, separator, len(names), notes)
    return TextTable(frame, rows, tuple(notes), folder)


def _refuse_first_line(first: list[str], separator: str, path: str, dialect: Dialect) -> None:
    """Name what stands before or instead of the names of columns, and a header with a name too few."""
    line = first[0].strip()
    if "\r" in line:
        raise DataError(
            f"{path}: its lines end with CR alone, as on old Macs; write it with LF: tr '\\r' '\\n' < OLD > NEW"
        )
    if dialect.header:
        return
    counts = [_count(text, separator) for text in first]
    if re.fullmatch(r'"?sep=.{1,2}', line) or (line.startswith("#") and counts[0] not in counts[1:]):
        raise DataError(
            f"{path}: the first line, {line[:60]!r}, is a remark for a reader; take out the lines before the names of "
            "the columns: tail -n +2 OLD > NEW takes out one"
        )
    rows = [n for text, n in zip(first[1:], counts[1:], strict=True) if not text.rstrip("\r").endswith(separator)]
    if counts[0] > 1 and len(rows) > 1 and set(rows) == {counts[0] + 1}:
        raise DataError(
            f"{path}: the header has {counts[0]} names, but the rows have {counts[0] + 1} fields, such as "
            f"{first[1][:60]!r}; if the first is a number of the row, as R writes it, put a name for it before the "
            f"header's others: row{separator}{first[0][:40]}"
        )


def _count(line: str, separator: str) -> int:
    """How many fields a line has."""
    return re.sub('"[^"]*"', "", line).count(separator) + 1


@dataclass(frozen=True)
class _Lines:
    """Files with one dialect."""

    files: Sequence[Path]
    path: str
    separator: str
    n_columns: int
    dialect: Dialect

    def lines(self) -> pl.LazyFrame:
        """Their lines, headers included."""
        return _lines(self.files)

    def quote(self, notes: list[str]) -> str:
        """Whether quotation marks enclose fields or are plain characters."""
        if self.dialect.quote is not None:
            return self.dialect.quote
        mark = re.escape(self.separator)
        # Quoted fields become one character; a mark that is left, or text behind a closing one, is not well-formed.
        bare = pl.col("line").str.replace_all('""', "", literal=True)
        bare = bare.str.replace_all(f'(^|{mark})"[^"]*"', "${1}\x00")
        odd = bare.str.contains('"', literal=True) | bare.str.contains(f"\x00[^{mark}\r]")
        fits = pl.col("line").str.count_matches(self.separator, literal=True) == self.n_columns - 1
        checked = self.lines().drop_nulls().select(odd=odd.sum(), misfits=(~fits).sum())
        n_odd, misfits = checked.collect(engine="streaming").row(0)
        if not n_odd:
            return '"'
        if not misfits:
            notes.append(f"quotation marks are plain characters: {n_odd:,} lines have marks that enclose no field")
            return ""
        return '"'

    def scan(self, quote: str) -> pl.LazyFrame:
        """The rows; files may have their columns in different orders."""
        headers = {tuple(_fields(_first_line(file), self.separator)) for file in self.files}
        if self.dialect.header or len(headers) == 1:
            return self._scan(list(self.files), quote)
        return pl.concat([self._scan([file], quote) for file in self.files], how="diagonal")

    def _scan(self, files: list[Path], quote: str) -> pl.LazyFrame:
        names = list(self.dialect.header) or None
        if len(self.separator) > 1:
            return self._split(files)
        frame = pl.scan_csv(
            files,
            glob=False,
            infer_schema=False,
            separator=self.separator,
            quote_char=quote or None,
            has_header=names is None,
            new_columns=names,
        )
        if quote:
            return frame
        # Without quoting a field may still stand in marks; a header, too.
        unquoted = (_unquoted(pl.col(name)).alias(name.strip('"')) for name in frame.collect_schema())
        return frame.select(unquoted)

    def _split(self, files: list[Path]) -> pl.LazyFrame:
        """Rows of lines with a separator of several characters."""
        names = list(self.dialect.header) or _fields(_first_line(files[0]), self.separator)
        skip = 0 if self.dialect.header else 1
        parts = pl.col("line").str.split_exact(self.separator, len(names) - 1).struct.rename_fields(names)
        return _lines(files, skip).select(parts).unnest("line")


def _unquoted(text: pl.Expr) -> pl.Expr:
    inner = text.str.slice(1, text.str.len_chars() - 2).str.replace_all('""', '"', literal=True)
    return pl.when(text.str.contains('^".*"$')).then(inner).otherwise(text)


def _lines(files: Sequence[Path], skip: int = 0) -> pl.LazyFrame:
    """Lines as they are: no separator and no quotation mark splits or joins them."""
    frame = pl.scan_csv(
        list(files), glob=False, has_header=False, infer_schema=False, separator="\x1f", quote_char=None,
        new_columns=["line"], skip_lines=skip, truncate_ragged_lines=True,
    )  # fmt: skip
    return frame.select(pl.col("line").str.strip_chars_end("\r"))


def count_lines(files: Sequence[Path]) -> int:
    """Lines that are not blank."""
    line = _lines(files).select(pl.col("line").str.strip_chars())
    return int(line.select((pl.col("line") != "").sum()).collect(engine="streaming").item())


def _first_line(file: Path) -> str:
    return str(_lines([file]).head(1).collect()["line"][0])


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip().strip('"') for field in line.removeprefix("\ufeff").split(separator)]


def _are_values(names: Sequence[str]) -> bool:
    """Are the names of columns rather values: without any letter, or most of them numbers or dates?

    Columns of a vector that are numbered one after another are named.
    """
    digits = [re.sub("[-.:]", "", name) for name in names]
    numbers = [int(text) for text in digits if text.isdecimal()]
    counted = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    lettered = any(re.search(r"[^\W\d]", name) for name in names)
    return not lettered or (2 * len(numbers) > len(names) and not counted)


def _like_the_rest(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Does the first line look as the others do, such as u58, home, 17? Each of its fields stands in its column again,
    or has digits and is built as most fields of its column; and one stands there again or has no letter."""
    whole = [row for row in rows if len(row) == len(names)]
    if len(whole) < 3:
        return False
    columns = list(zip(names, zip(*whole, strict=True), strict=True))

    def alike(name: str, column: Sequence[str]) -> bool:
        built = sum(_built(field) == _built(name) for field in column)
        return name in column or (_has_digit(name) and 2 * built > len(column))

    told = any(name in column or (_has_digit(name) and "a" not in _built(name)) for name, column in columns)
    return told and all(alike(name, column) for name, column in columns)


def _has_digit(text: str) -> bool:
    return re.search(r"\d", text) is not None


def _built(text: str) -> str:
    """How a text is built: one 9 for digits in a row, one a for letters in a row.

    >>> _built("u58"), _built("2024-01-31")
    ('a9', '9-9-9')
    """
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text))


def _separator(lines: list[str], promised: str | None) -> str:
    """The separator that the ending promises if the header has it, otherwise the one that the header has most often."""
    header = lines[0]
    if promised is not None and promised in header:
        return promised
    found = max(_SNIFFED, key=lambda mark: (header.count(mark), -_SNIFFED.index(mark)))
    return found if found in header else promised or ","


def _inside(frame: pl.LazyFrame, path: str, separator: str, n_columns: int, notes: list[str]) -> int:
    """How many line ends are inside quoted fields; refuses a field that holds whole rows."""
    other = f"[^\n{re.escape(separator)}]*"
    row = f"\n{other}" + f"{re.escape(separator)}{other}" * (n_columns - 1)
    ends = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    swallowed = pl.sum_horizontal(pl.all().str.count_matches(row).fill_null(0))
    found = frame.select(ends=ends, swallowed=swallowed).select(
        pl.col("ends").sum(),
        fields=(pl.col("ends") > 0).sum(),
        worst=pl.col("swallowed").max(),
        at=pl.col("swallowed").arg_max(),
    )
    inside, fields, worst, at = found.collect().row(0)
    if worst is not None and worst >= _SWALLOWED:
        raise DataError(
            f"{path}: row {at} (from 0) has a field in quotation marks with {worst:,} rows of the file inside; mend "
            'the opening mark, or set quote = "" in the settings if marks are plain characters'
        )
    if inside:
        notes.append(f"{fields:,} rows have fields of several lines")
    return int(inside or 0)


def _as_utf8(
    files: Sequence[Path], dialect: Dialect, notes: list[str]
) -> tuple[Sequence[Path], tempfile.TemporaryDirectory[str] | None]:
    """The files, or copies in UTF-8 if they are in another encoding."""
    with files[0].open("rb") as stream:
        start = stream.read(4)
    zeros = [i for i, byte in enumerate(start) if not byte]
    if zeros in ([1, 3], [0, 2]):
        dialect = replace(dialect, encoding="utf-16-le" if zeros[0] else "utf-16-be")
        notes.append("the encoding is UTF-16 without a mark at its start, by its zeros")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        dialect = replace(dialect, encoding="utf-16")
        notes.append("the encoding is UTF-16, by its first bytes")
    if dialect.encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig", "ascii"):
        return files, None
    folder = tempfile.TemporaryDirectory(prefix="edgerec-")
    copies = []
    for i, file in enumerate(files):
        if file.suffix == ".zst":
            raise DataError(f"{file}: files in zst must be in UTF-8; unpack it for encoding = {dialect.encoding!r}")
        copy = Path(folder.name) / f"{i:06d}{Path(file.name.removesuffix('.gz')).suffix}"
        try:
            with _opened(file, dialect.encoding) as source, copy.open("w", encoding="utf-8", newline="") as target:
                shutil.copyfileobj(source, target)
        except UnicodeError as error:
            raise DataError(f"{file}: is not in {dialect.encoding}, as encoding in [data] says: {error}") from None
        copies.append(copy)
    return copies, folder


def _opened(file: Path, encoding: str) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding=encoding, newline="")
    return file.open(encoding=encoding, newline="")
