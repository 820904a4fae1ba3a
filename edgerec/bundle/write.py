"""Write a bundle: beside the old one, flushed to the disk, then swapped in by renames."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgerec.bundle.manifest import FORMAT, MANIFEST, Manifest, check_name, previous_of, sha256_of
from edgerec.errors import BundleError
from edgerec.files import dump_json


def write_bundle(folder: str | Path, files: Mapping[str, bytes | Path], manifest: Mapping[str, Any]) -> None:
    """Write `files` and their manifest as the bundle `folder`, replacing an older bundle whole or not at all.

    Everything is first written and flushed in a folder beside it. The swap is two renames; if a process dies between
    them, `Bundle.open` still finds the old bundle. Two processes must not write the same bundle at the same time.
    Args:
        files: name -> content, or the path of a file to copy.
        manifest: the fields of `Manifest` as JSON; "format" and "files" are filled in here.
    Raises:
        BundleError: a name or field is not valid, `folder` is something other than a bundle, or the disk is full
            or read-only. The old bundle stays intact in all cases.
    """
    home = Path(folder).absolute()
    for name in files:
        check_name(name, str(home))
    _check_target(home)
    fresh = home.with_name(f".{home.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)  # left by a run that was interrupted
        fresh.mkdir(parents=True)
        for name in sorted(files):
            _write_file(fresh / name, files[name])
        entries = {n: {"sha256": sha256_of(fresh / n), "bytes": (fresh / n).stat().st_size} for n in sorted(files)}
        content = dump_json({**manifest, "format": FORMAT, "files": entries})
        Manifest.parse(content, f"{home / MANIFEST}")  # one that cannot be read back is never swapped in
        _write_file(fresh / MANIFEST, content)
        sync_folder(fresh)
        _swap(fresh, home)
    except OSError as error:
        raise BundleError(
            f"{home}: could not be written ({error.strerror or error}); the old bundle, if any, is unchanged: "
            "free some space or check the permissions, then run the same command again"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_target(home: Path) -> None:
    if home.exists() and not (home / MANIFEST).exists() and (not home.is_dir() or any(home.iterdir())):
        raise BundleError(f"{home}: exists and is not a bundle; choose another folder or remove it")


def _write_file(path: Path, content: bytes | Path) -> None:
    with path.open("wb") as target:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        else:
            target.write(content)
        target.flush()
        os.fsync(target.fileno())


def _swap(fresh: Path, home: Path) -> None:
    previous = previous_of(home)
    if home.exists():
        shutil.rmtree(previous, ignore_errors=True)
        home.rename(previous)
    try:
        fresh.rename(home)
    except OSError:
        if previous.exists():
            previous.rename(home)
        raise
    sync_folder(home.parent)
    shutil.rmtree(previous, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    # Only POSIX can flush a folder's entries; elsewhere the rename itself is durable enough.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
