"""What some work adds to the memory of this process."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgerec.bench.child import peak_mb

__all__ = ["Added", "added"]


class Added:
    """`mb`: growth of the peak resident memory, MB of 10^6 bytes; None until it is known, or where it cannot be."""

    mb: float | None = None


@contextmanager
def added() -> Iterator[Added]:
    """Measure what is done inside; what it frees counts too. Needs Linux, which can begin a peak anew."""
    found = Added()
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else what is free already would be used again, and not count
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield found
        return
    before = peak_mb()
    yield found
    after = peak_mb()
    found.mb = None if before is None or after is None else after - before
