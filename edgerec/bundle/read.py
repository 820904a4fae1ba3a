"""Open a bundle: everything is checked before anything is loaded, and what is loaded is what was checked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from edgerec.bundle.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest, manifest_bytes, previous_of
from edgerec.errors import BundleError

if TYPE_CHECKING:
    from edgerec.bundle.sign import PublicKey

SIMILAR = "similar.onnx"
"""The graph that a related task makes."""
_AGAIN = "copy the bundle again or build it again"
_LEFT_BY_SYSTEMS: Final = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in a folder that somebody looked at; nothing loads it. So do names that begin with "._"."""
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: absolute; every path inside it was checked when the bundle was opened.
        manifest_bytes: the content of manifest.json that was verified and parsed.
    """

    folder: Path
    manifest: Manifest
    manifest_bytes: bytes = field(repr=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        keys: PublicKey | Sequence[PublicKey] | None = None,
        most_bytes: int | None = None,
    ) -> Bundle:
        """Verify the bundle in `folder`: signature, format, names, links, list of files, sizes and hashes.

        If a replacement stopped between its two renames (see `write_bundle`), the old bundle is opened where it was
        moved to.
        Args:
            keys: one of them must have signed it; None: a signature is not looked at.
            most_bytes: of all files together; None: no limit.
        Raises:
            BundleError: a file is missing, damaged, unexpected or unsafe.
        """
        home = Path(folder).absolute()
        if not home.exists() and previous_of(home).exists():
            home = previous_of(home)
        content, manifest = read_manifest(home, keys, most_bytes)
        _check_listing(home, manifest)
        for name, entry in manifest.files.items():
            _check_file(home / name, entry)
        return cls(home, manifest, content)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest as hex, which stands for the whole bundle."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    def path(self, name: str) -> Path:
        """Path of a listed file; what lies there may have changed since it was verified, see `read`.

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

    def read(self, name: str) -> bytes:
        """The content of a listed file, verified: what was exchanged since the bundle was opened is refused.

        Raises:
            BundleError: no such file, or it has changed.
        """
        path, entry = self.path(name), self.manifest.files[name]
        try:
            with open_plain(path) as file:
                content = file.read(entry.bytes + 1)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error
        if len(content) != entry.bytes:
            raise BundleError(f"{path}: {len(content)} bytes, expected {entry.bytes}: {_AGAIN}")
        _check_digest(path, hashlib.sha256(content).hexdigest(), entry)
        return content

    def json(self, name: str) -> dict[str, Any]:
        """A listed JSON file.

        Raises:
            BundleError: no such file, or not a JSON object.
        """
        path = self.path(name)
        try:
            value = json.loads(self.read(name))
        except BundleError:
            raise
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path}: not valid JSON ({error}): {_AGAIN}") from error
        if not isinstance(value, dict):
            raise BundleError(f"{path}: must hold a JSON object: {_AGAIN}")
        return value


def read_manifest(
    home: Path,
    keys: PublicKey | Sequence[PublicKey] | None,
    most_bytes: int | None,
    name: str = MANIFEST,
) -> tuple[bytes, Manifest]:
    """A manifest's content and what it says: read once, its signature verified before it is parsed, then its sizes.

    Args:
        name: of the manifest's file; the others as in `Bundle.open`.
    Raises:
        BundleError: see there.
    """
    content = manifest_bytes(home / name)
    if keys is not None:
        from edgerec.bundle.sign import require_signature

        require_signature(home, keys, content)
    manifest = Manifest.parse(content, str(home / name))
    whole = sum(entry.bytes for entry in manifest.files.values())
    if most_bytes is not None and whole > most_bytes:
        raise BundleError(
            f"{home}: its files have {whole} bytes, and this device takes at most {most_bytes}; build a smaller bundle"
        )
    return content, manifest


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        BundleError: it is a link, a folder or a device.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError(f"{path}: a bundle holds plain files only, no links or folders: {_AGAIN}")
    return os.fdopen(descriptor, "rb")


def _check_listing(home: Path, manifest: Manifest) -> None:
    present = {entry.name for entry in home.iterdir()} - {MANIFEST, SIGNATURE}
    for name in sorted(present - set(manifest.files)):
        if not (name in _LEFT_BY_SYSTEMS or name.startswith("._")):
            raise BundleError(f"{home / name}: not listed in {MANIFEST}; remove it or {_AGAIN}")
    for name in sorted(set(manifest.files) - present):
        raise BundleError(f"{home / name}: listed in {MANIFEST} but missing: {_AGAIN}")


def _check_file(path: Path, entry: FileEntry) -> None:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"{path}: a bundle holds plain files only, no links or folders: {_AGAIN}")
        digest = hashlib.sha256()
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.bytes:
                raise BundleError(f"{path}: {size} bytes, expected {entry.bytes}: {_AGAIN}")
            left = entry.bytes
            while left and (part := file.read(min(left, _AT_ONCE))):
                digest.update(part)
                left -= len(part)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error
    _check_digest(path, digest.hexdigest(), entry)


def _check_digest(path: Path, digest: str, entry: FileEntry) -> None:
    if digest != entry.sha256:
        raise BundleError(f"{path}: damaged (sha256 {digest[:12]}..., expected {entry.sha256[:12]}...): {_AGAIN}")
