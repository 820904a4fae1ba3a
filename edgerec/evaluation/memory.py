"""By how much a piece of work raises the peak memory of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgerec.bench.child import peak_mb
from edgerec.threads import return_freed_memory

__all__ = ["PeakGrowth", "peak_growth"]


class PeakGrowth:
    """`mb`: growth of the peak resident memory in MB of 10^6 bytes; None until measured, or where it cannot be."""

    mb: float | None = None


@contextmanager
def peak_growth() -> Iterator[PeakGrowth]:
    """Measure the work inside; memory that it frees again counts too. Needs Linux, which can reset the peak."""
    growth = PeakGrowth()
    return_freed_memory()  # else it would be used again, and not count
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield growth
        return
    before = peak_mb()
    yield growth
    after = peak_mb()
    growth.mb = None if before is None or after is None else after - before
