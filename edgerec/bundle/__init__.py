"""The deployable folder: JSON manifest, ONNX graphs, catalogue, hashes; written atomically, verified before use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgerec.bundle.catalog import Catalog, write_catalog
from edgerec.bundle.manifest import FORMAT, MANIFEST, SIGNATURE, FileEntry, Manifest, TensorEntry, sha256_of
from edgerec.bundle.read import Bundle
from edgerec.files import dump_json

if TYPE_CHECKING:
    from edgerec.bundle.conditions import Condition
    from edgerec.bundle.delta import DeltaReport, apply_delta, make_delta
    from edgerec.bundle.policy import Policy
    from edgerec.bundle.sign import PublicKey, make_keys, public_key_of, require_signature, sign_bundle, signers
    from edgerec.bundle.size import BundleSize, bundle_size
    from edgerec.bundle.write import write_bundle

__all__ = [
    "FORMAT",
    "MANIFEST",
    "SIGNATURE",
    "Bundle",
    "BundleSize",
    "Catalog",
    "Condition",
    "DeltaReport",
    "FileEntry",
    "Manifest",
    "Policy",
    "PublicKey",
    "TensorEntry",
    "apply_delta",
    "bundle_size",
    "dump_json",
    "make_delta",
    "make_keys",
    "public_key_of",
    "require_signature",
    "sha256_of",
    "sign_bundle",
    "signers",
    "write_bundle",
    "write_catalog",
]

# Loaded on use: a device reads bundles, and every module that it need not load is time before the first list.
_LOADED_ON_USE = {
    "conditions": ("Condition",),
    "delta": ("DeltaReport", "apply_delta", "make_delta"),
    "policy": ("Policy",),
    "sign": ("PublicKey", "make_keys", "public_key_of", "require_signature", "sign_bundle", "signers"),
    "size": ("BundleSize", "bundle_size"),
    "write": ("write_bundle",),
}


def __getattr__(name: str) -> Any:
    for module, names in _LOADED_ON_USE.items():
        if name in names:
            return getattr(import_module(f"edgerec.bundle.{module}"), name)
    raise AttributeError(f"module 'edgerec.bundle' has no attribute {name!r}")
