"""Builds the native engine for the wheel, or for an editable install; hatchling calls it.

A wheel has the libraries of all systems that Python apps run on, and an editable install that of this machine. What is
in edgerec/runtime/libraries already, by tools/native or in a source archive, is taken as it is. With EDGEREC_NATIVE=1
zig, which is 100 MB, is fetched to build what is missing; else, and where there is none, bundles need onnxruntime.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgerec.runtime.native import FOLDER, library_name
from tools.native_builds import BUILDS, compile_library

ZIG = "ziglang>=0.15"
PROCESSORS = ("aarch64", "amd64", "arm64", "x86_64")
"""Those that the package `ziglang` has a compiler for."""


def wanted(version: str) -> list[str]:
    """Names of the builds that "standard" or "editable" is to have and that are not there yet."""
    if os.environ.get("EDGEREC_NATIVE") != "1":
        return []
    own = library_name()
    names = [name for name, build in BUILDS.items() if build.python and (version != "editable" or build.file == own)]
    return [name for name in names if not (FOLDER / BUILDS[name].file).exists()]


class NativeLibraries(BuildHookInterface):  # type: ignore[misc]  # hatchling is there when it builds
    """See hatchling's build hooks."""

    def dependencies(self) -> list[str]:
        """zig, where it is needed and there is one."""
        return [ZIG] if platform.machine().lower() in PROCESSORS and wanted("standard") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing; nothing is refused for want of a compiler."""
        if self.target_name != "wheel":
            return
        FOLDER.mkdir(exist_ok=True)
        for name in wanted(version):
            try:
                compile_library(BUILDS[name], FOLDER)
            except (RuntimeError, OSError) as error:
                why = str(error).strip().splitlines()[-1:] or ["it failed"]
                self.app.display_warning(f"the native engine is not built for {name}: {why[0]}; see tools/native")
