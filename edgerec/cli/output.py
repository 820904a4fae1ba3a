"""Printing results: an aligned table for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

import typer

__all__ = ["format_table", "print_json", "print_lines", "print_table"]

GAP, LONGEST_WORD = "  ", 24
"""Between columns; and the longest word that keeps a column wide."""


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output; with escapes where that does not take all characters."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not encoding.startswith("utf")))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or value is None


def format_table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Columns aligned by two spaces: numbers to the right, everything else to the left.

    Args:
        width: characters of a line. A table that is wider has cells of several lines; where that is not enough, its
            last columns follow below, each part with the first column.

    >>> print(format_table(["item", "score"], [["mug", 0.5], ["lantern", 12.25]]))
    item     score
    -------  -----
    mug        0.5
    lantern  12.25
    >>> print(format_table(["item", "because of"], [["lantern", "tea light holder"]], width=20))
    item     because of
    -------  -----------
    lantern  tea light
             holder
    """
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    wide = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(columns)]
    least = [
        w if r else min(w, max(_longest_word(text) for text in (title, *(row[i] for row in cells))))
        for i, (title, w, r) in enumerate(zip(columns, wide, right, strict=True))
    ]
    parts = []
    for shown in _parts(least, width):
        widths = _narrowed([wide[i] for i in shown], [least[i] for i in shown], width)
        lines = [*_lines([columns[i] for i in shown], widths, [right[i] for i in shown])]
        lines.append(GAP.join("-" * w for w in widths))
        for row in cells:
            lines += _lines([row[i] for i in shown], widths, [right[i] for i in shown])
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _longest_word(text: str) -> int:
    return min(max(map(len, text.split() or [""])), LONGEST_WORD)


def _parts(least: Sequence[int], width: int | None) -> list[list[int]]:
    """The columns of each part of a table, so that each part can be made to fit."""
    parts: list[list[int]] = [[]]
    for i, column in enumerate(least):
        taken = sum(least[j] + len(GAP) for j in parts[-1])
        if width is not None and len(parts[-1]) > 1 and taken + column > width:
            parts.append([0])
        parts[-1].append(i)
    return parts


def _narrowed(wide: Sequence[int], least: Sequence[int], width: int | None) -> list[int]:
    """Widths that fit: the widest column that may be narrower is narrowed first."""
    widths = list(wide)
    while width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        open_ = [i for i, least_ in enumerate(least) if widths[i] > least_]
        if not open_:
            break
        widths[max(open_, key=lambda i: widths[i])] -= 1
    return widths


def _lines(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """A row, on as many lines as its longest cell needs."""
    wrapped = [
        textwrap.wrap(value, w, break_on_hyphens=False) or [""] if len(value) > w else [value]
        for value, w in zip(values, widths, strict=True)
    ]
    lines = []
    for at in range(max(map(len, wrapped), default=0)):
        texts = (cell[at] if at < len(cell) else "" for cell in wrapped)
        placed = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True))
        lines.append(GAP.join(placed).rstrip())
    return lines


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print `rows` under `columns` on standard output, as wide as the terminal, with the title above if there is one.

    Where there is no terminal, lines have at most 80 characters, or as many as COLUMNS says.
    """
    width = shutil.get_terminal_size().columns
    if title:
        typer.echo("\n" + "\n".join(textwrap.wrap(title, width, break_on_hyphens=False)))
    typer.echo(format_table(columns, rows, width))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, as wide as the terminal; what does not fit goes on below, further to the right."""
    width = shutil.get_terminal_size().columns
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        goes_on = f"{indent}    "
        words = textwrap.wrap(line, width, subsequent_indent=goes_on, break_on_hyphens=False, break_long_words=False)
        typer.echo("\n".join(words) or line)
