"""A folder with the Python runtime, a bundle, a lock of the packages that it needs, and an example app."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Final

import edgerec
from edgerec.bundle import Bundle
from edgerec.bundle.size import STUDENT
from edgerec.errors import DataError

PACKAGES: Final = ("tasks", "bundle", "runtime")
"""What a device needs of edgerec: they import the standard library, and numpy and onnxruntime on use."""
FILES: Final = ("__init__.py", "errors.py", "files.py", "telemetry.py", "py.typed")
TEMPLATES: Final = ("app.py", "README.md")


@dataclass(frozen=True)
class EmbedReport:
    """Bytes that were written, and the packages that the app needs beside Python."""

    runtime_bytes: int
    bundle_bytes: int
    packages: tuple[str, ...] = ()


def embed_python(bundle: Path, folder: Path) -> EmbedReport:
    """Write the folder; the bundle is verified first.

    Raises:
        BundleError: the bundle is damaged.
        DataError: `folder` is not empty.
    """
    opened = Bundle.open(bundle)
    refuse_full(folder)
    folder.mkdir(parents=True, exist_ok=True)
    home, package = Path(edgerec.__file__).parent, folder / "edgerec"
    package.mkdir()
    for name in FILES:
        shutil.copyfile(home / name, package / name)
    for name in PACKAGES:
        shutil.copytree(home / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(opened.folder, folder / "bundle")
    packages = needed_packages(opened)
    what = "was tested with" if packages else "needs: Python alone"
    (folder / "requirements.lock").write_text(
        "".join([f"# What edgerec {edgerec.__version__} {what}.\n", *(f"{_pinned(name)}\n" for name in packages)])
    )
    for name in TEMPLATES:
        shutil.copyfile(str(files("edgerec.ship") / "templates" / name), folder / name)
    return EmbedReport(folder_size(package), folder_size(folder / "bundle"), packages)


def needed_packages(bundle: Bundle) -> tuple[str, ...]:
    """The packages without which the runtime does not use a bundle, where the native engine has a library."""
    if STUDENT not in bundle.manifest.files:
        return ("numpy", "onnxruntime")
    policy = bundle.json("policy.json")
    return () if policy.get("explore") is policy.get("adapt") is None else ("numpy",)


def _pinned(name: str) -> str:
    """A requirement: the version that is here, or any."""
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:  # of the light install, which never ran it
        return name


def refuse_full(folder: Path) -> None:
    """Raise DataError if a folder is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: exists and is not empty; name another folder")


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
