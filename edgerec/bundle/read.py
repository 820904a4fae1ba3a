"""Open a bundle: everything is checked before anything is loaded."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec.bundle.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest, previous_of, sha256_of
from edgerec.errors import BundleError

SIMILAR = "similar.onnx"
"""The graph that a related task makes."""
_AGAIN = "copy the bundle again or build it again"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: absolute; every path inside it was checked when the bundle was opened.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Verify the bundle in `folder`: format, names, links, list of files, sizes and hashes.

        If a replacement stopped between its two renames (see `write_bundle`), the old bundle is opened where it was
        moved to.
        Raises:
            BundleError: a file is missing, damaged, unexpected or unsafe.
        """
        home = Path(folder).absolute()
        if not home.exists() and previous_of(home).exists():
            home = previous_of(home)
        manifest = Manifest.read(home)
        _check_listing(home, manifest)
        for name, entry in manifest.files.items():
            _check_file(home / name, entry)
        return cls(home, manifest)

    def path(self, name: str) -> Path:
        """Path of a listed file.

        Raises:
            BundleError: the bundle has no such file.
        """
        if name not in self.manifest.files:
            without = f"has no {name}; build it again"
            raise BundleError(f"{self.folder}: this bundle {self._unrelated() if name == SIMILAR else without}")
        return self.folder / name

    def _unrelated(self) -> str:
        """Why nothing is similar to an item here, and what to add to the settings."""
        session = self.manifest.settings.get("data", {}).get("session")
        column = "" if session else " and session = COLUMN to [data] (a basket or list that rows share)"
        return (
            'was built without a related task; add [[task]] name = "related", kind = "related" to the settings'
            f"{column}, and run it again"
        )

    def json(self, name: str) -> dict[str, Any]:
        """A listed JSON file.

        Raises:
            BundleError: no such file, or not a JSON object.
        """
        path = self.path(name)
        try:
            value = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path}: not valid JSON ({error}): {_AGAIN}") from error
        if not isinstance(value, dict):
            raise BundleError(f"{path}: must hold a JSON object: {_AGAIN}")
        return value


def _check_listing(home: Path, manifest: Manifest) -> None:
    present = {entry.name for entry in home.iterdir()} - {MANIFEST, SIGNATURE}
    for name in sorted(present - set(manifest.files)):
        raise BundleError(f"{home / name}: not listed in {MANIFEST}; remove it or {_AGAIN}")
    for name in sorted(set(manifest.files) - present):
        raise BundleError(f"{home / name}: listed in {MANIFEST} but missing: {_AGAIN}")


def _check_file(path: Path, entry: FileEntry) -> None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: a bundle holds plain files only, no links or folders: {_AGAIN}")
        if status.st_size != entry.bytes:
            raise BundleError(f"{path}: {status.st_size} bytes, expected {entry.bytes}: {_AGAIN}")
        digest = sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error
    if digest != entry.sha256:
        raise BundleError(f"{path}: damaged (sha256 {digest[:12]}..., expected {entry.sha256[:12]}...): {_AGAIN}")
