"""Today's catalogue around an unchanged student: newer statistics, availability, cold-start items.

Such a bundle differs from the one before by a few kilobytes, which `edgerec delta` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.compression.export import ExportedStudent
from edgerec.compression.rows import quantize_rows
from edgerec.config import DataConfig, ItemsConfig, TaskConfig
from edgerec.data.cleaning import clean
from edgerec.data.readers import Reading, Source, reading
from edgerec.data.several import cut
from edgerec.data.tables import attributes_from_file, narrowed
from edgerec.errors import DataError
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log
from edgerec.examples.statistics import item_statistics
from edgerec.progress import Progress
from edgerec.tasks.cold_start import Attribute, ColdStartTable
from edgerec.tasks.history import Float, Int

AVAILABLE = "available"
"""Column of a table of items: 0 or false for an item that must not be recommended."""


@dataclass(frozen=True)
class NewerRows:
    """A log with rows after those of the dataset, as the settings describe it; `display_path` is for messages."""

    path: str
    display_path: str
    settings: DataConfig
    tasks: tuple[TaskConfig, ...]


def newest_statistics(newer: NewerRows, data: LearningData, progress: Progress) -> Float:
    """Statistics (N, F) of the items over the training rows and the newer rows.

    Raises:
        DataError: the file of newer rows does not match ``[data]``, or has no row after the training rows.
    """
    log, used, unknown = _with_newer(newer, data)
    progress.say(
        f"{newer.display_path}: {used:,} rows after those of the dataset say what is popular now; "
        f"{unknown:,} of unknown items"
    )
    return statistics_until(log, data, int(log.time_ms.max()) + 1)


def statistics_until(log: Log, data: LearningData, end_ms: int) -> Float:
    """Statistics (N, F) of the items over the rows of `log` before a time."""
    groups = [
        (c.name, data.dataset.items().head(data.n_items)[f"cat.{c.name}"].to_numpy().astype(np.int64))
        for c in data.dataset.meta.items.categorical
    ]
    assert data.scratch is not None
    statistics = item_statistics(log, data.tasks, data.n_items, groups, end_ms, data.scratch, last_only=True)
    newest: Float = statistics.values[-1]
    return newest


def _with_newer(newer: NewerRows, data: LearningData) -> tuple[Log, int, int]:
    """The training log with the newer rows of known items; how many these are, and how many are of unknown items."""
    settings, old = newer.settings, data.train_log
    source = Source.open(newer.path, Reading.of(settings))
    labels = [f"label.{name}" for name in old.labels]
    last_ms = int(old.time_ms.max())
    with reading(source.path):
        frame = (
            clean(source, settings, newer.tasks)
            .frame.filter(pl.col("reason").is_null() & (pl.col("time") > last_ms))
            .select("user", "item", "time", *labels)
            .collect(engine="streaming")
        )
    item = _places(frame["item"], data.dataset.items()["id"].head(data.n_items))
    known = item >= 0
    if not known.any():
        raise DataError(
            f"{newer.display_path}: no row of a known item is newer than the dataset's last one; give a newer log"
        )
    user = _places(frame["user"], data.dataset.users()["id"])
    new_users = frame["user"].rank("dense").to_numpy().astype(np.int64)
    user = np.where(user >= 0, user, len(old.offsets) - 2 + new_users)[known]
    labels_of = {name: frame[f"label.{name}"].to_numpy()[known] for name in old.labels}
    time_ms = frame["time"].to_numpy().astype(np.int64)[known]
    return with_later(old, user, item[known], time_ms, labels_of), int(known.sum()), int((~known).sum())


def with_later(old: Log, user: Int, item: Int, time_ms: Int, labels: Mapping[str, npt.NDArray[Any]]) -> Log:
    """A log with more rows, for item statistics: these use neither kind nor session nor features."""
    rows = len(old) + len(user)
    joined = {
        "user": np.concatenate([old.user, user]),
        "item": np.concatenate([old.item, item]),
        "time_ms": np.concatenate([old.time_ms, time_ms]),
    }
    order = np.lexsort((np.arange(rows), joined["time_ms"], joined["user"]))
    sizes = np.bincount(joined["user"], minlength=len(old.offsets) - 1)
    number = np.arange(rows)
    return Log(
        offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        row=number,
        kind=np.zeros(rows, np.int64),
        session=number,
        labels={n: np.concatenate([old.labels[n], v])[order].astype(np.float32) for n, v in labels.items()},
        categorical=np.zeros((rows, 0), np.int64),
        numeric=np.zeros((rows, 0)),
        limits=old.limits,
        **{name: values[order] for name, values in joined.items()},
    )


def _places(values: pl.Series, ids: pl.Series) -> Int:
    """The index of each value in `ids`, -1 if it is not there."""
    places = pl.DataFrame({"id": ids, "place": np.arange(len(ids))})
    joined = pl.DataFrame({"id": values}).join(places, on="id", how="left", maintain_order="left")
    return joined["place"].fill_null(-1).to_numpy().astype(np.int64)


@dataclass(frozen=True)
class TableNow:
    """The file with today's items, as ``[data.items]`` describes it; `display_path` is for messages."""

    path: str
    display_path: str
    settings: ItemsConfig
    id_column: str
    how: Reading


