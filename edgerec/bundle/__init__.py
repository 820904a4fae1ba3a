"""The deployable folder: JSON manifest, ONNX graphs, catalogue, hashes; written atomically, verified before use."""

from typing import Any

from edgerec.bundle.catalog import Catalog, write_catalog
from edgerec.bundle.manifest import FORMAT, MANIFEST, FileEntry, Manifest, TensorEntry
from edgerec.bundle.read import Bundle
from edgerec.files import dump_json

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Bundle",
    "Catalog",
    "FileEntry",
    "Manifest",
    "TensorEntry",
    "dump_json",
    "write_bundle",
    "write_catalog",
]


def __getattr__(name: str) -> Any:
    # Loaded on use: a device reads bundles, and every module that it need not load is time before the first list.
    if name == "write_bundle":
        from edgerec.bundle.write import write_bundle

        return write_bundle
    raise AttributeError(name)
