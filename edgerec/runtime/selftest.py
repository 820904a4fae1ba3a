"""Does a bundle load here and answer as on the build machine? An update runs this in a process of its own."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from edgerec.bundle import Bundle
from edgerec.errors import EdgerecError
from edgerec.runtime.conformance import check_conformance
from edgerec.runtime.model import Model


def selftest(folder: Path) -> int:
    """Number of requests that were answered as expected.

    Raises:
        BundleError: what is wrong.
    """
    model = Model(Bundle.open(folder))
    try:
        return check_conformance(model.bundle, model.engine)
    finally:
        model.close()


def main(folder: str, memory_bytes: str) -> None:
    """Exit 0 or 1, with one line; what takes more memory or time than a self-test may is ended by the system."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    try:
        selftest(Path(folder))
    except EdgerecError as error:
        sys.exit(str(error))
    except MemoryError:
        sys.exit(f"needs more than {memory_bytes} bytes of memory")