@dataclass(frozen=True)
class ItemsNow:
    """The items of a bundle, in index order.

    Attributes:
        rows: id, title, available, and the attributes by their names in the log.
        added: how many of these are new; they are the last ones.
    """

    rows: list[dict[str, Any]]
    added: int


def items_now(table_now: TableNow | None, rows: list[dict[str, Any]], columns: dict[str, str]) -> ItemsNow:
    """The rows of a catalogue with today's attributes and availability, followed by the new items.

    An item that is not in today's table keeps its attributes and is not available; it stays, since histories have it.
    Args:
        table_now: None leaves the catalogue as it is. rows: id, title and attributes of the bundle's items.
        columns: "raw.NAME" by attribute.
    Raises:
        DataError: the table does not match ``[data.items]``.
    """
    if table_now is None:
        return ItemsNow([{**row, AVAILABLE: True} for row in rows], 0)
    settings = table_now.settings
    id_column, how = table_now.id_column, table_now.how
    table, _ = attributes_from_file(table_now.path, table_now.display_path, settings, id_column, "data.items", how)
    table = table.with_columns(narrowed(table[f"raw.{name}"]) for name in settings.categorical)
    table = table.with_columns(cut(table[f"raw.{name}"], settings.multi_separator) for name in settings.multi)
    now = dict(zip(table["id"].to_list(), table.iter_rows(named=True), strict=True))
    available = _available(table_now)

    def today(item: str, before: dict[str, Any]) -> dict[str, Any]:
        row = now.get(item)
        if row is None:
            return {**before, AVAILABLE: False}
        texts = [row[f"raw.{name}"] for name in settings.text if row[f"raw.{name}"]]
        attributes = {name: row[column] for name, column in columns.items() if column in row}
        title = str(texts[0]) if texts else before.get("title") or item
        return {**before, **attributes, "id": item, "title": title, AVAILABLE: available.get(item, True)}

    old = [today(row["id"], row) for row in rows]
    known = {row["id"] for row in rows}
    added = [today(item, {}) for item in now if item not in known]
    return ItemsNow(old + added, len(added))


def _available(table: TableNow) -> dict[str, bool]:
    """Availability by id; nothing if the table does not say."""
    source = Source.open(table.path, table.how)
    if AVAILABLE not in source.schema:
        return {}
    typed, _ = source.with_numbers([AVAILABLE])
    with reading(source.path):
        available = typed.numbers.get(AVAILABLE, pl.col(AVAILABLE)).cast(pl.Boolean)
        frame = source.frame.select(pl.col(table.id_column).cast(pl.String), available).collect()
    return {item: value is not False for item, value in frame.iter_rows()}


def with_added(
    exported: ExportedStudent, cold_start: ColdStartTable, now: ItemsNow, settings: ItemsConfig
) -> ExportedStudent:
    """A student with a row for each new item, from its words and attributes; new items have no transitions yet."""
    if not now.added:
        return exported
    new = now.rows[-now.added :]
    texts = [" ".join(str(row[name]) for name in settings.text if row.get(name)) or None for row in new]
    attributes: list[dict[str, Attribute]]
    attributes = [{n: None if row.get(n) is None else str(row[n]) for n in settings.categorical} for row in new]
    attributes = [{**of, **{n: row.get(n) for n in settings.multi}} for of, row in zip(attributes, new, strict=True)]
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
        prior=_with_new(exported.prior, priors[:, :tasks].T),
        transitions=transition,
        transition_weight=weight,
        relation_prior=None if relation is None else np.concatenate([relation, priors[:, tasks]]).astype(np.float32),
    )


def _with_new(prior: Float, new: npt.NDArray[np.floating[Any]]) -> Float:
    """Append new priors, clipped to the range of the others: an outlier would widen the INT8 step of all priors."""
    low, high = prior.min(axis=1, keepdims=True), prior.max(axis=1, keepdims=True)
    return np.concatenate([prior, np.clip(new, low, high)], axis=1).astype(np.float32)
