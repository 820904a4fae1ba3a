"""The deployable folder: JSON manifest, ONNX graphs, catalogue, hashes; written atomically, verified before use."""

from edgerec.bundle.catalog import Catalog, write_catalog
from edgerec.bundle.manifest import FORMAT, MANIFEST, FileEntry, Manifest, TensorEntry, dump_json
from edgerec.bundle.read import Bundle
from edgerec.bundle.write import write_bundle

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
