"""A prepared dataset on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from edgerec.data.counts import Counts
from edgerec.data.graph import GraphMeta
from edgerec.data.splits import PARTS, Boundaries
from edgerec.data.vocabularies import EncodedColumns
from edgerec.errors import DataError
from edgerec.tasks import Task

__all__ = ["Counts", "Dataset", "Meta", "Part"]

FORMAT = 1
PROPENSITIES = "propensities.parquet"

Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Meta:
    """The content of dataset.json.

    Attributes:
        rows: number of rows of each part.
        catalog: number of items known at the end of each part; these are the first ones of the item table.
        clips: for each clipped regression task, the value at which its labels are cut.
        context: columns of the log; "hour" and "weekday" come from the time, in `timezone`.
        text: whether items have text.
        graph: the knowledge graph, if there is one.
        time_format: how the times of the log were read, see `edgerec.data.times`.
    """

    name: str
    n_users: int
    n_items: int
    rows: dict[str, int]
    catalog: dict[str, int]
    boundaries_ms: Boundaries
    tasks: tuple[Task, ...]
    clips: dict[str, float]
    context: EncodedColumns
    users: EncodedColumns
    items: EncodedColumns
    text: bool
    counts: Counts
    timezone: str
    inputs_hash: str
    settings_hash: str
    graph: GraphMeta | None = None
    time_format: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of dataset.json."""
        plain = {name: getattr(self, name) for name in ("name", "n_users", "n_items", "rows", "catalog", "clips")}
        return {
            "format": FORMAT,
            **plain,
            "boundaries_ms": asdict(self.boundaries_ms),
            "tasks": [task.to_json() for task in self.tasks],
            "context": self.context.to_json(),
            "users": self.users.to_json(),
            "items": self.items.to_json() | {"text": self.text},
            "counts": self.counts.to_json(),
            "timezone": self.timezone,
            "time_format": self.time_format,
            "inputs_hash": self.inputs_hash,
            "settings_hash": self.settings_hash,
            "graph": None if self.graph is None else self.graph.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Meta:
        """The inverse of `to_json`."""
        plain = ("name", "n_users", "n_items", "rows", "catalog", "clips", "timezone", "inputs_hash", "settings_hash")
        graph = value.get("graph")
        return cls(
            **{name: value[name] for name in plain},
            boundaries_ms=Boundaries(**value["boundaries_ms"]),
            tasks=tuple(Task.from_json(task) for task in value["tasks"]),
            context=EncodedColumns.from_json(value["context"]),
            users=EncodedColumns.from_json(value["users"]),
            items=EncodedColumns.from_json(value["items"]),
            text=value["items"]["text"],
            counts=Counts.from_json(value["counts"]),
            time_format=value.get("time_format"),
            graph=None if graph is None else GraphMeta.from_json(graph),
        )


@dataclass(frozen=True)
class Dataset:
    """The folder that `prepare` wrote."""

    folder: Path
    meta: Meta

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """Open a prepared dataset; rows are read when asked for.

        Raises:
            DataError: the folder has no dataset, or one of another format.
        """
        folder = Path(folder)
        try:
            value = json.loads((folder / "dataset.json").read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{folder}: holds no dataset.json; run: edgerec prepare") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / 'dataset.json'}: cannot be read ({error}); run: edgerec prepare") from None
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(f"{folder / 'dataset.json'}: expected format {FORMAT}; run: edgerec prepare")
        return cls(folder, Meta.from_json(value))

    def part(self, name: Part) -> pl.LazyFrame:
        """Events of a part, sorted by time."""
        return pl.scan_parquet(self.folder / f"{name}.parquet")

    def training_frame(self, part: Literal["valid", "test"]) -> pl.LazyFrame:
        """The training split for models that are evaluated on `part`: train, or for test train and valid.

        Without a time split (leave-last-out) the result is sorted by part, then time.
        """
        return pl.concat([self.part(name) for name in PARTS[: PARTS.index(part)]])  # type: ignore[arg-type]

    def items(self) -> pl.DataFrame:
        """The item table, by index."""
        return pl.read_parquet(self.folder / "items.parquet")

    def users(self) -> pl.DataFrame:
        """The user table, by index."""
        return pl.read_parquet(self.folder / "users.parquet")

    def propensities(self) -> pl.DataFrame | None:
        """Columns row and propensity of the rows of valid and test that have one; None if the settings name none."""
        path = self.folder / PROPENSITIES
        return pl.read_parquet(path) if path.exists() else None

    def graph(self) -> pl.DataFrame:
        """Edges of the knowledge graph, head, relation and tail as `GraphMeta` numbers them; none without a graph."""
        if self.meta.graph is None:
            return pl.DataFrame(schema=dict.fromkeys(("head", "relation", "tail"), pl.UInt32))
        return pl.read_parquet(self.folder / "graph.parquet")
