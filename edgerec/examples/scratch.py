"""Columns that are too long for memory: files that live as long as this process, mapped where they are read."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
"""Arrays of one length by name; of two dimensions where a row holds a list."""


@dataclass(frozen=True)
class Limits:
    """Bounds on memory, which change no result."""

    rows: int = 2_000_000
    """Rows that are worked on together; columns of no more rows stay in memory."""
    events: int = 3_000_000
    """Events of all distinct pasts together up to which their histories are made once and stay in memory."""
    shared: int = 16_000_000
    """Bytes from which a table lies in a file, whose pages all processes of a run share."""


class Mapped(np.memmap):
    """A mapped file that another process is handed by its name, not by its content."""

    path: str | None = None
    """Of a whole file; `filename` is not kept where there are no columns."""

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__() if self.path is None else (mapped, (self.path,))


def mapped(path: str | Path) -> npt.NDArray[Any]:
    """The array of a .npy file, read when it is used."""
    array: Mapped = np.load(path, mmap_mode="r", allow_pickle=False).view(Mapped)
    array.path = str(path)
    return array


class Scratch:
    """Where long columns lie: a folder of this process in `folder`, made when the first one comes, erased at the end.

    What a killed process left behind is erased by the next one.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder, self.limits = folder, limits or Limits()
        self._own: Path | None = None

    def joined(self, n: int, parts: Iterable[Columns]) -> Columns:
        """The columns of `n` rows in all that come in `parts`; in memory if they are few."""
        if n <= self.limits.rows:
            whole = list(parts)
            return whole[0] if len(whole) == 1 else {k: np.concatenate([p[k] for p in whole]) for k in whole[0]}
        files: dict[str, tuple[Path, npt.NDArray[Any]]] = {}
        at = 0
        for part in parts:
            for name, values in part.items():
                if name not in files:
                    files[name] = self._room(n, values)
                files[name][1][at : at + len(values)] = values
            at += len(next(iter(part.values())))
        assert at == n, (at, n)
        for _, room in files.values():
            room.flush()  # type: ignore[attr-defined]
        return {name: mapped(path) for name, (path, _) in files.items()}

    def stacked(self, n: int, parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The `n` arrays of one shape that come in `parts`, (n, ...)."""
        each = iter(parts)
        first = next(each)
        if n * first.nbytes < self.limits.shared:
            return np.stack([first, *each])
        path, room = self._room(n, first[None])
        for i, values in enumerate(chain([first], each)):
            room[i] = values
        room.flush()  # type: ignore[attr-defined]
        return mapped(path)

    def folder_of(self, name: str) -> Path:
        """A folder of this process for files of its own, emptied where it is there already."""
        own = self._place() / name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        return own

    def _room(self, n: int, like: npt.NDArray[Any]) -> tuple[Path, npt.NDArray[Any]]:
        handle, path = tempfile.mkstemp(suffix=".npy", dir=self._place())
        os.close(handle)
        return Path(path), np.lib.format.open_memmap(path, "w+", like.dtype, (n, *like.shape[1:]))

    def _place(self) -> Path:
        if self._own is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in self.folder.glob("scratch-*"):
                if not _lives(int(old.name.split("-")[1])):
                    shutil.rmtree(old, ignore_errors=True)
            self._own = Path(tempfile.mkdtemp(prefix=f"scratch-{os.getpid()}-", dir=self.folder))
            weakref.finalize(self, shutil.rmtree, self._own, ignore_errors=True)
        return self._own


def pieces(n: int, size: int = Limits.rows) -> Iterator[tuple[int, int]]:
    """First row and end of each piece of `n` rows, of at most `size`; one empty piece if `n` is 0."""
    for start in range(0, max(n, 1), size):
        yield start, min(start + size, n)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, SystemError):
        return True
    return True
