"""Does a graph point outside its bundle? Asked before any engine loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

WEIGHTS: Final = "weights.bin"
_NAMED: Final = b"location"
_CANONICAL: Final = b"\x0a\x08location\x12" + bytes([len(WEIGHTS)]) + WEIGHTS.encode()


def check_external(path: Path) -> None:
    """Refuse a graph whose constants lie anywhere but in the bundle's weights.bin.

    Raises:
        BundleError: it points elsewhere, or is not an ONNX file.
    """
    content = path.read_bytes()
    # Our own graphs always write it in this form, so counting is enough; anything else is read as a whole.
    if content.count(_NAMED) != content.count(_CANONICAL):
        from edgerec.runtime.onnx_file import read_graph

        read_graph(path)
