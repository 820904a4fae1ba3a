"""A delta turns an old bundle into a new one, byte for byte, so that the new hashes and signatures are valid.

It is a folder: delta.json (the old and the new bundle, and which files changed), the new manifest as manifest.new, its
signature as manifest.sig if it has one, and a file NAME.patch for each file that changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgerec.bundle.manifest import MANIFEST, SIGNATURE
from edgerec.bundle.patch import stream_patch
from edgerec.bundle.read import Bundle, open_plain, read_manifest
from edgerec.errors import BundleError, DataError
from edgerec.files import dump_json

if TYPE_CHECKING:
    from edgerec.bundle.sign import PublicKey

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
    from edgerec.bundle.difference import make_patch  # loaded on use: it needs numpy, which a device may lack

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
        "from": {"version": before.manifest.version, "manifest": before.digest},
        "to": {"version": after.manifest.version, "manifest": after.digest},
        "changed": changed,
    }
    (part / DELTA).write_bytes(dump_json(header))
    part.rename(out)
    whole = sum(entry.bytes for entry in after.manifest.files.values())
    return DeltaReport(sum(path.stat().st_size for path in out.iterdir()), whole, tuple(changed))


def apply_delta(
    old: Bundle,
    delta: Path,
    out: Path,
    keys: PublicKey | Sequence[PublicKey] | None = None,
    most_bytes: int | None = None,
) -> None:
    """Write the new bundle's files into the empty folder `out`; the caller verifies them as any bundle.

    The new manifest comes first: its signature, then its sizes; only then is anything unpacked.
    Args:
        keys, most_bytes: see `Bundle.open`.
    Raises:
        BundleError: the delta is damaged, or for another bundle, or what it makes would be refused.
    """
    header = _header(delta)
    if header["from"]["manifest"] != old.digest:
        raise BundleError(
            f"{delta}: is for version {header['from']['version']} of {header['name']!r}, and this is "
            f"{old.manifest.name!r} {old.manifest.version}; take the whole bundle"
        )
    content, manifest = read_manifest(delta, keys, most_bytes, NEW_MANIFEST)
    for name, entry in manifest.files.items():
        if name not in header["changed"]:
            if old.manifest.files.get(name) != entry:
                raise BundleError(f"{delta}: does not tell how to make {name}: {_AGAIN}")
            shutil.copyfile(old.path(name), out / name)
            continue
        place = delta / f"{name}.patch"
        try:
            with (
                old.path(name).open("rb") if name in old.manifest.files else BytesIO() as before,
                open_plain(place) as patch,
                (out / name).open("wb") as made,
            ):
                stream_patch(before, patch, made, entry.bytes)
        except FileNotFoundError:
            raise BundleError(f"{place}: is missing: {_AGAIN}") from None
    (out / MANIFEST).write_bytes(content)
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
