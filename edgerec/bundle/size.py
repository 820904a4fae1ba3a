"""How large a bundle is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["bundle_model_bytes", "model_bytes"]


def model_bytes(sizes: Mapping[str, int]) -> int:
    """Of files with these names and sizes, the graphs and their weights."""
    return sum(size for name, size in sizes.items() if name.endswith(".onnx") or name == "weights.bin")


def bundle_model_bytes(folder: Path) -> int:
    """`model_bytes` of the bundle in a folder."""
    return model_bytes({path.name: path.stat().st_size for path in folder.iterdir()})
