"""From a prepared dataset to the examples that a model is trained and evaluated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    Requests,
    SessionExamples,
    day_before,
    draw_sessions,
    in_history,
    make_requests,
    request_columns,
    requests_of,
    session_rows,
)
from edgerec.examples.scratch import Columns, Scratch
from edgerec.examples.statistics import ItemStatistics, item_statistics
from edgerec.examples.text_vectors import Components, TextSource
from edgerec.models.inputs import ItemFeatures, ItemsAsOf, Shape
from edgerec.tasks import Numeric, RequestEncoder, Task, standardize
from edgerec.tasks.history import Float, Int

EvaluationPart: TypeAlias = Literal["valid", "test"]
"""The split that a model is evaluated on."""
ReadTexts: TypeAlias = "Callable[[Log, int], tuple[Components, TextSource | None]]"
Cut: TypeAlias = "Callable[[Int], Int]"
"""From the times of requests to the times from which on their own past is unknown to them."""


@dataclass(frozen=True)
class TargetScale:
    """Standardisation of a regression task's labels: ``(log1p(label) - mean) / std``."""

    mean: float
    std: float

    def apply(self, labels: Float) -> Float:
        """Labels in their unit -> standardised logs."""
        return ((np.log1p(np.maximum(labels, 0)) - self.mean) / self.std).astype(np.float32)


@dataclass(frozen=True)
class LearningData:
    """The training and evaluation split of a dataset, as logs and as examples.

    Attributes:
        n_items: the catalogue: items of the training rows, and all items of an items file, which come last.
        train_log, evaluation_log: the rows of both splits; of evaluation those of the users who are judged.
        part: the evaluation split. judged: of how many of its users one is judged, see ``[evaluation] users``.
        train, evaluation: their examples; those of the evaluation split know only the training rows and their own time
            and context.
        lag: as-of times that a bundle's statistics may be old by the end of the evaluation split.
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
    scales: dict[str, TargetScale]
    sequence: int = 0
    scratch: Scratch | None = None
    text_source: TextSource | None = None
    part: EvaluationPart = "test"
    judged: int = 1

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks."""
        return self.train.tasks

    @property
    def by_user(self) -> bool:
        """Is the evaluation split each user's last event, in place of the last part of the time?"""
        return self.dataset.meta.boundaries_ms.valid is None

    @property
    def statistics(self) -> ItemStatistics:
        """Of the training rows."""
        return self.train.statistics

    def whole_evaluation_log(self) -> Log:
        """All rows of the evaluation split, those of users who are not judged too; read from the dataset for them."""
        if self.judged == 1:
            return self.evaluation_log
        assert self.scratch is not None
        return load_log(self.dataset, self.dataset.part(self.part), self.encoder, self.scratch)

    def as_of(self, index: int) -> ItemsAsOf:
        """What a model knows of the items at the as-of time of this index; -1 is the end of the training rows."""
        return self.train.as_of(index)

    def sessions_at(self, first: Int) -> SessionExamples:
        """The training sessions that begin at the rows `first`, whether or not they are drawn to learn from."""
        log = self.train_log
        cut_ms = _own_time(log.time_ms[first])
        requests = make_requests(log, self.encoder, self.statistics, log, first, cut_ms, sequence=self.sequence)
        return _session_examples(requests, log, first, self.tasks, self.train.n_seen)

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
            item_parts=sum(len(column.values) for column in meta.items.multi),
        )


def catalogue_length(data: DataConfig, dataset: Dataset, part: EvaluationPart) -> int:
    """Items of the training rows, and all items of an items file."""
    seen = dataset.meta.catalog["train" if part == "valid" else "valid"]
    return dataset.meta.n_items if data.items.path is not None else seen


@dataclass(frozen=True)
class ExampleSettings:
    """The sections of the settings that decide which examples are made; `judged_users`: the most that are judged."""

    data: DataConfig
    teacher: TeacherConfig
    student: StudentConfig
    seed: int
    judged_users: int


