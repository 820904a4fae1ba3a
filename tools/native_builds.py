"""Builds the native engine for every system with `zig cc`, which the package `ziglang` brings, and prints the sizes.

The same sources and the same version of ziglang give the same bytes, wherever and whenever they are built.
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec.files import replacing
from edgerec.runtime.native import FOLDER, library_name

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "devices" / "native"
OUT = ROOT / "build" / "native"
WEB = ROOT / "devices" / "web" / "src" / "wasm"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin", "-ffp-contract=off", "-fPIC",
         "-fvisibility=hidden", "-fno-stack-protector", "-fno-sanitize=undefined", "-fno-unwind-tables",
         "-fno-asynchronous-unwind-tables", "-g0")  # fmt: skip
LOOPS, FEW, REST = ("-O2", "-mllvm", "-unroll-runtime=false"), ("-O2", "-mllvm", "-unroll-threshold=80"), ("-Os",)
"""Of the files in FAST, which take the time; of those where a page downloads the library; and of the rest."""
FAST = ("kernels.c", "reasons.c", "scan.c", "topk.c", "tower.c")
SHARED = ("-shared", "-nostdlib", "-s")
PAGES = (*SHARED, "-Wl,-z,max-page-size=16384")
WASM = ("-nostdlib", "-Wl,--no-entry", "-Wl,--export-dynamic", "-s")
ARMV7 = ("-mcpu=cortex_a7",)


@dataclass(frozen=True)
class Build:
    """One library.

    Attributes:
        target: zig's name of the system. file: name of the library.
        link: flags of the linker; none makes a static library. cpu: what the processor has at least.
        python: the Python package loads it. web: devices/web does, as a module of this name in `WEB`.
    """

    target: str
    file: str
    link: tuple[str, ...] = SHARED
    cpu: tuple[str, ...] = ()
    python: bool = False
    web: str = ""


BUILDS = {
    "linux-x86_64": Build("x86_64-linux-gnu.2.17", library_name("linux", "x86_64"), python=True),
    "linux-arm64": Build("aarch64-linux-gnu.2.17", library_name("linux", "aarch64"), PAGES, python=True),
    "linux-armv7": Build("arm-linux-gnueabihf", library_name("linux", "armv7l"), cpu=ARMV7, python=True),
    "linux-riscv64": Build("riscv64-linux-gnu", library_name("linux", "riscv64")),
    "macos-arm64": Build("aarch64-macos.11.0", library_name("darwin", "arm64"), python=True),
    "macos-x86_64": Build("x86_64-macos.11.0", library_name("darwin", "x86_64"), python=True),
    "windows-x86_64": Build("x86_64-windows-gnu", library_name("win32", "AMD64"), python=True),
    "windows-arm64": Build("aarch64-windows-gnu", library_name("win32", "ARM64")),
    "android-arm64": Build("aarch64-linux-android", "android/arm64-v8a/libedgerec.so", PAGES),
    "android-armv7": Build("arm-linux-androideabi", "android/armeabi-v7a/libedgerec.so", cpu=ARMV7),
    "android-x86_64": Build("x86_64-linux-android", "android/x86_64/libedgerec.so", PAGES),
    "ios-arm64": Build("aarch64-ios.13.0", "ios/libedgerec.a", ()),
    "ios-simulator-arm64": Build("aarch64-ios.13.0-simulator", "ios-simulator/libedgerec.a", ()),
    "wasm": Build("wasm32-freestanding", "edgerec.wasm", WASM, web="scalar.js"),
    "wasm-simd": Build("wasm32-freestanding", "edgerec-simd.wasm", WASM, ("-msimd128",), web="simd.js"),
}


def amalgamation() -> str:
    """All sources as one file, edgerec.c, that needs edgerec.h only."""
    parts = ["/* edgerec.c: the native engine of edgerec in one file, made by tools/native. See edgerec.h. */\n"]
    seen: set[str] = {"edgerec.h"}

    def whole(path: Path) -> str:
        def included(match: re.Match[str]) -> str:
            name = match[1]
            if name == "edgerec.h":
                return match[0]
            if name.endswith(".h") and name in seen:
                return ""
            seen.add(name)
            return whole(SOURCES / name)

        return re.sub(r'^#include "([a-z.]+)"$', included, path.read_text("utf-8"), flags=re.MULTILINE)

    parts += [f"\n/* ---- {path.name} ---- */\n{whole(path)}" for path in sorted(SOURCES.glob("*.c"))]
    return "".join(parts)


def compile_library(build: Build, out: Path) -> Path:
    """Compile one library into the folder `out`; returns its path.

    Raises:
        RuntimeError: the compiler's message.
    """
    path = out / build.file
    path.parent.mkdir(parents=True, exist_ok=True)
    fast: tuple[str, ...] = FAST
    level: tuple[str, ...] = LOOPS
    if build.link == WASM:  # without SIMD it is only for old browsers
        fast, level = FAST[:1], FEW if build.cpu else REST
    rest = [path.name for path in sorted(SOURCES.glob("*.c")) if path.name not in fast]
    with tempfile.TemporaryDirectory() as folder:
        work, target = Path(folder), ("-target", build.target)
        for name, sources, options in (("fast", fast, level), ("rest", rest, REST)):
            flags = (*target, *FLAGS, *build.cpu, *options, f"-I{SOURCES}")
            source = "".join(f'#include "{name}"\n' for name in sources)
            _zig(work, "cc", *flags, "-x", "c", "-", "-c", "-o", f"{name}.o", source=source)
        if build.link:
            _zig(work, "cc", *target, *build.cpu, *build.link, "fast.o", "rest.o", "-o", path.name)
        else:
            _zig(work, "ar", "rcsD", path.name, "fast.o", "rest.o")
        _put(work / path.name, path)
    return path


def _put(built: Path, path: Path) -> None:
    """Copy a library as a new file: a process that has loaded the one before would die if that were written over."""
    with replacing(path) as part:
        shutil.copy(built, part)


def module(library: bytes) -> str:
    """A JavaScript module of a WebAssembly library: a file that every browser, bundler and platform finds and loads."""
    return f'/** Made by tools/native from devices/native. */\nexport default "{base64.b64encode(library).decode()}";\n'


def _zig(folder: Path, *command: str, source: str = "") -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ziglang", *command],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if run.returncode:
        raise RuntimeError(run.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the named libraries, or all, and print their sizes."""
    parser = argparse.ArgumentParser(prog="tools/native", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BUILDS)}, or here; default: all")
    asked = parser.parse_args(arguments).names or list(BUILDS)
    here = [name for name, build in BUILDS.items() if build.file == library_name()]
    chosen = [name for one in asked for name in (here if one == "here" else [one])]
    if unknown := set(chosen) - set(BUILDS):
        parser.error(f"no build {', '.join(sorted(unknown))}; there are {', '.join(BUILDS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "edgerec.c").write_text(amalgamation(), "utf-8")
    shutil.copy(SOURCES / "edgerec.h", OUT / "edgerec.h")
    failed = 0
    for name in chosen:
        try:
            path = compile_library(BUILDS[name], OUT)
        except RuntimeError as error:
            print(f"{name}: not built: {error}", file=sys.stderr)
            failed = 1
            continue
        if BUILDS[name].python:
            FOLDER.mkdir(exist_ok=True)
            _put(path, FOLDER / path.name)
        if BUILDS[name].web:
            WEB.mkdir(exist_ok=True)
            (WEB / BUILDS[name].web).write_text(module(path.read_bytes()), "ascii")
        print(f"{name:20} {path.stat().st_size:8,} bytes  {path.relative_to(ROOT)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
