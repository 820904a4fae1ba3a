"""From a log to a dataset: clean, order, split, encode, write.

Only narrow numbers of each row (about 50 bytes) are held in memory; features and text stay in Parquet files and pass
through Polars' streaming engine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from edgerec.config import Config
from edgerec.data.cleaning import DUPLICATE, Cleaned, clean, duplicates, label_columns
from edgerec.data.counts import Counts
from edgerec.data.dataset import Meta
from edgerec.data.graph import GraphMeta, read_graph
from edgerec.data.ids import mix, tie_keys
from edgerec.data.readers import Source, hash_files, reading
from edgerec.data.splits import PARTS, k_core, split
from edgerec.data.tables import (
    attributes_from_file,
    attributes_from_log,
    check_numbers,
    encode_items,
    encode_users,
)
from edgerec.data.vocabularies import Columns, Vocabulary, learn
from edgerec.errors import DataError
from edgerec.files import write_json
from edgerec.progress import Progress, Silent

__all__ = ["PrepareReport", "prepare"]

_CLOCK = {"hour": Vocabulary("hour", tuple(map(str, range(24)))), "weekday": Vocabulary("weekday", tuple("0123456"))}


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
        """What was rejected and what is left, for the screen; the notes were said while it worked."""
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
    target, work = run_dir / "dataset", run_dir / "dataset.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        meta, notes = _Preparation(config, work, progress).run()
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return PrepareReport(target, meta, tuple(notes))


class _Preparation:
    """One run: what its steps share."""

    def __init__(self, config: Config, folder: Path, progress: Progress) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        data = config.data
        ids = [text for text in (data.user, data.item, data.session) if text is not None]
        self.log = Source.open(config.resolve(data.interactions), as_text=ids)
        self.labels = label_columns(config.task)
        self.notes: list[str] = []

    def run(self) -> tuple[Meta, list[str]]:
        config, data = self.config, self.config.data
        check_numbers(self.log, data.context.numeric, "data] [context")
        kept, rejected = self._clean()
        events = self._events(kept)
        events, more = self._drop(events)
        rejected = pl.concat([rejected, more])
        counts = self._counts(rejected)
        if events.is_empty():
            found = ", ".join(f"{n} {why}" for why, n in counts.rejected.items())
            raise DataError(f"{self.log.path}: no row is left of {counts.rows_in}: {found}")
        events = self._order(events)
        part, cuts = split(events, data.split, data.zone)
        events = events.with_columns(part=part)
        rows = {name: int((part == i).sum()) for i, name in enumerate(PARTS)}
        self._check_parts(rows)
        events, item_ids, catalog = self._number(events, kept, "item")
        events, user_ids, _ = self._number(events, kept, "user")
        if item_ids.len() < 2 and any(task.kind in ("retrieval", "related") for task in config.task):
            raise DataError(f"{self.log.path}: all rows are about one item ({item_ids[0]}); ranking needs at least two")
        self._say(
            f"{counts.kept} of {counts.rows_in} rows kept: " + ", ".join(f"{n} {name}" for name, n in rows.items())
        )

        items, item_columns = self._items(events, kept, item_ids, catalog["train"])
        users, user_columns = self._users(events, kept, user_ids)
        items.write_parquet(self.folder / "items.parquet")
        users.write_parquet(self.folder / "users.parquet")
        graph = self._graph(items["id"])
        events, clips = self._clip(events)
        context = self._write_parts(events, kept)
        self._write_rejected(rejected)
        (self.folder / "kept.parquet").unlink()
        meta = Meta(
            name=config.name,
            n_users=users.height,
            n_items=items.height,
            rows=rows,
            catalog=catalog,
            boundaries_ms=cuts,
            tasks=config.tasks,
            clips=clips,
            context=context,
            users=user_columns,
            items=item_columns,
            text=bool(data.items.text),
            counts=counts,
            timezone=data.timezone,
            inputs_hash=hash_files(self._inputs()),
            settings_hash=_hash_settings(config),
            graph=graph,
        )
        write_json(self.folder / "dataset.json", meta.to_json(), sort_keys=False, ensure_ascii=False)
        return meta, self.notes

    def _say(self, line: str) -> None:
        self.progress.say(line)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self._say(line)

    def _inputs(self) -> list[str]:
        data = self.config.data
        paths = [data.interactions, data.items.path, data.users.path, data.graph.edges if data.graph else None]
        return [self.config.resolve(path) for path in paths if path is not None]

    # ------------------------------------------------------------------ cleaning

    def _log_features(self) -> list[str]:
        data = self.config.data
        columns = [*data.context.categorical, *data.context.numeric]
        for table in (data.items, data.users):
            if table.path is None:
                columns += table.columns
        return list(dict.fromkeys(columns))

    def _clean(self) -> tuple[pl.LazyFrame, pl.DataFrame]:
        """Rows that are events (kept.parquet, in the order of the log) and (row, reason) of the others."""
        cleaned: Cleaned = clean(self.log, self.config.data, self.config.task, self._log_features())
        self._note(f"times were read as {cleaned.note}")
        path = self.folder / "kept.parquet"
        with reading(self.log.path):
            cleaned.frame.filter(pl.col("reason").is_null()).drop("reason").sink_parquet(path)
            rejected = (
                cleaned.frame.filter(pl.col("reason").is_not_null()).select("row", "reason").collect(engine="streaming")
            )
        return pl.scan_parquet(path), rejected

    def _events(self, kept: pl.LazyFrame) -> pl.DataFrame:
        """Numbers of all rows: row, time, user, item (session) as provisional codes, their tie keys, labels."""
        roles = ["user", "item"] + (["session"] if self.config.data.session else [])
        frame = kept
        for role in roles:
            ids = kept.select(role).unique().sort(role).collect(engine="streaming")[role]
            codes = pl.DataFrame({role: ids, f"{role}_key": tie_keys(ids)}).with_row_index(f"{role}_code")
            frame = frame.join(codes.lazy(), on=role, how="left")
        events = frame.select(
            "row",
            "time",
            *(pl.col(f"{role}_code").alias(role) for role in roles),
            *(f"{role}_key" for role in roles),
            *(pl.col(label).cast(pl.Float32) for label in self.labels),
        ).collect(engine="streaming")
        if "session" in roles:
            # A basket is one event in time, even if the till took a minute. An id that two users share names two.
            events = events.with_columns(pl.col("time").min().over("user", "session"))
        return events

    def _drop(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Without duplicates and what the k-core leaves out; and (row, reason) of these."""
        dropped = {DUPLICATE: duplicates(events, self.labels)}
        events = events.filter(~pl.col("row").is_in(dropped[DUPLICATE].implode()))
        k = self.config.data.split.core
        if k > 1:
            core = k_core(events, k)
            dropped[f"outside the {k}-core"] = events.join(core.select("row"), on="row", how="anti")["row"]
            events = core
        return events, pl.concat(
            pl.DataFrame({"row": rows}, schema={"row": pl.UInt32}).with_columns(reason=pl.lit(why))
            for why, rows in dropped.items()
        )

    def _counts(self, rejected: pl.DataFrame) -> Counts:
        rows_in: int = self.log.frame.select(pl.len()).collect(engine="streaming").item()
        reasons = dict(rejected.group_by("reason").len().sort("len", "reason", descending=[True, False]).iter_rows())
        return Counts(rows_in, rows_in - rejected.height, reasons)

    def _order(self, events: pl.DataFrame) -> pl.DataFrame:
        """By time; ties by a fixed hash, rows of a session together and sessions numbered in this order."""
        tie = mix("user_key", "item_key")
        if not self.config.data.session:
            return events.sort("time", tie, "row").drop("user_key", "item_key")
        session = mix("user_key", "session_key")
        events = events.sort("time", session, "user", "session", tie, "row")
        new = (pl.col("session") != pl.col("session").shift()) | (pl.col("user") != pl.col("user").shift())
        return events.with_columns(session=new.fill_null(False).cum_sum().cast(pl.UInt32)).drop(
            "user_key", "item_key", "session_key"
        )

    def _check_parts(self, rows: dict[str, int]) -> None:
        empty = [name for name in PARTS if not rows[name]]
        if empty:
            found = ", ".join(f"{rows[name]} {name}" for name in PARTS)
            raise DataError(
                f"{self.log.path}: the split leaves no rows for {' and '.join(empty)} ({found}); change split in [data]"
            )

    # ------------------------------------------------------------------ indices

    def _number(
        self, events: pl.DataFrame, kept: pl.LazyFrame, role: str
    ) -> tuple[pl.DataFrame, pl.Series, dict[str, int]]:
        """Final indices of items or users by first appearance, ids in this order, how many are known by each part."""
        first = (
            events.select(role, "part")
            .with_row_index("order")
            .group_by(role)
            .agg(pl.col("part").min(), pl.col("order").sort_by("part", "order").first())
            .sort("part", "order")
            .with_row_index("index")
        )
        ids = kept.select(role).unique().sort(role).collect(engine="streaming")[role]
        known = {name: int((first["part"] <= i).sum()) for i, name in enumerate(PARTS)}
        events = events.with_columns(pl.col(role).replace_strict(first[role], first["index"], return_dtype=pl.UInt32))
        return events, ids.gather(first[role]), known

    # ------------------------------------------------------------------ tables

    def _items(
        self, events: pl.DataFrame, kept: pl.LazyFrame, ids: pl.Series, n_train: int
    ) -> tuple[pl.DataFrame, Columns]:
        settings = self.config.data.items
        if settings.path is None:
            raw = attributes_from_log(
                events, kept, "item", [*settings.text, *settings.categorical], list(settings.numeric)
            ).sort("item")
            raw = raw.drop("item").with_columns(id=ids)
        else:
            table = self._table(settings.path, settings.id or self.config.data.item, "items")
            raw = self._beside_log(table, ids, settings.path, "items")
            raw = pl.concat([raw, table.join(raw, on="id", how="anti", maintain_order="left")])
        return encode_items(raw, settings, n_train)

    def _users(self, events: pl.DataFrame, kept: pl.LazyFrame, ids: pl.Series) -> tuple[pl.DataFrame, Columns]:
        settings = self.config.data.users
        if settings.path is None:
            raw = attributes_from_log(events, kept, "user", list(settings.categorical), list(settings.numeric))
            raw = raw.sort("user").drop("user").with_columns(id=ids)
        else:
            table = self._table(settings.path, settings.id or self.config.data.user, "users")
            raw = self._beside_log(table, ids, settings.path, "users")
            if others := table.height - raw.join(table, on="id", how="semi").height:
                self._note(f"{settings.path}: {others} users are never in the log and were left out")
        in_train = events.select("user", "part").group_by("user").agg(pl.col("part").min()).sort("user")["part"] == 0
        return encode_users(raw, settings, in_train)

    def _table(self, path: str, id_expression: str, name: str) -> pl.DataFrame:
        settings = self.config.data.items if name == "items" else self.config.data.users
        resolved = self.config.resolve(path)
        table, notes = attributes_from_file(resolved, path, settings, id_expression, f"data.{name}")
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
        """Write graph.parquet and what of it was rejected, if there is a graph."""
        if self.config.data.graph is None:
            return None
        shown = self.config.data.graph.edges
        edges, meta, rejected = read_graph(self.config.resolve(shown), item_ids)
        edges.write_parquet(self.folder / "graph.parquet")
        rejected.write_parquet(self.folder / "graph_rejected.parquet")
        counts = meta.counts
        self._note(
            f"{shown}: {counts.kept} of {counts.rows_in} edges kept, of {len(meta.relations)} relations; "
            f"{len(meta.entities)} heads and tails are no items but entities"
        )
        for reason, n in counts.rejected.items():
            self._note(f"{shown}: {n} edges rejected: {reason}")
        return meta

    # ------------------------------------------------------------------ parts

    def _clip(self, events: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, float]]:
        """Regression labels cut at their quantile of the train part."""
        clips = {}
        for task in self.config.task:
            if task.kind == "regression" and task.clip is not None:
                label = events.filter(pl.col("part") == 0)[f"label.{task.name}"]
                value = label.cast(pl.Float64).quantile(task.clip, interpolation="linear")
                assert value is not None, "the train part has rows"
                clips[task.name] = value
        cut = [pl.col(f"label.{name}").clip(upper_bound=value) for name, value in clips.items()]
        return events.with_columns(cut), clips

    def _write_parts(self, events: pl.DataFrame, kept: pl.LazyFrame) -> Columns:
        settings, zone = self.config.data.context, self.config.data.zone
        train_rows = events.lazy().filter(pl.col("part") == 0).select("row")
        train = kept.join(train_rows, on="row", how="semi")
        columns = learn(train, settings.categorical, settings.numeric, "feature.")
        encoded = kept.select("row", *columns.encode(kept.collect_schema(), "feature."))
        kind = [
            pl.col(f"label.{task.name}").cast(pl.UInt8) * (1 << bit)
            for bit, task in enumerate(task for task in self.config.task if task.kind == "binary")
        ]
        labels = [f"label.{task.name}" for task in self.config.task if task.label is not None]
        session = ["session"] if self.config.data.session else []
        clock = [_clock(name, zone) for name in settings.from_time]
        for i, name in enumerate(PARTS):
            numbers = events.lazy().filter(pl.col("part") == i)
            rows = numbers.select(
                "row",
                "user",
                "item",
                "time",
                *session,
                pl.sum_horizontal(kind).cast(pl.UInt8).alias("kind") if kind else pl.lit(0, pl.UInt8).alias("kind"),
                *labels,
            )
            rows = rows.join(encoded, on="row", how="left", maintain_order="left").with_columns(clock)
            rows.sink_parquet(self.folder / f"{name}.parquet")
        return Columns(columns.categorical + tuple(_CLOCK[name] for name in settings.from_time), columns.numeric)

    def _write_rejected(self, rejected: pl.DataFrame) -> None:
        """Row, reason and the source's own columns; one of these that has the same name becomes source.NAME."""
        clash = {name: f"source.{name}" for name in ("row", "reason") if name in self.log.schema}
        source = self.log.frame.rename(clash).with_row_index("row")
        reasons = rejected.lazy().sort("row")
        with reading(self.log.path):
            reasons.join(source, on="row", how="left", maintain_order="left").sink_parquet(
                self.folder / "rejected.parquet"
            )


def _clock(name: str, zone: ZoneInfo) -> pl.Expr:
    local = pl.from_epoch("time", "ms").dt.replace_time_zone("UTC").dt.convert_time_zone(zone.key)
    value = local.dt.hour() + 1 if name == "hour" else local.dt.weekday()
    return value.cast(pl.UInt16).alias(f"cat.{name}")


def _hash_settings(config: Config) -> str:
    settings = config.model_dump(mode="json", include={"name", "data", "task"})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
