"""The native engine: a library of `devices/native` through ctypes, which reads student.bin."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from array import array
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from edgerec.bundle import Bundle
from edgerec.bundle.size import STUDENT
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime.engine import OUTPUTS, Ranked
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, Matrix, floats, ints

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parent / "libraries"
"""Where `tools/native` puts the libraries, and where a wheel has them."""
_HISTORY: Final = ("history", "history_kind", "history_count", "history_age_h", "history_interval_h")


class _StudentShape(ctypes.Structure):
    """`edgerec_shape` of edgerec.h."""

    _fields_ = (("items", ctypes.c_int64), *((name, ctypes.c_int32) for name in
                ("dim", "tasks", "categorical", "numeric", "kinds", "related")))  # fmt: skip


class _AskedRequest(ctypes.Structure):
    """`edgerec_request` of edgerec.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _HISTORY),
        ("events", ctypes.c_size_t),
        *((name, ctypes.c_void_p) for name in ("categorical", "numeric", "weights", "exclude")),
        ("excluded", ctypes.c_size_t),
    )


def library_name(system: str = sys.platform, machine: str | None = None) -> str:
    """The file name of the library for a system and a processor; by default, of this machine.

    >>> library_name("linux", "x86_64"), library_name("darwin", "arm64"), library_name("win32", "AMD64")
    ('libedgerec-linux-x86_64.so', 'libedgerec-macos-aarch64.dylib', 'libedgerec-windows-x86_64.dll')
    """
    if machine is None:
        machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    cpu = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    name, ending = {"darwin": ("macos", "dylib"), "win32": ("windows", "dll")}.get(system, (system, "so"))
    return f"libedgerec-{name}-{cpu}.{ending}"


@cache
def library(path: Path) -> ctypes.CDLL:
    """The library in a file.

    Raises:
        MissingExtraError: there is none for this machine, or it does not load.
    """
    if not path.exists():
        raise MissingExtraError(f"the native engine has no library for this machine ({path.name}): run tools/native")
    try:
        opened = ctypes.CDLL(str(path))
        opened.edgerec_message.restype = opened.edgerec_kernel.restype = ctypes.c_char_p
        opened.edgerec_workspace_bytes.restype = ctypes.c_size_t
        # Of the calls that answer requests: Python's own numbers are addresses and sizes, without an object for each.
        at, size = ctypes.c_void_p, ctypes.c_size_t
        opened.edgerec_recommend.argtypes = (at, at, at, size, at, at, at, at)
        opened.edgerec_score.argtypes = (at, at, at, at, size, at, at, at)
        opened.edgerec_similar.argtypes = (at, at, ctypes.c_int64, at, size, size, at, at)
        opened.edgerec_vectors.argtypes = (at, at, size, at)
    except (OSError, AttributeError) as error:
        raise MissingExtraError(f"{path}: the native engine does not load ({error})") from error
    return opened


class _Memory:
    """Zeroed bytes at a page's start."""

    def __init__(self, size: int) -> None:
        self.bytes = mmap.mmap(-1, max(size, 1))
        self.size, self.address = size, ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))


