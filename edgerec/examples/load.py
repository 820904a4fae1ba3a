"""From a prepared dataset to what a model learns from (`fit`) and is judged on (`held`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from edgerec.config import DataConfig, StudentConfig, TeacherConfig
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.examples.batches import Examples
from edgerec.examples.graph import GraphEdges, Knowledge, consumed_rows
from edgerec.examples.log import Log, load_log, request_encoder
from edgerec.examples.requests import (
    FOREVER,
    ImpressionExamples,
    Ragged,
    SessionExamples,
    day_before,
    draw_sessions,
    in_history,
    make_requests,
    request_columns,
    requests_of,
    session_rows,
)
from edgerec.examples.scratch import Columns, Scratch, pieces
from edgerec.examples.statistics import ItemStatistics, item_statistics
from edgerec.examples.text_vectors import Components, TextSource
from edgerec.models.inputs import ItemFeatures, ItemsAsOf, Shape
from edgerec.tasks import Numeric, RequestEncoder, Task, standardize
from edgerec.tasks.history import Float, Int

Part: TypeAlias = Literal["valid", "test"]
"""A part of the split that a model is judged on."""
ReadTexts: TypeAlias = "Callable[[Log, int], tuple[Components, TextSource | None]]"
Cut: TypeAlias = "Callable[[Int], Int]"
"""From the times of requests to the as-of times from which on their own past is unknown to them."""


@dataclass(frozen=True)
class Scale:
    """Standardisation of a regression task: ``(log1p(label) - mean) / std``."""

    mean: float
    std: float

    def apply(self, labels: Float) -> Float:
        """Labels in their unit -> standardised logs."""
        return ((np.log1p(np.maximum(labels, 0)) - self.mean) / self.std).astype(np.float32)


@dataclass(frozen=True)
class LearningData:
    """One part of a dataset, ready to learn from and to be judged on.

    Attributes:
        n_items: the catalogue: items of the training rows, and all items of an items file, which come last.
        fit_log: rows to learn from. held_log: rows of the part.
        fit, held: examples; evaluation requests see nothing of the evaluation split but their own time and context.
        lag: as-of times that a bundle's statistics may be old by the end of the part.
        scales: by regression task.
        sequence: latest raw events that come with a request.
        scratch: where columns lie that are too long for memory.
        text_source: of a text model that learns along.
    """

    dataset: Dataset
    encoder: RequestEncoder
    n_items: int
    features: ItemFeatures
    train_log: Log
    evaluation_log: Log
    train: Examples
    evaluation: Examples
    lag: int
    scales: dict[str, Scale]
    sequence: int = 0
    scratch: Scratch | None = None
    text_source: TextSource | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks."""
        return self.train.tasks

    @property
    def by_user(self) -> bool:
        """Is each user's last event held out, in place of a last part of the time?"""
        return self.dataset.meta.boundaries_ms.valid is None

    @property
    def statistics(self) -> ItemStatistics:
        """Of the training rows."""
        return self.train.statistics

    def as_of(self, index: int) -> ItemsAsOf:
        """What a model is told of the items at an as-of time, by its index in `statistics`; -1: the end of the training rows."""
        return self.train.as_of(index)

    @property
    def shape(self) -> Shape:
        """The sizes of a model for this data."""
        meta = self.dataset.meta
        return Shape(
            n_items=self.n_items,
            kinds=2 ** len(self.encoder.binary),
            categories=tuple(len(c.values) + 1 for c in self.encoder.categorical),
            numbers=len(self.encoder.numeric_names),
            item_categories=tuple(len(c.values) + 1 for c in meta.items.categorical),
            item_numbers=self.features.numeric.shape[1],
            text=self.features.text.shape[1],
            statistics=len(self.statistics.names),
            relations=0 if self.train.graph is None else self.train.graph.relations,
            entities=0 if self.train.graph is None else self.train.graph.entities,
        )


def catalogue_length(data: DataConfig, dataset: Dataset, part: Part) -> int:
    """Items of the training rows, and all items of an items file."""
    seen = dataset.meta.catalog["train" if part == "valid" else "valid"]
    return dataset.meta.n_items if data.items.path is not None else seen