def load_learning_data(
    dataset: Dataset, part: EvaluationPart, settings: ExampleSettings, scratch: Scratch, read_texts: ReadTexts
) -> LearningData:
    """Read a dataset.

    Args:
        part: the evaluation split: "valid" (learn from train) or "test" (learn from train and valid).
        read_texts: from the training rows and the size of the catalogue to what the networks read of the items' texts.
    Raises:
        DataError: there is nothing to learn from.
    """
    builder = _Builder.of(dataset, part, settings, scratch)
    train_log, rows = builder.train_log, dataset.part(part)
    users = rows.select(pl.col("user").unique().sort()).collect()["user"]
    judged = max(-(-len(users) // settings.judged_users), 1)
    if judged > 1:
        rows = rows.filter(pl.col("user").is_in(users.gather_every(judged).implode()))
    evaluation_log = load_log(dataset, rows, builder.encoder, scratch)
    graph = builder.graph() if settings.teacher.graph_layers else None
    text, text_source = read_texts(train_log, builder.n_items)
    drawn = _training_sessions(train_log, settings.teacher.sessions_per_epoch, builder.tasks, settings.seed)
    # Where each user's last event is asked for, all others are known by then, be they of the same hour or not.
    impressions_cut = _own_time if builder.by_user else builder.start_of_day
    train = builder.examples(train_log, drawn, sessions_cut=_own_time, impressions_cut=impressions_cut)
    first = _evaluation_sessions(evaluation_log)
    evaluation = builder.examples(evaluation_log, first, sessions_cut=_never, impressions_cut=_never)
    return LearningData(
        dataset=dataset,
        encoder=builder.encoder,
        n_items=builder.n_items,
        features=_item_features(dataset, builder.items, text),
        train_log=train_log,
        evaluation_log=evaluation_log,
        train=replace(train, graph=graph),
        evaluation=replace(evaluation, graph=graph),
        lag=_as_of_times_in(builder.statistics, _boundary(dataset, part, train_log)[1]),
        scales=builder.scales,
        sequence=settings.teacher.sequence,
        scratch=scratch,
        text_source=text_source,
        part=part,
        judged=judged,
    )


def _own_time(time_ms: Int) -> Int:
    """Requests know their past until their own time."""
    return time_ms


def _never(time_ms: Int) -> Int:
    """Requests know all of the log that they are given."""
    return np.full(len(time_ms), FOREVER)


@dataclass(frozen=True)
class _Builder:
    """Makes the examples of one part of a dataset.

    Attributes:
        items: rows of the catalogue in the dataset's item table.
        end_ms: when the evaluation split begins.
        n_items, n_seen: see `Examples`.
    """

    dataset: Dataset
    settings: ExampleSettings
    scratch: Scratch
    encoder: RequestEncoder
    train_log: Log
    items: pl.DataFrame
    end_ms: int
    n_items: int
    n_seen: int
    statistics: ItemStatistics
    scales: dict[str, TargetScale]

    @classmethod
    def of(cls, dataset: Dataset, part: EvaluationPart, settings: ExampleSettings, scratch: Scratch) -> _Builder:
        """Read the training rows and take the statistics of the items.

        Raises:
            DataError: there is nothing to learn from.
        """
        encoder = request_encoder(dataset, part, settings.student.max_history)
        train_log = load_log(dataset, dataset.training_frame(part), encoder, scratch)
        if not len(train_log):
            raise DataError(f"{dataset.folder}: no rows to learn from before the {part} part; make the split smaller")
        n_items = catalogue_length(settings.data, dataset, part)
        tasks, items = dataset.meta.tasks, dataset.items().head(n_items)
        end_ms, _ = _boundary(dataset, part, train_log)
        groups = _groups(dataset, items)
        fine = dataset.meta.boundaries_ms.valid is None
        return cls(
            dataset=dataset,
            settings=settings,
            scratch=scratch,
            encoder=encoder,
            train_log=train_log,
            items=items,
            end_ms=end_ms,
            n_items=n_items,
            n_seen=dataset.meta.catalog["train" if part == "valid" else "valid"],
            statistics=item_statistics(train_log, tasks, n_items, groups, end_ms, scratch, fine=fine),
            scales={t.name: _scale(train_log, t.name) for t in tasks if t.kind == "regression"},
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks."""
        return tuple(self.dataset.meta.tasks)

    @property
    def by_user(self) -> bool:
        """See `LearningData.by_user`."""
        return self.dataset.meta.boundaries_ms.valid is None

    def start_of_day(self, time_ms: Int) -> Int:
        """Requests know their past until the start of their day: labels of the same day stay unseen."""
        return day_before(time_ms, self.end_ms)

    def examples(self, rows: Log, first: Int, sessions_cut: Cut, impressions_cut: Cut) -> Examples:
        """Examples of `rows`: of the sessions that begin at the rows `first`, and of all impressions."""
        retrieval = any(t.kind in ("retrieval", "related") for t in self.tasks)
        pointwise = any(t.kind in ("binary", "regression") for t in self.tasks)
        return Examples(
            tasks=self.tasks,
            n_items=self.n_items,
            n_seen=self.n_seen,
            statistics=self.statistics,
            sessions=self.sessions(rows, first, sessions_cut) if retrieval else None,
            impressions=self.impressions(rows, impressions_cut) if pointwise else None,
            at_once=self.scratch.limits.rows,
        )

    def sessions(self, rows: Log, first: Int, cut: Cut) -> SessionExamples:
        """Requests at the start of sessions, and the known items of each session."""
        cut_ms, sequence = cut(rows.time_ms[first]), self.settings.teacher.sequence
        requests = make_requests(self.train_log, self.encoder, self.statistics, rows, first, cut_ms, sequence=sequence)
        return _session_examples(requests, rows, first, self.tasks, self.n_seen)

    def impressions(self, rows: Log, cut: Cut) -> ImpressionExamples:
        """All rows of known items, with their labels."""

        def part(start: int, end: int) -> Columns:
            at = start + np.flatnonzero(rows.item[start:end] < self.n_items)
            columns = request_columns(self.train_log, self.statistics, rows, at, cut(rows.time_ms[at]))
            labels = {f"label.{name}": self._scaled(name, values[at]) for name, values in rows.labels.items()}
            return {**columns, "item": rows.item[at], "row": rows.row[at], **labels}

        known = sum(int((rows.item[start:end] < self.n_items).sum()) for start, end in rows.pieces())
        columns = self.scratch.joined(known, (part(start, end) for start, end in rows.pieces()))
        labels = {name: columns[f"label.{name}"] for name in rows.labels}
        requests = requests_of(self.train_log, self.encoder, columns, self.settings.teacher.sequence)
        return ImpressionExamples(requests, columns["item"], labels, columns["row"])

    def _scaled(self, task: str, labels: Float) -> Float:
        scale = self.scales.get(task)
        return labels.astype(np.float32) if scale is None else scale.apply(labels)

    def graph(self) -> GraphEdges:
        """Edges of the log, of the knowledge graph, and of categorical item features, whose values are entities."""
        meta, edges, n_items = self.dataset.meta, self.dataset.graph(), self.n_items
        named, teacher = meta.graph, self.settings.teacher
        # Items that this part does not know yet are no nodes, and entities stand right behind those that it knows.
        shift, entities = meta.n_items - n_items, 0 if named is None else len(named.entities)
        relation = edges["relation"].to_numpy()
        ends = edges.select("head", "tail").to_numpy().astype(np.int64)
        known = ~((ends >= n_items) & (ends < meta.n_items)).any(axis=1)
        ends = np.where(ends >= meta.n_items, ends - shift, ends)
        pairs = [ends[known & (relation == r)].T for r in range(0 if named is None else len(named.relations))]
        for parts in meta.items.multi:
            lists = self.items[f"multi.{parts.name}"]
            holder = np.repeat(np.arange(n_items), lists.list.len().to_numpy())
            pairs.append(np.stack([holder, n_items + entities + lists.explode().drop_nulls().to_numpy() - 1]))
            entities += len(parts.values)
        for (_, value), column in zip(_groups(self.dataset, self.items), meta.items.categorical, strict=True):
            holder = np.flatnonzero(value)
            pairs.append(np.stack([holder, n_items + entities + value[holder] - 1]))
            entities += len(column.values)
        return GraphEdges(
            self.train_log,
            consumed_rows(self.train_log, meta.tasks),
            n_items,
            self.statistics.as_of_ms,
            Knowledge(entities, tuple((np.concatenate([a, b]), np.concatenate([b, a])) for a, b in pairs)),
            has_sessions=self.settings.data.session is not None,
            layers=teacher.graph_layers,
            neighbours=teacher.graph_neighbours,
        )


def _session_examples(requests: Requests, rows: Log, first: Int, tasks: Sequence[Task], n_seen: int) -> SessionExamples:
    """The known items of the sessions that begin at the rows `first`, one request each."""
    known = session_rows(rows, first)
    known = known.where(rows.item[known.values] < n_seen)
    truth = {}
    for task in tasks:
        if task.kind != "retrieval":
            continue
        consumed = known.where(_consumed(rows, task, known.values) > 0)
        items = Ragged(consumed.offsets, rows.item[consumed.values])
        truth[task.name] = items.where(~in_history(requests, items)) if task.repeats == "exclude" else items
    return SessionExamples(requests, Ragged(known.offsets, rows.item[known.values]), truth)


def _groups(dataset: Dataset, items: pl.DataFrame) -> list[tuple[str, Int]]:
    """Name and values of each categorical feature of the items."""
    return [(c.name, items[f"cat.{c.name}"].to_numpy().astype(np.int64)) for c in dataset.meta.items.categorical]


def _boundary(dataset: Dataset, part: str, train_log: Log) -> tuple[int, int]:
    """When the evaluation split begins and how long it is, in ms.

    With leave-last-out every user has a time of their own, so it begins at the end of the training rows.
    """
    bounds = dataset.meta.boundaries_ms
    if bounds.valid is None or bounds.test is None or bounds.end is None:
        return int(train_log.time_ms.max()) + 1, 0
    begin, end = (bounds.valid, bounds.test) if part == "valid" else (bounds.test, bounds.end)
    return begin, end - begin


def _as_of_times_in(statistics: ItemStatistics, length_ms: int) -> int:
    """How many as-of times lie within `length_ms`, less one."""
    at = statistics.as_of_ms
    return max(int(length_ms // (at[1] - at[0])) - 1, 0) if len(at) > 1 else 0


def _scale(log: Log, task: str) -> TargetScale:
    labels = log.labels[task]

    def total(of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> float:
        parts = (np.log1p(np.maximum(labels[a:b].astype(np.float64), 0)) for a, b in log.pieces())
        return float(sum(of(logs).sum() for logs in parts)) / max(len(labels), 1)

    mean = total(lambda logs: logs)
    return TargetScale(mean, max(math.sqrt(total(lambda logs: (logs - mean) ** 2)), 1e-6))


def _training_sessions(log: Log, most: int, tasks: Sequence[Task], seed: int) -> Int:
    """First rows of at most `most` sessions to learn from, drawn by `seed` among those that consumed something."""
    ranking = [task for task in tasks if task.kind in ("retrieval", "related")]

    def counts(rows: slice) -> npt.NDArray[np.bool_]:
        consumed = np.zeros(rows.stop - rows.start, bool)
        for task in ranking:
            consumed |= _consumed(log, task, rows) > 0
        return consumed

    return draw_sessions(log, most, np.random.default_rng(seed), counts)


def _evaluation_sessions(log: Log) -> Int:
    """The first row of each user's first session."""
    return log.offsets[:-1][np.diff(log.offsets) > 0]


def _consumed(log: Log, task: Task, rows: slice | Int) -> Float:
    """1 for each of `rows` that counts for a task, else 0."""
    if task.label is not None:
        return np.asarray(log.labels[task.name][rows])
    return np.ones(rows.stop - rows.start if isinstance(rows, slice) else len(rows), np.float32)


def _item_features(dataset: Dataset, items: pl.DataFrame, text: Float) -> ItemFeatures:
    meta = dataset.meta.items
    categorical = [items[f"cat.{c.name}"].to_numpy() for c in meta.categorical]
    numeric = [items[f"num.{n.name}"].to_numpy() for n in meta.numeric]
    columns = [Numeric(n.name, "context", n.mean, n.std) for n in meta.numeric]
    n = len(items)
    parts, shares = _parts([items[f"multi.{c.name}"] for c in meta.multi], [len(c.values) for c in meta.multi])
    return ItemFeatures(
        text=torch.from_numpy(text),
        categorical=torch.from_numpy(
            np.stack(categorical, 1).astype(np.int64) if categorical else np.zeros((n, 0), np.int64)
        ),
        numeric=torch.from_numpy(
            standardize(np.stack(numeric, 1).astype(np.float64), columns) if numeric else np.zeros((n, 0), np.float32)
        ),
        parts=parts,
        shares=shares,
    )


def _parts(columns: Sequence[pl.Series], sizes: Sequence[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """`parts` and `shares` of `ItemFeatures`, from lists of indices from 1 on."""
    if not columns:
        return None, None
    parts, shares, before = [], [], 0
    for column, size in zip(columns, sizes, strict=True):
        length = column.list.len().to_numpy().astype(np.int64)
        place = np.arange(max(int(length.max(initial=0)), 1))
        present = place < length[:, None]
        table = np.zeros(present.shape, np.int64)
        table[present] = column.explode().drop_nulls().to_numpy().astype(np.int64) - 1 + before
        parts.append(table)
        shares.append((present / np.maximum(length, 1)[:, None]).astype(np.float32))
        before += size
    return torch.from_numpy(np.concatenate(parts, axis=1)), torch.from_numpy(np.concatenate(shares, axis=1))


def is_consumed(log: Log, tasks: Sequence[Task]) -> npt.NDArray[np.bool_]:
    """Rows that any ranking task counts; without one those of the related task, then of any binary one; else all."""
    for kind in ("retrieval", "related", "binary"):
        consumed = np.zeros(len(log), bool)
        counting = [task for task in tasks if task.kind == kind]
        for task in counting:
            consumed |= _consumed(log, task, slice(0, len(log))) > 0
        if counting:
            return consumed
    return np.ones(len(log), bool)