class NativeEngine:
    """Runs student.bin of a bundle; thread-safe: each call has a workspace of its own."""

    name = "native"

    @classmethod
    def of(cls, bundle: Bundle) -> NativeEngine:
        """Read student.bin of a bundle.

        Raises:
            BundleError: the bundle has none, or one that the engine refuses or that does not fit its manifest.
            MissingExtraError: there is no library for this machine.
        """
        opened, manifest = cls(bundle.read(STUDENT), str(bundle.path(STUDENT))), bundle.manifest
        expected = {"items": manifest.n_items, "dim": manifest.dim, "tasks": len(manifest.tasks)}
        for name, value in expected.items():
            found = getattr(opened.shape, name)
            if found != value:
                raise BundleError(f"{opened._source}: has {found} {name}, the manifest {value}; build the bundle again")
        return opened

    def __init__(self, content: bytes, source: str = STUDENT, path: Path | None = None) -> None:
        """Open the content of a student.bin with this machine's library, or with the one in `path`.

        Args:
            source: names it in errors.
        Raises:
            BundleError: the engine refuses it. MissingExtraError: there is no library for this machine.
        """
        self._library = library(FOLDER / library_name() if path is None else path)
        self._source = source
        # A copy, since a file that is mapped could be cut off by another process, which would end this one.
        self._file = _Memory(len(content))
        self._file.bytes[:] = content
        need, self._engine, shape = ctypes.c_size_t(), ctypes.c_void_p(), _StudentShape()
        size = ctypes.c_size_t(len(content))
        at = ctypes.c_void_p(self._file.address)
        self._done(self._library.edgerec_measure(at, size, ctypes.byref(need)))
        self._arena = _Memory(need.value)
        arena = ctypes.c_void_p(self._arena.address)
        self._done(self._library.edgerec_open(at, size, arena, need, ctypes.byref(self._engine)))
        self._library.edgerec_describe(self._engine, ctypes.byref(shape))
        self.shape = shape
        self._free: list[tuple[int, _Memory, ctypes.c_void_p]] = []
        self._lock = Lock()

    @property
    def kernel(self) -> str:
        """The kernel in use, such as "avx2"; each gives the same bits. It can be set, for tests."""
        return str(self._library.edgerec_kernel(self._engine).decode())

    @kernel.setter
    def kernel(self, name: str) -> None:
        if self._library.edgerec_use_kernel(self._engine, name.encode()):
            raise ConfigError(f"this processor has no kernel {name!r}")

    def recommend(self, request: Encoded, weights: Floats, exclude: Ints, k: int, explain: bool = True) -> Ranked:
        """See `edgerec.runtime.engine.Scoring`; without `explain` the reasons are 0."""
        asked, kept = self._request(vars(request), weights, exclude)
        item, utility = array("q", bytes(8 * k)), array("f", bytes(4 * k))
        probability, reason = self._rows(k, self.shape.tasks), self._rows(k, asked.events)
        with self._workspace(asked.events) as own:
            out = (_at(item), _at(utility), _at(probability.values), _at(reason.values) if explain else None)
            self._done(self._library.edgerec_recommend(self._engine, own, ctypes.byref(asked), k, *out))
        return Ranked(item, utility, probability, reason, kept[0])

    def score(self, request: Encoded, weights: Floats, candidates: Ints) -> Ranked:
        """See `edgerec.runtime.engine.Scoring`."""
        asked, kept = self._request(vars(request), weights, ())
        item = ints(candidates)
        n, utility = len(item), array("f", bytes(4 * len(item)))
        probability, reason = self._rows(n, self.shape.tasks), self._rows(n, asked.events)
        with self._workspace(asked.events) as own:
            out = (_at(utility), _at(probability.values), _at(reason.values))
            self._done(self._library.edgerec_score(self._engine, own, ctypes.byref(asked), _at(item), n, *out))
        return Ranked(item, utility, probability, reason, kept[0])

    def similar(self, item: int, exclude: Ints, k: int) -> tuple[Ints, Floats]:
        """See `edgerec.runtime.engine.Scoring`."""
        if not self.shape.related:
            raise BundleError(f"{self._source}: this bundle was built without a related task; build it with one")
        related, score = array("q", bytes(8 * k)), array("f", bytes(4 * k))
        gone = ints(exclude)
        with self._workspace(0) as own:
            asked = (item, _at(gone), len(gone), k)
            self._done(self._library.edgerec_similar(self._engine, own, *asked, _at(related), _at(score)))
        return related, score

    def vectors(self, items: Ints) -> Matrix:
        """See `edgerec.runtime.engine.Engine`."""
        items = ints(items)
        rows = self._rows(len(items), self.shape.dim)
        self._done(self._library.edgerec_vectors(self._engine, _at(items), len(items), _at(rows.values)))
        return rows

    def _rows(self, n: int, width: int) -> Matrix:
        return Matrix(array("f", bytes(4 * n * width)), width, n)

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See `edgerec.runtime.engine.Engine`."""
        exclude = ints(inputs.get("exclude", ()))
        if name == "vectors.onnx":
            return {"vector": self.vectors(ints(inputs["item"]))}
        if name == "similar.onnx":
            found = self.similar(int(inputs["item"]), exclude, int(inputs["k"]))
            return dict(zip(OUTPUTS[name], found, strict=True))
        request, weights = encoded(inputs), floats(inputs["task_weights"])
        if name == "recommend.onnx":
            ranked = self.recommend(request, weights, exclude, int(inputs["k"]))
        elif name == "score.onnx":
            ranked = self.score(request, weights, ints(inputs["candidates"]))
        else:
            raise KeyError(name)
        return {output: getattr(ranked, output) for output in OUTPUTS[name]}

    def _request(
        self, arrays: Mapping[str, Any], weights: Floats, exclude: Iterable[int]
    ) -> tuple[_AskedRequest, tuple[Any, ...]]:
        """A request, and the arrays that it points to."""
        shape, events = self.shape, len(arrays["history"])
        item, kind, count, age, interval = map(arrays.__getitem__, _HISTORY)
        past = (ints(item), ints(kind), floats(count), floats(age), floats(interval))
        beside = (ints(arrays["context_categorical"]), floats(arrays["context_numeric"]), floats(weights))
        removed = ints(exclude)
        lengths = [len(a) for a in (*past, *beside)]
        if lengths != [events] * 5 + [shape.categorical, shape.numeric, shape.tasks]:
            raise BundleError(
                f"{self._source}: a request has arrays of {lengths} entries, which do not fit the student"
            )
        at = [_at(a) for a in (*past, *beside, removed)]
        asked = _AskedRequest(*at[:5], events, *at[5:], len(removed))
        return asked, (*past, *beside, removed)

    @contextmanager
    def _workspace(self, events: int) -> Iterator[ctypes.c_void_p]:
        """A workspace for so many events that no other call uses."""
        with self._lock:
            own = self._free.pop() if self._free else None
        if own is None or own[0] < events:
            own = self._new_workspace(max(64, 1 << (events - 1).bit_length() if events else 1))
        try:
            yield own[2]
        finally:
            with self._lock:
                self._free.append(own)

    def _new_workspace(self, events: int) -> tuple[int, _Memory, ctypes.c_void_p]:
        need = self._library.edgerec_workspace_bytes(self._engine, ctypes.c_size_t(events))
        if not need:
            raise BundleError(f"{self._source}: a request has {events} events, more than the engine takes")
        memory, own = _Memory(need), ctypes.c_void_p()
        at, size = ctypes.c_void_p(memory.address), ctypes.c_size_t(need)
        self._done(
            self._library.edgerec_workspace_open(self._engine, ctypes.c_size_t(events), at, size, ctypes.byref(own))
        )
        return events, memory, own

    def _done(self, code: int) -> None:
        if code:
            raise BundleError(f"{self._source}: {self._library.edgerec_message(code).decode()}")


def _at(values: Ints | Floats) -> int:
    return values.buffer_info()[0]


def encoded(inputs: Mapping[str, Any]) -> Encoded:
    """JSON values as the arrays of a request; a graph without categorical context has no such input."""
    zeros = [0] * len(inputs["history"])
    return Encoded(
        history=ints(inputs["history"]),
        history_kind=ints(inputs.get("history_kind", zeros)),
        history_count=floats(inputs.get("history_count", zeros)),
        history_age_h=floats(inputs.get("history_age_h", zeros)),
        history_interval_h=floats(inputs.get("history_interval_h", zeros)),
        context_categorical=ints(inputs.get("context_categorical", ())),
        context_numeric=floats(inputs.get("context_numeric", ())),
    )