def load_learning_data(
    dataset: Dataset,
    part: Part,
    data: DataConfig,
    teacher: TeacherConfig,
    student: StudentConfig,
    seed: int,
    scratch: Scratch,
    read_texts: ReadTexts,
) -> LearningData:
    """Read a dataset.

    Args:
        part: what is judged: "valid" (fit on train) or "test" (fit on train and valid).
        read_texts: from the training rows and the size of the catalogue to what the networks read of the items' texts.
    Raises:
        DataError: there is nothing to learn from.
    """
    tasks = tuple(dataset.meta.tasks)
    encoder = request_encoder(dataset, part, student.max_history)
    train_log = load_log(dataset, dataset.training_frame(part), encoder, scratch)
    evaluation_log = load_log(dataset, dataset.part(part), encoder, scratch)
    if not len(train_log):
        raise DataError(f"{dataset.folder}: no rows to learn from before the {part} part; make the split smaller")
    n_seen = dataset.meta.catalog["train" if part == "valid" else "valid"]
    n_items = catalogue_length(data, dataset, part)
    end_ms, lag_ms = _boundary(dataset, part, train_log)
    items = dataset.items().head(n_items)
    groups = [(c.name, items[f"cat.{c.name}"].to_numpy().astype(np.int64)) for c in dataset.meta.items.categorical]
    statistics = item_statistics(train_log, tasks, n_items, groups, end_ms, scratch)
    scales = {t.name: _scale(train_log.labels[t.name]) for t in tasks if t.kind == "regression"}

    fit_visits = _training_sessions(train_log, teacher.sessions_per_epoch, tasks, seed)
    held_visits = _evaluation_sessions(evaluation_log)
    pointwise = any(t.kind in ("binary", "regression") for t in tasks)

    def own_time(time_ms: Int) -> Int:
        return time_ms

    def never(time_ms: Int) -> Int:
        return np.full(len(time_ms), FOREVER)

    def daily(time_ms: Int) -> Int:
        return day_before(time_ms, end_ms)

    sequence, has_sessions = teacher.sequence, data.session is not None
    graph = (
        _graph(teacher, has_sessions, dataset, train_log, groups, n_items, statistics) if teacher.graph_layers else None
    )

    def sessions(rows: Log, first: Int, cut: Cut) -> SessionExamples:
        return _session_examples(train_log, rows, first, cut, encoder, statistics, tasks, n_seen, sequence)

    def shown(rows: Log, cut: Cut) -> ImpressionExamples:
        return _rows(train_log, rows, cut, encoder, statistics, scales, n_items, sequence, scratch)

    retrieval = any(t.kind in ("retrieval", "related") for t in tasks)
    text, text_source = read_texts(train_log, n_items)
    return LearningData(
        dataset=dataset,
        encoder=encoder,
        n_items=n_items,
        features=_item_features(dataset, items, text),
        train_log=train_log,
        evaluation_log=evaluation_log,
        train=Examples(
            tasks,
            n_items,
            n_seen,
            statistics,
            sessions(train_log, fit_visits, own_time) if retrieval else None,
            shown(train_log, daily) if pointwise else None,
            graph=graph,
        ),
        evaluation=Examples(
            tasks,
            n_items,
            n_seen,
            statistics,
            sessions(evaluation_log, held_visits, never) if retrieval else None,
            shown(evaluation_log, never) if pointwise else None,
            graph=graph,
        ),
        lag=_moments_in(statistics, lag_ms),
        scales=scales,
        sequence=sequence,
        scratch=scratch,
        text_source=text_source,
    )


def _boundary(dataset: Dataset, part: str, train_log: Log) -> tuple[int, int]:
    """When the evaluation split begins and how long it is, in ms; leave-last-out has no such as-of time, so the log's end."""
    bounds = dataset.meta.boundaries_ms
    if bounds.valid is None or bounds.test is None or bounds.end is None:
        return int(train_log.time_ms.max()) + 1, 0
    begin, end = (bounds.valid, bounds.test) if part == "valid" else (bounds.test, bounds.end)
    return begin, end - begin


