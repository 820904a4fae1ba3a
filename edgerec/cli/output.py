"""Printing results: an aligned table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import typer

__all__ = ["format_table", "print_json", "print_table"]


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


def format_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned by two spaces: numbers to the right, everything else to the left.

    >>> print(format_table(["item", "score"], [["mug", 0.5], ["lantern", 12.25]]))
    item     score
    -------  -----
    mug        0.5
    lantern  12.25
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(columns)]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]

    def line(values: Sequence[str]) -> str:
        placed = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "  ".join(placed).rstrip()

    return "\n".join([line(columns), "  ".join("-" * w for w in widths), *map(line, cells)])


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print `rows` under `columns` on standard output, with the title above if there is one."""
    if title:
        typer.echo(f"\n{title}")
    typer.echo(format_table(columns, rows))
