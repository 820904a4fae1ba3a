"""catalog.json: the catalogue in columns, for platforms that have no SQLite; the same items as catalog.sqlite."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edgerec.bundle.catalog import OWN_COLUMNS, Catalog
from edgerec.bundle.columns import Lists, Texts
from edgerec.files import dump_json

COLUMNS: Final = "catalog.json"
FORMAT: Final = 1


def columns_file(catalog: Path) -> bytes:
    """Its content: ids, titles, the indices of unavailable items, and for each attribute a list of numbers, or a list
    of distinct strings (or of lists of strings) and each item's index into it; null and -1 where a value is missing."""
    opened = Catalog(catalog)
    try:
        pairs = [opened.named(i) for i in range(len(opened))]
        return dump_json(
            {
                "format": FORMAT,
                "id": [item for item, _ in pairs],
                "title": [title for _, title in pairs],
                "unavailable": opened.unavailable().tolist(),
                "columns": [_column(opened, name) for name in opened.columns if name not in OWN_COLUMNS],
            }
        )
    finally:
        opened.close()


def _column(catalog: Catalog, name: str) -> dict[str, Any]:
    value = catalog.column(name)
    if isinstance(value, Lists):
        return {"name": name, "lists": [list(cell) for cell in value.values], "codes": value.codes.tolist()}
    if isinstance(value, Texts):
        return {"name": name, "values": list(value.values), "codes": value.codes.tolist()}
    whole = all(v.is_integer() for v in value if v == v)
    return {"name": name, "numbers": [None if v != v else int(v) if whole else v for v in value]}
