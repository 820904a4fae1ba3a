"""catalog.json: the catalogue in columns, for platforms that have no SQLite; the same items as catalog.sqlite."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from edgerec.bundle.catalog import OWN_COLUMNS, Catalog
from edgerec.bundle.columns import Texts
from edgerec.files import dump_json

COLUMNS: Final = "catalog.json"
FORMAT: Final = 1


def columns_file(catalog: Path) -> bytes:
    """Its content: ids, titles, indices that are not available, and a list of numbers, or of distinct texts and codes,
    for each attribute; null and -1 where a value is missing."""
    found = Catalog(catalog)
    try:
        pairs = [found.named(i) for i in range(len(found))]
        return dump_json(
            {
                "format": FORMAT,
                "id": [item for item, _ in pairs],
                "title": [title for _, title in pairs],
                "unavailable": found.unavailable().tolist(),
                "columns": [_column(found, name) for name in found.columns if name not in OWN_COLUMNS],
            }
        )
    finally:
        found.close()


def _column(catalog: Catalog, name: str) -> dict[str, Any]:
    value = catalog.column(name)
    if isinstance(value, Texts):
        return {"name": name, "values": list(value.values), "codes": value.codes.tolist()}
    whole = all(v.is_integer() for v in value[np.isfinite(value)].tolist())
    return {"name": name, "numbers": [None if np.isnan(v) else int(v) if whole else v for v in value.tolist()]}
