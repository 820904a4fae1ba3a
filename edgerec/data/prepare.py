"""From a log to a dataset: clean, order, split, encode, write.

Of each row only narrow numbers are held in memory, 20 to 28 bytes and a copy while they are sorted, and one feature
at a time; texts stay in Parquet files and pass through Polars' streaming engine. A log of 20 million rows takes 75
bytes of memory a row at the most.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from edgerec.config import Config, DataConfig, ItemsConfig, UsersConfig
from edgerec.data.cleaning import clean, label_columns
from edgerec.data.counts import Counts
from edgerec.data.dataset import Meta
from edgerec.data.events import Numbered, clip_labels, drop_repeats, in_order, number, read_events, read_ids
from edgerec.data.graph import GraphMeta, read_graph
from edgerec.data.parts import write_parts, write_rejected
from edgerec.data.readers import Source, hash_files, reading
from edgerec.data.splits import PARTS, split
from edgerec.data.tables import (
    attributes_from_file,
    attributes_from_log,
    check_numbers,
    encode_items,
    encode_users,
)
from edgerec.data.vocabularies import EncodedColumns
from edgerec.errors import DataError
from edgerec.files import write_json
from edgerec.progress import Progress, Silent

__all__ = ["PrepareReport", "prepare"]

ROWS = "rows.parquet"
"""All rows of the log as `clean` reads them, while a dataset is being written."""


@dataclass(frozen=True)
class PrepareReport:
    """What became of the log.

    Attributes:
        folder: where the dataset is.
        meta: its description.
        notes: what was assumed or left out, one sentence each.
    """

    folder: Path
    meta: Meta
    notes: tuple[str, ...]

    def lines(self) -> Sequence[str]:
        """What was rejected and what is left, for the screen; the notes were printed before."""
        meta = self.meta
        rejected = [f"{n:,} rows rejected: {reason}" for reason, n in meta.counts.rejected.items()]
        return [*rejected, f"{meta.n_users:,} users, {meta.n_items:,} items"]

    def to_json(self) -> dict[str, Any]:
        """For ``edgerec prepare --json``."""
        meta = self.meta
        return {
            "dataset": str(self.folder),
            "counts": meta.counts.to_json(),
            "rows": meta.rows,
            "users": meta.n_users,
            "items": meta.n_items,
            "catalog": meta.catalog,
            "notes": list(self.notes),
        }


def prepare(config: Config, run_dir: Path, progress: Progress | None = None) -> PrepareReport:
    """Write ``run_dir/dataset``; an earlier dataset is replaced only when the new one is whole.

    Raises:
        DataError: the log or a table beside it is not what the settings say, or too little of it is left.
    """
    progress = progress or Silent()
    target, fresh = run_dir / "dataset", run_dir / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        preparation = _Preparation(config, fresh, progress)
        meta = preparation.run()
        write_json(fresh / "dataset.json", meta.to_json(), sort_keys=False, ensure_ascii=False)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return PrepareReport(target, meta, tuple(preparation.notes))


class _Preparation:
    """One call of `prepare`: its settings, the log, and the folder that it fills."""

    def __init__(self, config: Config, folder: Path, progress: Progress) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        data = config.data
        ids = [expression for expression in (data.user, data.item, data.session) if expression is not None]
        self.log = Source.open(config.resolve(data.interactions), as_text=ids)
        self.labels = label_columns(config.task)
        self.notes: list[str] = []

    def run(self) -> Meta:
        """Write the dataset."""
        config, data = self.config, self.config.data
        check_numbers(self.log, data.context.numeric, "data] [context")
        log_rows = self._clean()
        events, ids, rejected, counts = self._select(log_rows)
        events = in_order(events, ids)
        part, cuts = split(events, data.split, data.zone)
        rows = self._rows_by_part(part)
        numbered = number(events.with_columns(part=part), ids)
        del events, part, ids  # `numbered` has them again
        self._check_items(numbered.item_ids)
        self.progress.say(
            f"{counts.kept} of {counts.rows_in} rows kept: " + ", ".join(f"{n} {name}" for name, n in rows.items())
        )
        items, item_columns = self._items(numbered, log_rows)
        users, user_columns = self._users(numbered, log_rows)
        items.write_parquet(self.folder / "items.parquet")
        users.write_parquet(self.folder / "users.parquet")
        graph = self._graph(items["id"])
        events, clips = clip_labels(numbered.events, config.task)
        context = write_parts(events, log_rows, data.context, data.zone, config.task, self.folder)
        write_rejected(rejected, self.log, self.folder)
        (self.folder / ROWS).unlink()
        return Meta(
            name=config.name,
            n_users=users.height,
            n_items=items.height,
            rows=rows,
            catalog=numbered.catalog,
            boundaries_ms=cuts,
            tasks=config.tasks,
            clips=clips,
            context=context,
            users=user_columns,
            items=item_columns,
            text=bool(data.items.text),
            counts=counts,
            timezone=data.timezone,
            inputs_hash=hash_files(_inputs(config)),
            settings_hash=_hash_settings(config),
            graph=graph,
        )

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.progress.say(line)

    def _clean(self) -> pl.LazyFrame:
        """All rows of the log with the reason to reject them, in its order: rows.parquet."""
        cleaned = clean(self.log, self.config.data, self.config.task, _log_features(self.config.data))
        self._note(f"times were read as {cleaned.note}")
        with reading(self.log.path):
            cleaned.frame.sink_parquet(self.folder / ROWS)
        return pl.scan_parquet(self.folder / ROWS)

    def _select(self, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, dict[str, pl.Series], pl.DataFrame, Counts]:
        """The events that the dataset has, the ids behind their codes, (row, reason) of all other rows, and how many
        these are."""
        data = self.config.data
        kept = log_rows.filter(pl.col("reason").is_null())
        ids = read_ids(kept, data.session is not None)
        events, dropped = drop_repeats(read_events(kept, self.labels, ids), self.labels, data.split.core)
        rejected = log_rows.filter(pl.col("reason").is_not_null()).select("row", "reason").collect(engine="streaming")
        rejected = pl.concat([rejected, dropped])
        rows_in: int = log_rows.select(pl.len()).collect().item()
        reasons = dict(rejected.group_by("reason").len().sort("len", "reason", descending=[True, False]).iter_rows())
        counts = Counts(rows_in, rows_in - rejected.height, reasons)
        if events.is_empty():
            listed = ", ".join(f"{n} {why}" for why, n in counts.rejected.items())
            raise DataError(f"{self.log.path}: no row is left of {counts.rows_in}: {listed}")
        return events, ids, rejected, counts

    def _rows_by_part(self, part: pl.Series) -> dict[str, int]:
        """How many rows each part has; none may be empty."""
        rows = {name: int((part == i).sum()) for i, name in enumerate(PARTS)}
        empty = [name for name in PARTS if not rows[name]]
        if empty:
            listed = ", ".join(f"{rows[name]} {name}" for name in PARTS)
            raise DataError(
                f"{self.log.path}: the split leaves no rows for {' and '.join(empty)} ({listed}); "
                "change split in [data]"
            )
        return rows

    def _check_items(self, item_ids: pl.Series) -> None:
        ranks = any(task.kind in ("retrieval", "related") for task in self.config.task)
        if item_ids.len() < 2 and ranks:
            raise DataError(f"{self.log.path}: all rows are about one item ({item_ids[0]}); ranking needs at least two")

    def _items(self, numbered: Numbered, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, EncodedColumns]:
        settings, ids, events = self.config.data.items, numbered.item_ids, numbered.events
        if settings.path is None:
            first = [*settings.text, *settings.categorical]
            raw = attributes_from_log(ids, events, log_rows, "item", first, settings.numeric)
        else:
            table = self._table(settings.path, settings, settings.id or self.config.data.item, "items")
            raw = self._beside_log(table, ids, settings.path, "items")
            raw = pl.concat([raw, table.join(raw, on="id", how="anti", maintain_order="left")])
        return encode_items(raw, settings, numbered.catalog["train"])

    def _users(self, numbered: Numbered, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, EncodedColumns]:
        settings, ids, events = self.config.data.users, numbered.user_ids, numbered.events
        if settings.path is None:
            raw = attributes_from_log(ids, events, log_rows, "user", settings.categorical, settings.numeric)
        else:
            table = self._table(settings.path, settings, settings.id or self.config.data.user, "users")
            raw = self._beside_log(table, ids, settings.path, "users")
            if others := table.height - raw.join(table, on="id", how="semi").height:
                self._note(f"{settings.path}: {others} users are never in the log and were left out")
        in_train = events.select("user", "part").group_by("user").agg(pl.col("part").min()).sort("user")["part"] == 0
        return encode_users(raw, settings, in_train)

    def _table(self, path: str, settings: ItemsConfig | UsersConfig, id_expression: str, name: str) -> pl.DataFrame:
        table, notes = attributes_from_file(self.config.resolve(path), path, settings, id_expression, f"data.{name}")
        for note in notes:
            self._note(note)
        return table

    def _beside_log(self, table: pl.DataFrame, ids: pl.Series, path: str, name: str) -> pl.DataFrame:
        """The table's rows for `ids`, in their order; an id that it lacks has no attributes."""
        raw = pl.DataFrame({"id": ids}).join(table, on="id", how="left", maintain_order="left")
        if absent := pl.DataFrame({"id": ids}).join(table, on="id", how="anti").height:
            self._note(f"{path}: {absent} of {len(ids)} {name} of the log are not in it and have no attributes")
        if absent == len(ids):
            raise DataError(f"{path}: knows none of the log's {name} (such as {ids[0]!r}); check id in [data.{name}]")
        return raw

    def _graph(self, item_ids: pl.Series) -> GraphMeta | None:
        """Write graph.parquet and its rejected rows, if there is a graph."""
        if self.config.data.graph is None:
            return None
        path = self.config.data.graph.edges
        edges, meta, rejected = read_graph(self.config.resolve(path), item_ids)
        edges.write_parquet(self.folder / "graph.parquet")
        rejected.write_parquet(self.folder / "graph_rejected.parquet")
        counts = meta.counts
        self._note(
            f"{path}: {counts.kept} of {counts.rows_in} edges kept, of {len(meta.relations)} relations; "
            f"{len(meta.entities)} heads and tails are entities, not items"
        )
        for reason, n in counts.rejected.items():
            self._note(f"{path}: {n} edges rejected: {reason}")
        return meta


def _log_features(data: DataConfig) -> list[str]:
    """Columns of the log that are features of a request, an item or a user."""
    columns = [*data.context.categorical, *data.context.numeric]
    for table in (data.items, data.users):
        if table.path is None:
            columns += table.columns
    return list(dict.fromkeys(columns))


def _inputs(config: Config) -> list[str]:
    """Paths of all files that a dataset is made of."""
    data = config.data
    paths = [data.interactions, data.items.path, data.users.path, data.graph.edges if data.graph else None]
    return [config.resolve(path) for path in paths if path is not None]


def _hash_settings(config: Config) -> str:
    settings = config.model_dump(mode="json", include={"name", "data", "task"})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
