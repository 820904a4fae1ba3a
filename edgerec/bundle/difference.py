"""Makes the difference of two files, in the form that `edgerec.bundle.patch` applies."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW: Final = 32
"""Bytes that must be equal for a copy to be worth its numbers."""
STEP: Final = 16
"""A window of the old file is remembered every so many bytes; a copy as long as two windows is always found."""
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
