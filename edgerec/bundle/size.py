"""How large a bundle is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CATALOG = "catalog.sqlite"
WEIGHTS = "weights.bin"
STUDENT = "student.bin"
"""The student for the native engine; a bundle without it has graphs only."""


class BundleSize(NamedTuple):
    """Bytes of a bundle's files.

    Attributes:
        model: graphs and weights, and the engine's student.bin: all that is needed to score.
        catalog: catalog.sqlite, which shops fill as they like.
        total: all files, the manifest and its signature too.
    """

    model: int
    catalog: int
    total: int

    @property
    def without_catalog(self) -> int:
        """What a device's budget limits."""
        return self.total - self.catalog

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> BundleSize:
        """From the bytes of each file, by its name.

        >>> BundleSize.of({"score.onnx": 20, "weights.bin": 70, "catalog.sqlite": 8, "policy.json": 2})
        BundleSize(model=90, catalog=8, total=100)
        """
        model = sum(size for name, size in sizes.items() if name.endswith(".onnx") or name in (WEIGHTS, STUDENT))
        return cls(model, sizes.get(CATALOG, 0), sum(sizes.values()))


def bundle_size(folder: Path) -> BundleSize:
    """The size of the bundle in a folder, or of what is written of it so far."""
    return BundleSize.of({path.name: path.stat().st_size for path in folder.iterdir()})
