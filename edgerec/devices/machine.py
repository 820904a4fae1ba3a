"""The hardware and packages of this machine that training and INT8 graphs depend on."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["GOOD_FOR_INT8", "describe", "versions"]

PACKAGES = ("edgerec", "numpy", "onnxruntime", "torch", "transformers", "lightgbm", "polars")
GOOD_FOR_INT8 = ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimddp", "asimd")
"""Instruction sets that make onnxruntime's INT8 kernels fast, the best first."""


def describe(folder: Path) -> dict[str, str]:
    """Facts by name; `folder` is where runs are written."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    facts = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    facts |= versions()
    facts["cores"] = str(os.cpu_count() or 1)
    facts["memory"] = _memory()
    facts["disk free"] = f"{shutil.disk_usage(place).free / 1e9:.1f} GB at {place}"
    facts["instructions"] = ", ".join(name for name in GOOD_FOR_INT8 if name in _flags()) or "none known"
    facts["GPU"] = _gpu()
    return facts


def versions() -> dict[str, str]:
    """Versions of the packages that a bundle is made with."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (ValueError, OSError, AttributeError):
        return "unknown"


def _flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {flag for name, _, flags in lines if name.strip().lower() in ("flags", "features") for flag in flags.split()}


def _gpu() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "unknown: torch is not installed"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "none: training runs on the CPU"
