"""A teacher's labels on disk: Parquet files in ``RUN/soft/``, each written whole, so that labelling can be resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.examples.scratch import Columns, mapped
from edgerec.files import read_json, replacing, write_json

FACTS = "soft.json"
Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class SoftStore:
    """A folder of labels for one teacher, dataset and set of requests.

    Attributes:
        key: hash of all that the labels depend on; a folder with another one is emptied.
    """

    folder: Path
    key: str

    @classmethod
    def open(cls, folder: Path, key: str) -> SoftStore:
        """The store in `folder`, empty unless its labels are of this `key`."""
        if folder.exists() and (not (folder / FACTS).exists() or read_json(folder / FACTS).get("key") != key):
            shutil.rmtree(folder)
        store = cls(folder, key)
        if not (folder / FACTS).exists():
            folder.mkdir(parents=True, exist_ok=True)
            store._write({"seconds": 0.0, "complete": []})
        return store

    def has(self, kind: str) -> bool:
        """Are all parts of a kind of labels there?"""
        return kind in self._facts()["complete"]

    def fill(
        self, kind: str, spans: Sequence[Span], label: Callable[[int, int], Mapping[str, npt.NDArray[Any]]]
    ) -> None:
        """Write each part that is missing; `label` makes the columns of the examples from a first one up to an end."""
        if self.has(kind):
            return
        for number, span in enumerate(spans):
            path = self.folder / f"{kind}-{number:05d}.parquet"
            if path.exists():
                continue
            start = time.monotonic()
            columns = {name: np.ascontiguousarray(values) for name, values in label(*span).items()}
            table = pl.DataFrame({name: pl.Series(name, values) for name, values in columns.items()})
            with replacing(path) as part:
                table.write_parquet(part, compression="lz4", statistics=False)
            self._write(self._facts() | {"seconds": self._facts()["seconds"] + time.monotonic() - start})
        self._write(self._facts() | {"complete": [*self._facts()["complete"], kind]})

    def read(self, kind: str, place: Path | None = None) -> Columns:
        """All columns of a kind by example: in memory, or mapped files in `place`, of which an epoch reads a part.

        Examples stand in the order of the parts, or where a column "example" says.
        """
        paths = sorted(self.folder.glob(f"{kind}-*.parquet"))
        n = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in paths)
        columns: Columns = {}
        start = 0
        for path in paths:
            frame = pl.read_parquet(path)
            at: slice | npt.NDArray[Any] = slice(start, start + len(frame))
            if "example" in frame.columns:
                at = frame["example"].to_numpy()
            for name in (c for c in frame.columns if c != "example"):
                values = frame[name].to_numpy()
                if name not in columns:
                    columns[name] = _room(place, f"{kind}-{name}.npy", (n, *values.shape[1:]), values.dtype)
                columns[name][at] = values
            start += len(frame)
        if place is None:
            return columns
        # By the file's name, so that another process is handed that and not the content.
        return {name: mapped(place / f"{kind}-{name}.npy") for name in columns}

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(path.stat().st_size for path in self.folder.glob("*.parquet"))

    @property
    def seconds(self) -> float:
        """Time that labelling took, without breaks."""
        return float(self._facts()["seconds"])

    def _facts(self) -> dict[str, Any]:
        return read_json(self.folder / FACTS)

    def _write(self, facts: Mapping[str, Any]) -> None:
        write_json(self.folder / FACTS, {**facts, "key": self.key})


def spans(n: int, size: int) -> list[Span]:
    """`n` examples in parts of `size`."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _room(place: Path | None, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    if place is None:
        return np.empty(shape, dtype)
    place.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(place / name, "w+", dtype, shape)


def key_of(*parts: object) -> str:
    """Hash of what labels depend on; bytes as they are, all else as JSON."""
    key = hashlib.sha256()
    for part in parts:
        key.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return key.hexdigest()
