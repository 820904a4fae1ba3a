"""The native engine: a library of `devices/native` through ctypes, which reads student.bin."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgerec.bundle import Bundle
from edgerec.bundle.size import STUDENT
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime.onnx_file import Array
from edgerec.tasks import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgerec.runtime.engine import Ranked

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]

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

    def recommend(self, request: Encoded, weights: Float, exclude: Int, k: int, explain: bool = True) -> Ranked:
        """See `edgerec.runtime.engine.Scoring`; without `explain` the reasons are 0."""
        asked, kept = self._request(vars(request), weights, exclude)
        item, utility = np.empty(k, np.int64), np.empty(k, np.float32)
        probability = np.empty((k, self.shape.tasks), np.float32)
        reason = np.zeros((k, asked.events), np.float32)
        with self._workspace(asked.events) as own:
            out = (_at(item), _at(utility), _at(probability), _at(reason) if explain else None)
            size = ctypes.c_size_t(k)
            self._done(self._library.edgerec_recommend(self._engine, own, ctypes.byref(asked), size, *out))
        return _ranked(item, utility, probability, reason, kept[0])

    def score(self, request: Encoded, weights: Float, candidates: Int) -> Ranked:
        """See `edgerec.runtime.engine.Scoring`."""
        asked, kept = self._request(vars(request), weights, None)
        item = np.ascontiguousarray(candidates, np.int64)
        utility = np.empty(len(item), np.float32)
        probability = np.empty((len(item), self.shape.tasks), np.float32)
        reason = np.empty((len(item), asked.events), np.float32)
        with self._workspace(asked.events) as own:
            out = (_at(utility), _at(probability), _at(reason))
            size = ctypes.c_size_t(len(item))
            self._done(self._library.edgerec_score(self._engine, own, ctypes.byref(asked), _at(item), size, *out))
        return _ranked(candidates, utility, probability, reason, kept[0])

    def similar(self, item: int, exclude: Int, k: int) -> tuple[Int, Float]:
        """See `edgerec.runtime.engine.Engine`."""
        if not self.shape.related:
            raise BundleError(f"{self._source}: this bundle was built without a related task; build it with one")
        related, score = np.empty(k, np.int64), np.empty(k, np.float32)
        exclude = np.ascontiguousarray(exclude, np.int64)
        with self._workspace(0) as own:
            asked = (ctypes.c_int64(item), _at(exclude), ctypes.c_size_t(len(exclude)), ctypes.c_size_t(k))
            self._done(self._library.edgerec_similar(self._engine, own, *asked, _at(related), _at(score)))
        return related, score

    def vectors(self, items: Int) -> Float:
        """See `edgerec.runtime.engine.Engine`."""
        items = np.ascontiguousarray(items, np.int64)
        vector = np.empty((len(items), self.shape.dim), np.float32)
        self._done(self._library.edgerec_vectors(self._engine, _at(items), ctypes.c_size_t(len(items)), _at(vector)))
        return vector

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """See `edgerec.runtime.engine.Engine`."""
        from edgerec.runtime.engine import OUTPUTS

        exclude = np.asarray(inputs.get("exclude", ()), np.int64)
        if name == "vectors.onnx":
            return {"vector": self.vectors(np.asarray(inputs["item"], np.int64))}
        if name == "similar.onnx":
            found = self.similar(int(inputs["item"]), exclude, int(inputs["k"]))
            return dict(zip(OUTPUTS[name], found, strict=True))
        request = encoded(inputs)
        weights = np.asarray(inputs["task_weights"], np.float32)
        if name == "recommend.onnx":
            ranked = self.recommend(request, weights, exclude, int(inputs["k"]))
        elif name == "score.onnx":
            ranked = self.score(request, weights, np.asarray(inputs["candidates"], np.int64))
        else:
            raise KeyError(name)
        return {output: getattr(ranked, output) for output in OUTPUTS[name]}

    def _request(
        self, arrays: Mapping[str, Array], weights: Float, exclude: Int | None
    ) -> tuple[_AskedRequest, tuple[Array, ...]]:
        """A request, and the arrays that it points to."""
        shape, events = self.shape, len(arrays["history"])
        kinds = (np.int64, np.int64, np.float32, np.float32, np.float32)
        kept: tuple[Array, ...] = tuple(
            np.ascontiguousarray(arrays[n], t) for n, t in zip(_HISTORY, kinds, strict=True)
        )
        beside: tuple[Array, ...] = (
            np.ascontiguousarray(arrays["context_categorical"], np.int64),
            np.ascontiguousarray(arrays["context_numeric"], np.float32),
            np.ascontiguousarray(weights, np.float32),
        )
        removed: Array = np.ascontiguousarray(() if exclude is None else exclude, np.int64)
        lengths = [len(a) for a in (*kept, *beside)]
        if lengths != [events] * 5 + [shape.categorical, shape.numeric, shape.tasks]:
            raise BundleError(
                f"{self._source}: a request has arrays of {lengths} entries, which do not fit the student"
            )
        asked = _AskedRequest(*map(_at, kept), events, *map(_at, beside), _at(removed), len(removed))
        return asked, (*kept, *beside, removed)

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


def _at(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _ranked(item: Int, utility: Float, probability: Float, reason: Float, history: Array) -> Ranked:
    from edgerec.runtime.engine import Ranked

    return Ranked(item, utility, probability, reason, history)


def encoded(inputs: Mapping[str, Any]) -> Encoded:
    """JSON values as the arrays of a request; a graph without categorical context has no such input."""
    events = len(inputs["history"])
    zeros = np.zeros(events)

    def array(name: str, kind: type, default: Any) -> Array:
        return np.asarray(inputs.get(name, default), kind)

    return Encoded(
        history=array("history", np.int64, ()),
        history_kind=array("history_kind", np.int64, zeros),
        history_count=array("history_count", np.float32, zeros),
        history_age_h=array("history_age_h", np.float32, zeros),
        history_interval_h=array("history_interval_h", np.float32, zeros),
        context_categorical=array("context_categorical", np.int64, ()),
        context_numeric=array("context_numeric", np.float32, ()),
    )
