"""Applies the difference of two files: which parts of the old one are copied, and the new bytes between them.

A patch is compressed by zlib. Inside is a sequence of steps of two or three numbers, each number in groups of 7 bits:
``0 length`` and that many new bytes, or ``1 start length`` for a part of the old file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, Final

from edgerec.errors import BundleError

AT_ONCE: Final = 1 << 16
"""Bytes in memory at a time."""


def apply_patch(old: bytes, patch: bytes, size: int) -> bytes:
    """Apply a patch; the new file must have `size` bytes.

    Raises:
        BundleError: the patch is damaged, or not for this file.
    """
    out = BytesIO()
    stream_patch(BytesIO(old), BytesIO(patch), out, size)
    return out.getvalue()


def stream_patch(old: BinaryIO, patch: BinaryIO, out: BinaryIO, size: int) -> None:
    """As `apply_patch`, from and to files; memory does not grow with them, and no more than `size` bytes are written.

    Raises:
        BundleError: see there.
    """
    done = 0
    try:
        for how, start, length, steps in _steps(_Unpacked(patch)):
            done += length
            if not length or done > size:
                raise ValueError("a step leads out of its file")
            if how == 1:
                old.seek(start)
            _copy(steps if how == 0 else old, out, length)
    except (ValueError, IndexError, zlib.error, OverflowError) as error:
        raise BundleError(f"a damaged patch ({error}); copy the delta again") from error
    if done != size:
        raise BundleError(f"a damaged patch ({done} bytes, expected {size}); copy the delta again")


class _Unpacked:
    """Reads what a compressed file holds, a part at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpack, self._ready, self._at = file, zlib.decompressobj(), b"", 0

    def read(self, most: int) -> bytes:
        """At least one byte of the next `most`; empty at the end."""
        while self._at >= len(self._ready):
            packed = self._unpack.unconsumed_tail or self._file.read(AT_ONCE)
            if self._unpack.eof or not packed:
                if not self._unpack.eof:
                    raise ValueError("it ends too early")
                return b""
            self._ready, self._at = self._unpack.decompress(packed, AT_ONCE), 0
        part = self._ready[self._at : self._at + most]
        self._at += len(part)
        return part

    def number(self) -> int:
        """A number in groups of 7 bits."""
        value = 0
        for shift in range(0, 70, 7):
            (byte,) = self.read(1) or [-1]
            if byte < 0:
                raise ValueError("it ends too early")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without an end")


def _steps(steps: _Unpacked) -> Iterator[tuple[int, int, int, _Unpacked]]:
    """(0, 0, length) and the new bytes are next in `steps`; or (1, start, length) of the old file."""
    while how := steps.read(1):
        if how not in (b"\0", b"\1"):
            raise ValueError("an unknown step")
        start = steps.number() if how == b"\1" else 0
        yield how[0], start, steps.number(), steps


def _copy(source: BinaryIO | _Unpacked, out: BinaryIO, length: int) -> None:
    while length:
        part = source.read(min(length, AT_ONCE))
        if not part:
            raise ValueError("a step leads out of its file")
        out.write(part)
        length -= len(part)
