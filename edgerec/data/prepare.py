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

from edgerec.config import Config, ItemsConfig, UsersConfig
from edgerec.data.cleaning import DUPLICATE, DUPLICATE_KEY, UNREADABLE_TIME, clean, label_columns
from edgerec.data.counts import Counts
from edgerec.data.dataset import Dataset, Meta, Part
from edgerec.data.events import Numbered, clip_labels, drop_repeats, in_order, number, read_events, read_ids
from edgerec.data.fitness import refuse_impossible
from edgerec.data.graph import GraphMeta, read_graph
from edgerec.data.ids import reads_as_missing
from edgerec.data.near import missing_ids
from edgerec.data.parts import write_parts, write_rejected
from edgerec.data.propensities import write_propensities
from edgerec.data.readers import Reading, Source, hash_files, reading
from edgerec.data.request_counts import describe_judged
from edgerec.data.several import cut_cells, describe
from edgerec.data.splits import PARTS, split
from edgerec.data.tables import (
    attributes_from_file,
    attributes_from_log,
    check_numbers,
    check_texts,
    encode_items,
    encode_users,
)
from edgerec.data.times import CLOCKLESS
from edgerec.data.vocabularies import EncodedColumns
from edgerec.errors import DataError
from edgerec.files import alone_in, write_json
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
        sessions: has the log sessions?
    """

    folder: Path
    meta: Meta
    notes: tuple[str, ...]
    sessions: bool

    def lines(self) -> Sequence[str]:
        """What was rejected and what is left, for the screen; the notes were printed before."""
        meta = self.meta
        share = 100 / max(meta.counts.rows_in, 1)
        rejected = [
            f"{n:,} rows ({n * share:.1f} %) rejected: {self._meaning(reason)}"
            for reason, n in meta.counts.rejected.items()
        ]
        return [*rejected, f"{meta.n_users:,} users, {meta.n_items:,} items"]

    def _meaning(self, reason: str) -> str:
        return f"{reason}, {DUPLICATE_KEY[self.sessions]}" if reason == DUPLICATE else reason

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


def prepare(
    config: Config, run_dir: Path, progress: Progress | None = None, judged_on: Sequence[Part] = ("valid", "test")
) -> PrepareReport:
    """Write ``run_dir/dataset``; an earlier dataset is replaced only when the new one is whole.

    Args:
        judged_on: parts that a model will be judged on; without any the dataset is only looked at, and nothing is
            refused for what cannot be learned or judged.

    Raises:
        DataError: the log or a table beside it is not what the settings say, too little of it is left, or another
            process prepares this folder. Or nothing can be learned from it, or judged on it; then the dataset is there
            for `edgerec doctor`.
    """
    with alone_in(run_dir, "edgerec prepare"):
        report = _prepare(config, run_dir, progress or Silent())
        if judged_on:
            refuse_impossible(Dataset.open(report.folder), judged_on)
        return report


def _prepare(config: Config, run_dir: Path, progress: Progress) -> PrepareReport:
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
    return PrepareReport(target, meta, tuple(preparation.notes), config.data.session is not None)


class _Preparation:
    """One call of `prepare`: its settings, the log, and the folder that it fills."""

    def __init__(self, config: Config, folder: Path, progress: Progress) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        data = config.data
        self.log = Source.open(config.resolve(data.interactions), Reading.of(data))
        self.labels = label_columns(config.task)
        self.notes: list[str] = []
        self.time_format = ""

    def run(self) -> Meta:
        """Write the dataset."""
        config, data = self.config, self.config.data
        for note in self.log.notes:
            self._note(f"{data.interactions}: {note}")
        if data.time_format in CLOCKLESS and data.context.from_time:
            raise DataError(f'[data] time_format = "{data.time_format}" has no clock; leave from_time out of context')
        if data.items.path is None:
            check_texts(self.log, data.items, "data.items")
        log_rows = self._clean()
        events, ids, rejected, counts = self._select(log_rows)
        events = in_order(events, ids)
        part, cuts = split(events, data.split, data.zone)
        rows = self._rows_by_part(part, rejected)
        numbered = number(events.with_columns(part=part), ids)
        del events, part, ids  # `numbered` has them again
        self._check_items(numbered.item_ids)
        self.progress.say(
            f"{counts.kept} of {counts.rows_in} rows kept: " + ", ".join(f"{n} {name}" for name, n in rows.items())
        )
        self._say_what_is_judged(numbered)
        items, item_columns = self._items(numbered, log_rows)
        users, user_columns = self._users(numbered, log_rows)
        items.write_parquet(self.folder / "items.parquet")
        users.write_parquet(self.folder / "users.parquet")
        graph = self._graph(items["id"])
        events, clips = clip_labels(numbered.events, config.task)
        context = write_parts(events, log_rows, data.context, data.zone, config.task, self.folder)
        write_rejected(rejected, self.log, self.folder)
        if data.propensity is not None:
            self._note(write_propensities(self.log, data.propensity, self.folder))
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
            time_format=self.time_format,
        )

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.progress.say(line)

    def _clean(self) -> pl.LazyFrame:
        """All rows of the log with the reason to reject them, in its order: rows.parquet."""
        data = self.config.data
        texts, numbers = [*data.context.categorical], [*data.context.numeric]
        self._check_numbers(data.context.numeric, "data] [context")
        for section, table in (("data.items", data.items), ("data.users", data.users)):
            if table.path is None:
                texts += [name for name in table.columns if name not in table.numeric]
                numbers += table.numeric
                self._check_numbers(table.numeric, section)
        cleaned = clean(self.log, data, self.config.task, texts, numbers)
        for note in cleaned.notes:
            self._note(note)
        self.time_format = cleaned.time_format
        with reading(self.log.path):
            cleaned.frame.sink_parquet(self.folder / ROWS)
        return pl.scan_parquet(self.folder / ROWS)

    def _check_numbers(self, columns: Sequence[str], section: str) -> None:
        for note in check_numbers(self.log, columns, section):
            self._note(note)

    def _select(self, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, dict[str, pl.Series], pl.DataFrame, Counts]:
        """The events that the dataset has, the ids behind their codes, (row, reason) of all other rows, and how many
        these are."""
        data = self.config.data
        kept = log_rows.filter(pl.col("reason").is_null())
        ids = read_ids(kept, data.session is not None)
        self._note_missing_words(kept, ids)
        events, dropped = drop_repeats(read_events(kept, self.labels, ids), self.labels, data.split.core)
        rejected = log_rows.filter(pl.col("reason").is_not_null()).select("row", "reason").collect(engine="streaming")
        rejected = pl.concat([rejected, dropped])
        rows_in: int = log_rows.select(pl.len()).collect().item()
        reasons = dict(rejected.group_by("reason").len().sort("len", "reason", descending=[True, False]).iter_rows())
        counts = Counts(rows_in, rows_in - rejected.height, reasons)
        self._check_rows(rows_in, rejected, reasons)
        if events.is_empty():
            listed = ", ".join(f"{n} {why}" for why, n in counts.rejected.items())
            self._write_rejected_alone(rejected)
            raise DataError(f"{self.log.path}: no row is left of {counts.rows_in}: {listed}{self._see_rejected}")
        return events, ids, rejected, counts

    def _check_rows(self, rows_in: int, rejected: pl.DataFrame, reasons: dict[str, int]) -> None:
        """Compare the rows that were read with the file's lines, and show a time that could not be read."""
        log, data = self.log, self.config.data
        if log.rows is not None and log.rows != rows_in:
            raise DataError(
                f"{log.path}: its lines make {log.rows:,} rows, but {rows_in:,} were read; look for quotation marks "
                'that do not close, and set quote = "" in [data] if marks are plain characters'
            )
        if (n := reasons.get(UNREADABLE_TIME)) and data.time in log.schema:
            first = int(rejected.filter(pl.col("reason") == UNREADABLE_TIME)["row"].to_numpy().min())
            value = log.frame.select(data.time).slice(first, 1).collect().item()
            self._note(f"{n:,} times cannot be read as {self.time_format}, such as {value!r} in row {first}")
        if log.rows is not None:
            self.progress.say(f"{data.interactions}: {log.rows:,} rows, counted apart from reading them; all were read")

    def _note_missing_words(self, kept: pl.LazyFrame, ids: dict[str, pl.Series]) -> None:
        for role, values in ids.items():
            words = values.to_frame("id").filter(reads_as_missing(pl.col("id")))["id"]
            if len(words):
                rows = kept.filter(pl.col(role).is_in(words.implode())).group_by(role).len().sort(role)
                for word, n in rows.collect(engine="streaming").iter_rows():
                    self._note(
                        f"the {role} {word!r} has {n:,} rows and reads like a missing value; if it is one, list it in "
                        "missing of [data]"
                    )

    def _say_what_is_judged(self, numbered: Numbered) -> None:
        config = self.config
        for line in describe_judged(numbered.events, config.tasks):
            self._note(line)
        if config.data.graph is not None and not config.teacher.graph_layers:
            self._note("[data.graph] is not used: graph_layers of [teacher] is 0")

    def _write_rejected_alone(self, rejected: pl.DataFrame) -> None:
        """Leave the rejected rows beside the dataset that is not there."""
        write_rejected(rejected, self.log, self.folder.parent)

    @property
    def _see_rejected(self) -> str:
        return f"; rejected rows are in {self.folder.parent / 'rejected.parquet'}"

    def _rows_by_part(self, part: pl.Series, rejected: pl.DataFrame) -> dict[str, int]:
        """How many rows each part has; none may be empty."""
        rows = {name: int((part == i).sum()) for i, name in enumerate(PARTS)}
        empty = [name for name in PARTS if not rows[name]]
        if empty:
            listed = ", ".join(f"{rows[name]} {name}" for name in PARTS)
            self._write_rejected_alone(rejected)
            raise DataError(
                f"{self.log.path}: the split leaves no rows for {' and '.join(empty)} ({listed}); "
                f"change split in [data]{self._see_rejected}"
            )
        return rows

    def _check_items(self, item_ids: pl.Series) -> None:
        ranks = any(task.kind in ("retrieval", "related") for task in self.config.task)
        if item_ids.len() < 2 and ranks:
            raise DataError(f"{self.log.path}: all rows are about one item ({item_ids[0]}); ranking needs at least two")

    def _items(self, numbered: Numbered, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, EncodedColumns]:
        settings, ids, events = self.config.data.items, numbered.item_ids, numbered.events
        if settings.path is None:
            first = [*settings.text, *settings.categorical, *settings.multi]
            raw = attributes_from_log(ids, events, log_rows, "item", first, settings.numeric)
        else:
            table = self._table(settings.path, settings, settings.id or self.config.data.item, "items")
            raw = self._beside_log(table, ids, settings.path, "items")
            raw = pl.concat([raw, table.join(raw, on="id", how="anti", maintain_order="left")])
        raw = cut_cells(raw, settings, settings.path or self.log.path, "data.items")
        items, columns = encode_items(raw, settings, numbered.catalog["train"])
        self._describe_several(raw, columns, "data.items")
        return items, columns

    def _describe_several(self, raw: pl.DataFrame, columns: EncodedColumns, section: str) -> None:
        for parts in columns.multi:
            self._note(describe(raw[f"raw.{parts.name}"], len(parts.values), section))

    def _users(self, numbered: Numbered, log_rows: pl.LazyFrame) -> tuple[pl.DataFrame, EncodedColumns]:
        settings, ids, events = self.config.data.users, numbered.user_ids, numbered.events
        if settings.path is None:
            first = [*settings.categorical, *settings.multi]
            raw = attributes_from_log(ids, events, log_rows, "user", first, settings.numeric)
        else:
            table = self._table(settings.path, settings, settings.id or self.config.data.user, "users")
            raw = self._beside_log(table, ids, settings.path, "users")
            if others := table.height - raw.join(table, on="id", how="semi").height:
                self._note(f"{settings.path}: {others} users are never in the log and were left out")
        in_train = events.select("user", "part").group_by("user").agg(pl.col("part").min()).sort("user")["part"] == 0
        raw = cut_cells(raw, settings, settings.path or self.log.path, "data.users")
        users, columns = encode_users(raw, settings, in_train)
        self._describe_several(raw, columns, "data.users")
        return users, columns

    def _table(self, path: str, settings: ItemsConfig | UsersConfig, id_expression: str, name: str) -> pl.DataFrame:
        how, section = Reading.of(self.config.data, settings), f"data.{name}"
        table, notes = attributes_from_file(self.config.resolve(path), path, settings, id_expression, section, how)
        for note in notes:
            self._note(note)
        return table

    def _beside_log(self, table: pl.DataFrame, ids: pl.Series, path: str, name: str) -> pl.DataFrame:
        """The table's rows for `ids`, in their order; an id that it lacks has no attributes."""
        raw = pl.DataFrame({"id": ids}).join(table, on="id", how="left", maintain_order="left")
        for note in missing_ids(ids, table["id"], path, name):
            self._note(note)
        if not ids.is_in(table["id"].implode()).any():
            raise DataError(f"{path}: knows none of the log's {name} (such as {ids[0]!r}); check id in [data.{name}]")
        return raw

    def _graph(self, item_ids: pl.Series) -> GraphMeta | None:
        """Write graph.parquet and its rejected rows, if there is a graph."""
        if self.config.data.graph is None:
            return None
        path = self.config.data.graph.edges
        edges, meta, rejected = read_graph(self.config.resolve(path), item_ids, Reading.of(self.config.data).beside())
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


def _inputs(config: Config) -> list[str]:
    """Paths of all files that a dataset is made of."""
    data = config.data
    paths = [data.interactions, data.items.path, data.users.path, data.graph.edges if data.graph else None]
    return [config.resolve(path) for path in paths if path is not None]


def _hash_settings(config: Config) -> str:
    settings = config.model_dump(mode="json", include={"name", "data", "task"})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
