"""Threads that do not fight: how the libraries of one process share the cores with each other and with other work."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

__all__ = ["ahead", "cores", "each_ahead", "return_freed_memory", "share_cores", "threads_of_libraries", "with_threads"]

T = TypeVar("T")
V = TypeVar("V")

_MALLOC = {
    "MALLOC_ARENA_MAX": (-8, 2),
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 128 * 2**20),
}
"""Settings of GNU's malloc: their numbers in malloc.h, and our values."""
_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch, LightGBM, scikit-learn and BLAS read when they are loaded."""


def share_cores(threads: int | None = None) -> None:
    """Let threads sleep that wait for each other for long, and use `threads` of them; None: as many as there are cores.

    By default OpenMP's threads spin for long while they wait. Beside other work on the same cores they burn the time of
    the thread that they wait for: beside four busy processes small steps of torch took 2.8 times the CPU time. Threads
    that sleep at once cost an idle machine four times the time of such steps. A short spin costs neither.

    Call it before torch, numpy or LightGBM is loaded: they read the environment once. What the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # GNU's OpenMP: rounds before a thread sleeps
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # Intel's and LLVM's: milliseconds
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # numpy's BLAS: log2 of the clock cycles; 26 by default
    _share_freed_memory()
    if threads is not None:
        os.environ.update(dict.fromkeys(_COUNTS, str(threads)))


def _share_freed_memory() -> None:
    """Let GNU's malloc share and keep what is freed, here and in processes that are started.

    By default each thread has a pool of its own, and what one of them freed no other one uses: a run on 100,000 ratings
    held 0.4 GB more. And what is freed at the end of a step goes back to the system, to be asked for, and filled with
    zeros, in the next one: a tenth of the steps' time.
    """
    if sys.platform != "linux":
        return
    for name, (number, value) in _MALLOC.items():
        if name not in os.environ:
            os.environ[name] = str(value)  # read when a process starts
            with suppress(OSError, AttributeError):  # another C library
                ctypes.CDLL(None).mallopt(number, value)


def return_freed_memory() -> None:
    """Give memory that this process has freed back to the system, where GNU's malloc keeps it: for other processes.

    After the data of a run on 100,000 ratings was read, that was 0.2 of 0.47 GB.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def cores() -> int:
    """Cores that this process may use, by its affinity and OMP_NUM_THREADS."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else allowed


@contextmanager
def with_threads(threads: int) -> Iterator[None]:
    """Processes that are started within have `threads` threads each; this one keeps its own."""
    before = {name: os.environ.get(name) for name in _COUNTS}
    share_cores(threads)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ahead(values: Iterator[T]) -> Iterator[T]:
    """Each of `values` is made in a thread while the one before it is used; with one core nothing is gained, or done.

    Only for what neither `values` nor their user changes: no state of one may depend on how far the other is.
    """
    if cores() == 1:
        yield from values
        return
    over = object()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, values, over)
        while (value := following.result()) is not over:
            following = pool.submit(next, values, over)
            yield value  # type: ignore[misc]  # not `over`


def each_ahead(function: Callable[[V], T], values: Sequence[V]) -> Iterator[T]:
    """`function` of each of `values`, in their order; several are made in threads of their own before they are due.

    Only for a function that changes nothing. The first value is made alone, since it may load what all others share.
    BLAS and torch have one thread each meanwhile: two threads that split one core's work take longer than one.
    With one core, or within another `each_ahead`, nothing is gained, or made ahead.
    """
    workers = 1 if getattr(_WITHIN, "each_ahead", False) else cores()
    if workers == 1 or len(values) < 3:
        yield from map(function, values)
        return

    def made_within(value: V) -> T:
        _WITHIN.each_ahead = True
        return function(value)

    yield function(values[0])
    with threads_of_libraries(1), ThreadPoolExecutor(workers) as pool:
        made: deque[Future[T]] = deque()
        for value in values[1:]:
            made.append(pool.submit(made_within, value))
            if len(made) > workers:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()


_WITHIN = threading.local()


@contextmanager
def threads_of_libraries(threads: int) -> Iterator[None]:
    """BLAS and torch, if they are loaded, have `threads` threads within, in whatever thread they are called."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with ExitStack() as stack:
        if "numpy" in sys.modules:
            from threadpoolctl import threadpool_limits  # of the extra `train`, as what starts threads

            stack.enter_context(threadpool_limits(threads, user_api="blas"))
        if torch:
            stack.callback(torch.set_num_threads, before)
            torch.set_num_threads(threads)
        yield
