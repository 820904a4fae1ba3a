"""The preloaded library: how it is compiled, and its functions. See library.c."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from edgerec.errors import ConfigError

SOURCE: Final = Path(__file__).with_name("library.c")


class Mode(IntEnum):
    """What happens at the chosen call."""

    NONE = 0
    KILL_BEFORE = 1
    KILL_HALF = 2
    KILL_AFTER = 3
    NO_SPACE = 4
    IO_ERROR = 5


def compiler() -> str | None:
    """The C compiler of a system on which this works, or None."""
    return shutil.which("cc") if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """Compile the library.

    Raises:
        ConfigError: there is no compiler, or this is not Linux.
    """
    cc = compiler()
    if cc is None:
        raise ConfigError("faults are injected by a preloaded library: needs Linux and a C compiler (cc)")
    out = folder / "library.so"
    subprocess.run([cc, "-O1", "-shared", "-fPIC", "-o", str(out), str(SOURCE), "-ldl"], check=True)
    return out


class Injector:
    """Of this process, into which the library must have been preloaded. Calls on files below `folder` count."""

    def __init__(self, folder: Path) -> None:
        self._library: Any = ctypes.CDLL(None)
        self._folder = str(folder).encode()

    @contextmanager
    def at(self, number: int, mode: Mode, lasting: bool = False) -> Iterator[None]:
        """Inside, the call of this number fails or kills the process; `lasting`: each one after it fails too."""
        self._library.fault_arm(self._folder, ctypes.c_long(number), int(mode), int(lasting))
        try:
            yield
        finally:
            self._library.fault_off()

    @property
    def calls(self) -> int:
        """Calls since `at`."""
        return int(self._library.fault_calls())

    @contextmanager
    def swap(self, number: int, fresh: Path, path: Path) -> Iterator[None]:
        """Inside, `fresh` replaces `path` just before the file of this number is opened."""
        self._library.fault_swap(self._folder, ctypes.c_long(number), str(fresh).encode(), str(path).encode())
        try:
            yield
        finally:
            self._library.fault_off()

    @property
    def opens(self) -> int:
        """Files opened since `swap`."""
        return int(self._library.fault_opens())

    def record(self, descriptor: int) -> None:
        """Write each step that reaches the disk into an open file; see `recorded.steps`."""
        self._library.fault_record(self._folder, descriptor)

    def acknowledge(self, number: int) -> None:
        """Note in the record that an event was acknowledged."""
        self._library.fault_acknowledge(ctypes.c_long(number))

    def clock(self, seconds: float) -> None:
        """Let the device's clock run ahead by so many seconds."""
        self._library.fault_clock(ctypes.c_longlong(int(seconds)))
