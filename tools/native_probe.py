"""All results of the native engine as bytes, on this machine's kernels, on other processors under qemu and in Node.

A program of tests/native/probe.c holds the student and its requests, and needs no libc.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.errors import ConfigError
from edgerec.runtime.native import NativeEngine, library_name
from tools.native_builds import BUILDS, FLAGS, ROOT, SOURCES, amalgamation, compile_library

PROBES = ROOT / "tests" / "native"
K = 10
"""Items of each list that a program prints."""
NAMES = ("history", "history_kind", "history_count", "history_age_h", "history_interval_h", "context_categorical",
         "context_numeric", "task_weights", "exclude")  # fmt: skip
WHOLE = ("history", "history_kind", "context_categorical", "exclude")
Request = Mapping[str, Any]
"""Inputs of a request for recommendations, as conformance.json has them."""


@dataclass(frozen=True)
class Processor:
    """One that qemu stands for, or this one with other settings.

    Attributes:
        name: of the row. target: zig's. qemu: its name; none for this machine. flags: of the compiler.
    """

    name: str
    target: str
    qemu: str = ""
    flags: tuple[str, ...] = ()


FLUSHED = Processor("x86-64, subnormals flushed", "x86_64-linux-musl", flags=("-DFLUSH",))
PROCESSORS = (
    Processor("arm64, dot products (qemu)", "aarch64-linux-musl", "aarch64"),
    Processor("arm64, NEON (qemu)", "aarch64-linux-musl", "aarch64", ('-DKERNEL="neon"',)),
    Processor("armv7 (qemu)", "arm-linux-musleabihf", "arm", ("-mcpu=cortex_a7",)),
    Processor("riscv64 (qemu)", "riscv64-linux-musl", "riscv64"),
)


def emulator(processor: Processor) -> str | None:
    """The program that runs others' programs, or None where it is not installed."""
    return shutil.which(f"qemu-{processor.qemu}-static") or shutil.which(f"qemu-{processor.qemu}")


def answers(engine: NativeEngine, requests: Sequence[Request]) -> bytes:
    """All results of an engine as bytes."""
    found = [engine.run("recommend.onnx", {**inputs, "k": K}).values() for inputs in requests]
    return b"".join(np.asarray(value).tobytes() for values in found for value in values)


def probe(folder: Path, processor: Processor, student: bytes, requests: Sequence[Request]) -> Path:
    """The program for a processor.

    Raises:
        subprocess.CalledProcessError: the compiler's message.
    """
    (folder / "data.h").write_text(_data(student, requests))
    (folder / "edgerec.c").write_text(amalgamation())
    command = [sys.executable, "-m", "ziglang", "cc", "-target", processor.target,
               *(f for f in FLAGS if f != "-Werror"), "-std=c11", "-O2", f"-I{SOURCES}", f"-I{folder}", "-nostdlib",
               "-static", *processor.flags, str(PROBES / "probe.c"), "-o", str(folder / "probe")]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, check=True)
    return folder / "probe"


def in_node(folder: Path, build: str, student: Path, conformance: Path) -> bytes:
    """What Node computes with a WebAssembly build; all requests of conformance.json."""
    wasm = compile_library(BUILDS[build], folder)
    command = ["node", str(PROBES / "probe.mjs"), str(wasm), str(student), str(conformance), str(K)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def elsewhere(folder: Path, engine: NativeEngine, student: bytes, requests: Sequence[Request]) -> Iterator[
    tuple[str, bytes | None]
]:  # fmt: skip
    """Results by where they were computed; None where that cannot be tried."""
    best = engine.kernel
    for name in ("avx512-vnni", "avx2", "sse4.1", "neon-dot", "neon", "scalar"):
        try:
            engine.kernel = name
        except ConfigError:
            continue
        yield f"this machine, {name}", answers(engine, requests)
    engine.kernel = best
    if "x86_64" in library_name():
        program = probe(folder, FLUSHED, student, requests)
        yield FLUSHED.name, subprocess.run([program], capture_output=True, check=True).stdout
    for processor in PROCESSORS:
        qemu = emulator(processor)
        if qemu is None:
            yield processor.name, None
            continue
        program = probe(folder, processor, student, requests)
        yield processor.name, subprocess.run([qemu, program], capture_output=True, check=True).stdout


def _data(student: bytes, requests: Sequence[Request]) -> str:
    """data.h of tests/native/probe.c."""
    lines = [f"#define K {K}\n", f"#define STUDENT_BYTES {len(student)}\n", "_Alignas(64) "]
    lines += [_array("student", "uint8_t", [str(byte) for byte in student])]
    rows = []
    for i, inputs in enumerate(requests):
        for name in NAMES:
            whole, values = name in WHOLE, inputs.get(name, ())
            texts = [str(v) if whole else f"{float(np.float32(v)).hex()}f" for v in values]
            lines.append(_array(f"{name}_{i}", "int64_t" if whole else "float", texts or ["0"]))
        events, excluded = len(inputs["history"]), len(inputs["exclude"])
        at = [f"{name}_{i}" for name in NAMES]
        rows.append(f"{{{', '.join([*at[:5], str(events), *at[5:], str(excluded)])}}}")
    lines.append(f"static const edgerec_request requests[] = {{{', '.join(rows)}}};\n")
    return "".join(lines)


def _array(name: str, kind: str, values: Sequence[str]) -> str:
    return f"static const {kind} {name}[] = {{{','.join(values)}}};\n"
