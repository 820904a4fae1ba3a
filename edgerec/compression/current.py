"""The catalogue as it is today, around a student that stays: what is popular now, what is sold, what is new.

Such a bundle differs from the one before in a few kilobytes, which `edgerec delta` finds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.compression.export import ExportedStudent
from edgerec.compression.rows import quantize_rows
from edgerec.config import DataConfig, ItemsConfig, TaskConfig
from edgerec.data.cleaning import clean
from edgerec.data.readers import Source, reading
from edgerec.data.tables import attributes_from_file
from edgerec.errors import DataError
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log
from edgerec.examples.statistics import item_statistics
from edgerec.progress import Progress
from edgerec.tasks.cold_start import ColdStartTable
from edgerec.tasks.history import Float, Int

AVAILABLE = "available"
"""Column of a table of items: 0 or false where an item is not to be shown."""


@dataclass(frozen=True)
class NewerRows:
    """A log with rows after those of the dataset, as the settings describe it; `shown`: how users call the file."""

    path: str
    shown: str
    settings: DataConfig
    tasks: tuple[TaskConfig, ...]


def newest_statistics(newer: NewerRows, data: LearningData, progress: Progress) -> Float:
    """Statistics (N, F) of the items: of the training rows, and of the newer rows in a log as ``[data]`` describes it.

    Raises:
        DataError: the file of newer rows is not what ``[data]`` says, or holds none after the training rows.
    """
    log, used, unknown = _with_newer(newer, data)
    progress.say(
        f"{newer.shown}: {used:,} rows after the dataset's say what is popular now; {unknown:,} of unknown items"
    )
    groups = [
        (c.name, data.dataset.items().head(data.n_items)[f"cat.{c.name}"].to_numpy().astype(np.int64))
        for c in data.dataset.meta.items.categorical
    ]
    assert data.scratch is not None
    end_ms = int(log.time_ms.max()) + 1
    found = item_statistics(log, data.tasks, data.n_items, groups, end_ms, data.scratch, last_only=True)
    newest: Float = found.values[-1]
    return newest


def _with_newer(newer: NewerRows, data: LearningData) -> tuple[Log, int, int]:
    """The training log and the newer rows of known items; how many these are, and how many are of unknown items."""
    settings, old = newer.settings, data.train_log
    ids = [text for text in (settings.user, settings.item, settings.session) if text is not None]
    source = Source.open(newer.path, as_text=ids)
    labels = [f"label.{name}" for name in old.labels]
    last_ms = int(old.time_ms.max())
    with reading(source.path):
        frame = (
            clean(source, settings, newer.tasks, [])
            .frame.filter(pl.col("reason").is_null() & (pl.col("time") > last_ms))
            .select("user", "item", "time", *labels)
            .collect(engine="streaming")
        )
    item = _places(frame["item"], data.dataset.items()["id"].head(data.n_items))
    known = item >= 0
    if not known.any():
        raise DataError(f"{newer.shown}: no row of a known item is newer than the dataset's last one; give a newer log")
    user = _places(frame["user"], data.dataset.users()["id"])
    strangers = frame["user"].rank("dense").to_numpy().astype(np.int64)
    user = np.where(user >= 0, user, len(old.offsets) - 2 + strangers)[known]
    rows = len(old) + len(user)
    joined = {
        "user": np.concatenate([old.user, user]),
        "item": np.concatenate([old.item, item[known]]),
        "time_ms": np.concatenate([old.time_ms, frame["time"].to_numpy().astype(np.int64)[known]]),
    }
    order = np.lexsort((np.arange(rows), joined["time_ms"], joined["user"]))
    sizes = np.bincount(joined["user"], minlength=len(old.offsets) - 1)
    told = {n: np.concatenate([old.labels[n], frame[f"label.{n}"].to_numpy()[known]])[order] for n in old.labels}
    number = np.arange(rows)
    log = Log(
        offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        row=number,
        kind=np.zeros(rows, np.int64),  # neither kind nor session nor features say anything of an item
        session=number,
        labels={n: v.astype(np.float32) for n, v in told.items()},
        categorical=np.zeros((rows, 0), np.int64),
        numeric=np.zeros((rows, 0)),
        limits=old.limits,
        **{name: values[order] for name, values in joined.items()},
    )
    return log, int(known.sum()), int((~known).sum())


def _places(values: pl.Series, ids: pl.Series) -> Int:
    """Where each value stands among `ids`, -1 if nowhere."""
    places = pl.DataFrame({"id": ids, "place": np.arange(len(ids))})
    found = pl.DataFrame({"id": values}).join(places, on="id", how="left", maintain_order="left")
    return found["place"].fill_null(-1).to_numpy().astype(np.int64)


@dataclass(frozen=True)
class TableNow:
    """The file with the items of today, as ``[data.items]`` describes it; `shown`: how users call it."""

    path: str
    shown: str
    settings: ItemsConfig
    id_column: str


@dataclass(frozen=True)
class ItemsNow:
    """The items of a bundle, in index order.

    Attributes:
        rows: id, title, available, and the attributes by their names in the log.
        added: of these, how many are new and stand at the end.
    """

    rows: list[dict[str, Any]]
    added: int


def items_now(table_now: TableNow | None, rows: list[dict[str, Any]], columns: dict[str, str]) -> ItemsNow:
    """The rows of a catalogue with today's attributes and availability, and the new items behind them.

    An item that the table of today lacks keeps its attributes and is not available; it stays, since pasts hold it.
    Args:
        table_now: None leaves the catalogue as it is. rows: id, title and attributes of the bundle's items.
        columns: "raw.NAME" by attribute.
    Raises:
        DataError: the table is not what ``[data.items]`` says.
    """
    if table_now is None:
        return ItemsNow([{**row, AVAILABLE: True} for row in rows], 0)
    settings = table_now.settings
    table, _ = attributes_from_file(table_now.path, table_now.shown, settings, table_now.id_column, "data.items")
    now = dict(zip(table["id"].to_list(), table.iter_rows(named=True), strict=True))
    shown = _available(table_now)

    def today(item: str, before: dict[str, Any]) -> dict[str, Any]:
        found = now.get(item)
        if found is None:
            return {**before, AVAILABLE: False}
        texts = [found[f"raw.{name}"] for name in settings.text if found[f"raw.{name}"]]
        told = {name: found[column] for name, column in columns.items() if column in found}
        title = str(texts[0]) if texts else before.get("title") or item
        return {**before, **told, "id": item, "title": title, AVAILABLE: shown.get(item, True)}

    old = [today(row["id"], row) for row in rows]
    known = {row["id"] for row in rows}
    added = [today(item, {}) for item in now if item not in known]
    return ItemsNow(old + added, len(added))


def _available(table: TableNow) -> dict[str, bool]:
    source = Source.open(table.path, as_text=[table.id_column])
    if AVAILABLE not in source.schema:
        return {}
    with reading(source.path):
        frame = source.frame.select(
            pl.col(table.id_column).cast(pl.String), pl.col(AVAILABLE).cast(pl.Boolean)
        ).collect()
    return {item: value is not False for item, value in frame.iter_rows()}


def with_added(
    exported: ExportedStudent, cold_start: ColdStartTable, now: ItemsNow, settings: ItemsConfig
) -> ExportedStudent:
    """A student with a row for each new item, by its words and attributes; nothing follows them yet."""
    if not now.added:
        return exported
    new = now.rows[-now.added :]
    texts = [" ".join(str(row[name]) for name in settings.text if row.get(name)) or None for row in new]
    attributes = [{n: None if row.get(n) is None else str(row[n]) for n in settings.categorical} for row in new]
    numbers = [{n: None if row.get(n) is None else float(row[n]) for n in settings.numeric} for row in new]
    vectors, priors = cold_start.rows(texts, attributes, numbers)
    tasks, n = len(exported.tasks), len(exported.table)
    transition, weight = exported.transitions, exported.transition_weight
    if transition is not None and weight is not None:
        own = np.broadcast_to(np.arange(n, n + len(new), dtype=np.int32)[:, None], (len(new), transition.shape[1]))
        transition = np.concatenate([transition, own])
        weight = np.concatenate([weight, np.zeros((len(new), weight.shape[1]), np.float32)])
    relation = exported.relation_prior
    return replace(
        exported,
        table=np.concatenate([exported.table, vectors]).astype(np.float32),
        scales=np.concatenate([exported.scales, quantize_rows(vectors)[1]]),
        prior=_beside(exported.prior, priors[:, :tasks].T),
        transitions=transition,
        transition_weight=weight,
        relation_prior=None if relation is None else np.concatenate([relation, priors[:, tasks]]).astype(np.float32),
    )


def _beside(prior: Float, new: npt.NDArray[np.floating[Any]]) -> Float:
    """Within what is there: one wild number would widen the steps of every item's prior."""
    low, high = prior.min(axis=1, keepdims=True), prior.max(axis=1, keepdims=True)
    return np.concatenate([prior, np.clip(new, low, high)], axis=1).astype(np.float32)
