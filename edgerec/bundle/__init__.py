"""The deployable folder: JSON manifest, ONNX graphs, catalogue, hashes; written atomically, verified before use."""

from edgerec.bundle.catalog import Catalog, write_catalog
from edgerec.bundle.manifest import FORMAT, FileEntry, Manifest, TensorEntry
from edgerec.bundle.read import Bundle
from edgerec.bundle.write import write_bundle

__all__ = ["FORMAT", "Bundle", "Catalog", "FileEntry", "Manifest", "TensorEntry", "write_bundle", "write_catalog"]