def _moments_in(statistics: ItemStatistics, length_ms: int) -> int:
    at = statistics.as_of_ms
    return max(int(length_ms // (at[1] - at[0])) - 1, 0) if len(at) > 1 else 0


def _scale(labels: Float) -> Scale:
    def total(of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> float:
        parts = (np.log1p(np.maximum(labels[a:b].astype(np.float64), 0)) for a, b in pieces(len(labels)))
        return float(sum(of(logs).sum() for logs in parts)) / max(len(labels), 1)

    mean = total(lambda logs: logs)
    return Scale(mean, max(math.sqrt(total(lambda logs: (logs - mean) ** 2)), 1e-6))


def _training_sessions(log: Log, most: int, tasks: Sequence[Task], seed: int) -> Int:
    """First rows of the sessions to learn from: those that consumed something, at most `most`, drawn by `seed`."""
    telling = [task for task in tasks if task.kind in ("retrieval", "related")]

    def counts(rows: slice) -> npt.NDArray[np.bool_]:
        found = np.zeros(rows.stop - rows.start, bool)
        for task in telling:
            found |= _consumed(log, task, rows) > 0
        return found

    return draw_sessions(log, most, np.random.default_rng(seed), counts)


def _evaluation_sessions(log: Log) -> Int:
    """First rows of each user's first session in the part."""
    return log.offsets[:-1][np.diff(log.offsets) > 0]


def _consumed(log: Log, task: Task, rows: slice | Int) -> Float:
    """Whether each of `rows` counts for a task, as a number."""
    if task.label is not None:
        return np.asarray(log.labels[task.name][rows])
    return np.ones(rows.stop - rows.start if isinstance(rows, slice) else len(rows), np.float32)


def _session_examples(
    past: Log,
    rows: Log,
    first: Int,
    cut: Cut,
    encoder: RequestEncoder,
    statistics: ItemStatistics,
    tasks: Sequence[Task],
    n_seen: int,
    sequence: int,
) -> SessionExamples:
    requests = make_requests(past, encoder, statistics, rows, first, cut(rows.time_ms[first]), sequence=sequence)
    held = session_rows(rows, first)
    held = held.where(rows.item[held.values] < n_seen)
    truth = {}
    for task in tasks:
        if task.kind != "retrieval":
            continue
        consumed = held.where(_consumed(rows, task, held.values) > 0)
        items = Ragged(consumed.offsets, rows.item[consumed.values])
        truth[task.name] = items.where(~in_history(requests, items)) if task.repeats == "exclude" else items
    return SessionExamples(requests, Ragged(held.offsets, rows.item[held.values]), truth)


def _rows(
    past: Log,
    rows: Log,
    cut: Cut,
    encoder: RequestEncoder,
    statistics: ItemStatistics,
    scales: dict[str, Scale],
    n_items: int,
    sequence: int,
    scratch: Scratch,
) -> ImpressionExamples:
    def part(start: int, end: int) -> Columns:
        at = start + np.flatnonzero(rows.item[start:end] < n_items)
        columns = request_columns(past, statistics, rows, at, cut(rows.time_ms[at]))
        columns |= {"item": rows.item[at], "row": rows.row[at]}
        for name, values in rows.labels.items():
            scaled = scales[name].apply(values[at]) if name in scales else values[at].astype(np.float32)
            columns[f"label.{name}"] = scaled
        return columns

    known = sum(int((rows.item[start:end] < n_items).sum()) for start, end in pieces(len(rows)))
    columns = scratch.joined(known, (part(start, end) for start, end in pieces(len(rows))))
    labels = {name: columns[f"label.{name}"] for name in rows.labels}
    return ImpressionExamples(requests_of(past, encoder, columns, sequence), columns["item"], labels, columns["row"])


def _graph(
    teacher: TeacherConfig,
    has_sessions: bool,
    dataset: Dataset,
    log: Log,
    groups: Sequence[tuple[str, Int]],
    n_items: int,
    statistics: ItemStatistics,
) -> GraphEdges:
    """Edges of the log, of the knowledge graph, and of the items' categorical features, whose values are entities."""
    meta, edges = dataset.meta, dataset.graph()
    named = meta.graph
    # Items that this part does not know yet are no nodes, and entities stand right behind those that it knows.
    shift, entities = meta.n_items - n_items, 0 if named is None else len(named.entities)
    relation = edges["relation"].to_numpy()
    ends = edges.select("head", "tail").to_numpy().astype(np.int64)
    known = ~((ends >= n_items) & (ends < meta.n_items)).any(axis=1)
    ends = np.where(ends >= meta.n_items, ends - shift, ends)
    pairs = [ends[known & (relation == r)].T for r in range(0 if named is None else len(named.relations))]
    for (_, value), column in zip(groups, meta.items.categorical, strict=True):
        holder = np.flatnonzero(value)
        pairs.append(np.stack([holder, n_items + entities + value[holder] - 1]))
        entities += len(column.values)
    return GraphEdges(
        log,
        consumed_rows(log, meta.tasks),
        n_items,
        statistics.as_of_ms,
        Knowledge(entities, tuple((np.concatenate([a, b]), np.concatenate([b, a])) for a, b in pairs)),
        has_sessions=has_sessions,
        layers=teacher.graph_layers,
        neighbours=teacher.graph_neighbours,
    )


def _item_features(dataset: Dataset, items: pl.DataFrame, text: Float) -> ItemFeatures:
    meta = dataset.meta.items
    categorical = [items[f"cat.{c.name}"].to_numpy() for c in meta.categorical]
    numeric = [items[f"num.{n.name}"].to_numpy() for n in meta.numeric]
    columns = [Numeric(n.name, "context", n.mean, n.std) for n in meta.numeric]
    n = len(items)
    return ItemFeatures(
        text=torch.from_numpy(text),
        categorical=torch.from_numpy(
            np.stack(categorical, 1).astype(np.int64) if categorical else np.zeros((n, 0), np.int64)
        ),
        numeric=torch.from_numpy(
            standardize(np.stack(numeric, 1).astype(np.float64), columns) if numeric else np.zeros((n, 0), np.float32)
        ),
    )


def is_consumed(log: Log, tasks: Sequence[Task]) -> npt.NDArray[np.bool_]:
    """Rows that any ranking task counts; without one those of the related task, then of any binary one; else all."""
    for kind in ("retrieval", "related", "binary"):
        found = np.zeros(len(log), bool)
        counting = [task for task in tasks if task.kind == kind]
        for task in counting:
            found |= _consumed(log, task, slice(0, len(log))) > 0
        if counting:
            return found
    return np.ones(len(log), bool)
