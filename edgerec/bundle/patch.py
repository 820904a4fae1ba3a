"""The difference of two files: which parts of the old one are copied, and the new bytes between them.

A patch is compressed by zlib. Inside is a sequence of steps of two or three numbers, each number in groups of 7 bits:
``0 length`` and that many new bytes, or ``1 start length`` for a part of the old file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from edgerec.errors import BundleError

WINDOW: Final = 32
"""Bytes that must be equal for a copy to be worth its numbers."""
STEP: Final = 16
"""A window of the old file is remembered every so many bytes; a copy as long as two windows is always found."""
AT_ONCE: Final = 1 << 16
"""Bytes in memory at a time."""
_FACTOR: Final = 0x9E3779B97F4A7C15
Hashes = npt.NDArray[np.uint64]


def make_patch(old: bytes, new: bytes) -> bytes:
    """The patch that turns `old` into `new`."""
    steps = bytearray()
    done = 0
    for at, start, length in _copies(old, new):
        _insert(steps, new[done:at])
        steps += b"\1" + _number(start) + _number(length)
        done = at + length
    _insert(steps, new[done:])
    return zlib.compress(bytes(steps), 9)


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


def _copies(old: bytes, new: bytes) -> list[tuple[int, int, int]]:
    """(position in new, position in old, length), ascending and without overlap."""
    if len(old) < WINDOW or len(new) < WINDOW:
        return []
    sampled = _hashes(old)[::STEP]
    known, first = np.unique(sampled, return_index=True)
    wanted = _hashes(new)
    near = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    hits = np.flatnonzero(known[near] == wanted)
    a, b = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    copies: list[tuple[int, int, int]] = []
    done = i = 0
    while i < len(hits):
        at = int(hits[i])
        start = int(first[near[at]]) * STEP
        if old[start : start + WINDOW] != new[at : at + WINDOW]:
            i += 1
            continue
        back = _equal(a[:start][::-1], b[done:at][::-1])
        length = back + WINDOW + _equal(a[start + WINDOW :], b[at + WINDOW :])
        copies.append((at - back, start - back, length))
        done = at - back + length
        i = int(np.searchsorted(hits, done))
    return copies


def _equal(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    """How many bytes are equal from the start."""
    n, at, size = min(len(a), len(b)), 0, 256
    while at < n:
        differ = np.flatnonzero(a[at : min(at + size, n)] != b[at : min(at + size, n)])
        if len(differ):
            return at + int(differ[0])
        at, size = at + size, 4 * size
    return n


def _hashes(content: bytes) -> Hashes:
    """Hash every window, modulo 2 ** 64; hashes are sums of powers, so that all are computed at once."""
    n = len(content)
    inverse = pow(_FACTOR, -1, 1 << 64)
    up = np.cumprod(np.full(n, _FACTOR, np.uint64))
    down = np.cumprod(np.full(n, inverse, np.uint64))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(np.frombuffer(content, np.uint8) * up, dtype=np.uint64)])
    hashes: Hashes = (sums[WINDOW:] - sums[:-WINDOW]) * down[: n - WINDOW + 1]
    return hashes


def _insert(steps: bytearray, content: bytes) -> None:
    if content:
        steps += b"\0" + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
