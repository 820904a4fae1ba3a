"""A delta turns an old bundle into a new one, byte for byte, so that the new hashes and signatures are valid.

It is a folder: delta.json (the old and the new bundle, and which files changed), the new manifest as manifest.new, its
signature as manifest.sig if it has one, and a file NAME.patch for each file that changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgerec.bundle.manifest import MANIFEST, SIGNATURE, Manifest, sha256_of
from edgerec.bundle.patch import apply_patch, make_patch
from edgerec.bundle.read import Bundle
from edgerec.errors import BundleError, DataError
from edgerec.files import dump_json

DELTA: Final = "delta.json"
NEW_MANIFEST: Final = "manifest.new"
FORMAT: Final = 1
MAX_BYTES: Final = 1 << 20
"""A longer delta.json, or signature, is refused before it is parsed."""
_AGAIN = "copy the delta again or make it again: edgerec delta OLD NEW"


@dataclass(frozen=True)
class DeltaReport:
    """Bytes of the delta and of the whole new bundle, and the names of the files that changed."""

    bytes: int
    whole: int
    changed: tuple[str, ...]


def make_delta(old: Path, new: Path, out: Path) -> DeltaReport:
    """Write the delta from one bundle to a newer one.

    Raises:
        BundleError: one of them is damaged.
        DataError: they are not two versions of one bundle, or `out` exists.
    """
    before, after = Bundle.open(old), Bundle.open(new)
    if before.manifest.name != after.manifest.name:
        raise DataError(f"{new}: is a bundle {after.manifest.name!r}, but {old} is {before.manifest.name!r}")
    if after.manifest.version <= before.manifest.version:
        raise DataError(
            f"{new}: has version {after.manifest.version}, and a device with {before.manifest.version} accepts only "
            "higher versions; raise `version` in edgerec.toml and run edgerec quantize"
        )
    if out.exists():
        raise DataError(f"{out}: exists; name another folder or remove it")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    changed = []
    for name, entry in after.manifest.files.items():
        if before.manifest.files.get(name) == entry:
            continue
        changed.append(name)
        content = before.path(name).read_bytes() if name in before.manifest.files else b""
        (part / f"{name}.patch").write_bytes(make_patch(content, after.path(name).read_bytes()))
    shutil.copyfile(after.folder / MANIFEST, part / NEW_MANIFEST)
    if (after.folder / SIGNATURE).exists():
        shutil.copyfile(after.folder / SIGNATURE, part / SIGNATURE)
    header = {
        "format": FORMAT,
        "name": after.manifest.name,
        "from": {"version": before.manifest.version, "manifest": sha256_of(before.folder / MANIFEST)},
        "to": {"version": after.manifest.version, "manifest": sha256_of(after.folder / MANIFEST)},
        "changed": changed,
    }
    (part / DELTA).write_bytes(dump_json(header))
    part.rename(out)
    whole = sum(entry.bytes for entry in after.manifest.files.values())
    return DeltaReport(sum(path.stat().st_size for path in out.iterdir()), whole, tuple(changed))


def apply_delta(old: Bundle, delta: Path, out: Path) -> None:
    """Write the new bundle's files into the empty folder `out`; the caller verifies them as any bundle.

    Raises:
        BundleError: the delta is damaged, or for another bundle.
    """
    header = _header(delta)
    if header["from"]["manifest"] != sha256_of(old.folder / MANIFEST):
        raise BundleError(
            f"{delta}: is for version {header['from']['version']} of {header['name']!r}, and this is "
            f"{old.manifest.name!r} {old.manifest.version}; take the whole bundle"
        )
    manifest_bytes = _read(delta / NEW_MANIFEST, 64 * MAX_BYTES)
    manifest = Manifest.parse(manifest_bytes.decode("utf-8", "replace"), str(delta / NEW_MANIFEST))
    for name, entry in manifest.files.items():
        if name not in header["changed"]:
            if old.manifest.files.get(name) != entry:
                raise BundleError(f"{delta}: does not tell how to make {name}: {_AGAIN}")
            shutil.copyfile(old.path(name), out / name)
            continue
        before = old.path(name).read_bytes() if name in old.manifest.files else b""
        patch = _read(delta / f"{name}.patch", 32 * entry.bytes + 4096)
        (out / name).write_bytes(apply_patch(before, patch, entry.bytes))
    (out / MANIFEST).write_bytes(manifest_bytes)
    if (delta / SIGNATURE).exists():
        (out / SIGNATURE).write_bytes(_read(delta / SIGNATURE, MAX_BYTES))


def _header(delta: Path) -> Mapping[str, Any]:
    try:
        value: dict[str, Any] = json.loads(_read(delta / DELTA, MAX_BYTES))
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']!r}")
        strings = (value["name"], value["from"]["manifest"], value["to"]["manifest"], *value["changed"])
        if not all(isinstance(string, str) for string in strings) or not isinstance(value["from"]["version"], int):
            raise ValueError("a wrong type")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{delta / DELTA}: damaged ({error}): {_AGAIN}") from None
    return value


def _read(path: Path, most: int) -> bytes:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > most:
            raise BundleError(f"{path}: missing, a link, or too large: {_AGAIN}")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error
