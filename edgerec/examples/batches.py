"""Joint batches: a few sessions and impressions that one training step learns from together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgerec.examples.graph import GraphEdges
from edgerec.examples.requests import ImpressionExamples, Requests, SessionExamples
from edgerec.examples.scratch import Limits, pieces
from edgerec.examples.soft_lists import SoftBatch, SoftLabels
from edgerec.examples.statistics import ItemStatistics
from edgerec.models.inputs import ItemsAsOf, RequestBatch
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int


@dataclass(frozen=True)
class PairBatch:
    """Q items, and the other items of a session of each as pairs `owner` (into Q), `item`: int64 (Q,), (P,), (P,).

    `soft`: a teacher's scores of the others, or None.
    """

    query: Tensor
    owner: Tensor
    item: Tensor
    soft: SoftBatch | None

    def part(self, rows: slice) -> PairBatch:
        """The queries `rows` and their pairs."""
        owner, item = _of_owners(self.owner, self.item, rows)
        return PairBatch(self.query[rows], owner, item, None if self.soft is None else self.soft.part(rows))


@dataclass(frozen=True)
class SessionBatch:
    """B requests at the start of sessions, and what was consumed in these sessions.

    Attributes:
        as_of: what was known of the items at the as-of time that all requests share.
        owner, item: for each retrieval task int64 (P,), pairs of request and consumed item.
        soft: for each retrieval task a teacher's scores of the catalogue; or None.
        related: one item of each session of two and more, and the session's others; None without a related task.
    """

    requests: RequestBatch
    as_of: ItemsAsOf
    owner: tuple[Tensor, ...]
    item: tuple[Tensor, ...]
    soft: tuple[SoftBatch, ...] | None
    related: PairBatch | None

    def part(self, number: int, parts: int) -> SessionBatch | None:
        """Part `number` of `parts` of the requests and of the related pairs; None where it is empty."""
        rows = _slice_of(len(self.requests.item), number, parts)
        queries = _slice_of(0 if self.related is None else len(self.related.query), number, parts)
        if rows.start == rows.stop and queries.start == queries.stop:
            return None
        pairs = [_of_owners(owner, item, rows) for owner, item in zip(self.owner, self.item, strict=True)]
        return SessionBatch(
            requests=part_of_requests(self.requests, rows),
            as_of=self.as_of,
            owner=tuple(owner for owner, _ in pairs),
            item=tuple(item for _, item in pairs),
            soft=None if self.soft is None else tuple(s.part(rows) for s in self.soft),
            related=None if self.related is None else self.related.part(queries),
        )


@dataclass(frozen=True)
class ImpressionBatch:
    """B impressions.

    Attributes:
        candidate: int64 (B,).
        labels: float32 (B, T), columns as the scored tasks; regression labels as standardised logs.
        soft: as `labels`, from a teacher, but logs of the probabilities; or None.
    """

    requests: RequestBatch
    as_of: ItemsAsOf
    candidate: Tensor
    labels: Tensor
    soft: Tensor | None

    def part(self, number: int, parts: int) -> ImpressionBatch | None:
        """Part `number` of `parts` of the impressions; None where it is empty."""
        rows = _slice_of(len(self.candidate), number, parts)
        if rows.start == rows.stop:
            return None
        return ImpressionBatch(
            requests=part_of_requests(self.requests, rows),
            as_of=self.as_of,
            candidate=self.candidate[rows],
            labels=self.labels[rows],
            soft=None if self.soft is None else self.soft[rows],
        )


@dataclass(frozen=True)
class JointBatch:
    """What one step learns from; sessions or impressions may be missing."""

    sessions: SessionBatch | None
    impressions: ImpressionBatch | None

    def to(self, device: torch.device) -> JointBatch:
        """The same batch on `device`."""
        return self if device.type == "cpu" else _mapped(self, lambda t: t.to(device, non_blocking=True))

    def part(self, number: int, parts: int) -> JointBatch:
        """Part `number` of `parts`; together the parts hold every example once."""
        if parts == 1:
            return self
        return JointBatch(
            None if self.sessions is None else self.sessions.part(number, parts),
            None if self.impressions is None else self.impressions.part(number, parts),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by a dotted name, such as "impressions.requests.item"."""
        return dict(_named(self, ""))


T = TypeVar("T")


def _mapped(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """`value`, a tree of batches and tuples, with each tensor changed."""
    if isinstance(value, Tensor):
        return cast(T, change(value))
    if isinstance(value, tuple):
        return cast(T, tuple(_mapped(v, change) for v in value))
    if is_dataclass(value) and not isinstance(value, type):
        return cast(T, replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)}))
    return value


def _named(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for i, v in enumerate(value):
            yield from _named(v, f"{name}.{i}")
    elif is_dataclass(value):
        for f in fields(value):
            yield from _named(getattr(value, f.name), f"{name}.{f.name}".removeprefix("."))


def _slice_of(n: int, number: int, parts: int) -> slice:
    return slice(n * number // parts, n * (number + 1) // parts)


def _of_owners(owner: Tensor, item: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """The pairs whose owner is in `rows`, counted from its start."""
    inside = (owner >= rows.start) & (owner < rows.stop)
    return owner[inside] - rows.start, item[inside]


def part_of_requests(requests: RequestBatch, rows: slice) -> RequestBatch:
    """The requests `rows`."""
    return _mapped(requests, lambda t: t[rows])


@dataclass(frozen=True)
class Examples:
    """All that a model is trained or validated on; sessions or impressions are None where no task needs them.

    Attributes:
        n_seen: items that occur in the training rows, the first ones of the `n_items`; only these compete in a softmax,
            since the model would learn that all others are bad.
        soft: what a teacher says of the examples.
        graph: for a teacher with graph layers.
        at_once: impressions whose batches are planned together; more are planned shard by shard.
    """

    tasks: tuple[Task, ...]
    n_items: int
    n_seen: int
    statistics: ItemStatistics
    sessions: SessionExamples | None
    impressions: ImpressionExamples | None
    soft: SoftLabels | None = None
    graph: GraphEdges | None = None
    at_once: int = Limits.rows

    def as_of(self, index: int, rng: np.random.Generator | None = None) -> ItemsAsOf:
        """What a model knows of the items at the as-of time of this index; `rng` draws neighbours."""
        graph = None
        if self.graph is not None:
            graph = self.graph.until(index) if rng is None else self.graph.draw(index, rng)
        return ItemsAsOf(torch.from_numpy(np.array(self.statistics.values[index])), graph)


@dataclass(frozen=True)
class BatchSettings:
    """Sizes of a joint batch, and how much of the examples one epoch sees."""

    sessions: int
    impressions: int
    sessions_per_epoch: int
    history_dropout: float
    lag: int
    """Statistics of a session may be up to this many as-of times old, as those of a bundle are when it is used."""
    early_teacher_epochs: int = 0
    """The first epochs learn from the early-checkpoint teacher, where there is one."""
    impressions_per_epoch: int | None = None
    """Most impressions that a training epoch sees, whole batches drawn anew in each one; None: all."""


class JointBatches:
    """Each iteration is one pass over the examples.

    A batch depends only on `seed`, the epoch and its number, so that a pass can begin anywhere: no random generator has
    a state that earlier batches would have to make.
    """

    def __init__(
        self,
        examples: Examples,
        settings: BatchSettings,
        seed: int,
        train: bool = True,
        users: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """`users`: bool (n_users,), whose examples are taken; None takes all. Without `train` nothing is random."""
        self.examples, self.settings, self.seed, self.train, self.users = examples, settings, seed, train, users
        self.epoch = 0
        self.related = any(t.kind == "related" for t in examples.tasks)

    def steps(self) -> int:
        """Steps of an epoch. It is not `len`, since the random draw of as-of times changes it by a few."""
        return len(self._plan(np.random.default_rng(self.seed)))

    def __iter__(self) -> Iterator[JointBatch]:
        return self.pass_from(0)

    def pass_from(self, start: int) -> Iterator[JointBatch]:
        """The batches of the epoch from number `start` on."""
        epoch = self.epoch if self.train else 0
        plan = self._plan(np.random.default_rng((self.seed, epoch)))
        for number in range(start, len(plan)):
            sessions, rows = plan[number]
            rng = np.random.default_rng((self.seed, epoch, number + 1))  # 0 would repeat the draws of the plan
            yield JointBatch(
                self._sessions(*sessions, rng) if sessions else None,
                self._impressions(*rows, rng) if rows else None,
            )

    def _plan(self, rng: np.random.Generator) -> _Plan:
        """The examples of each step: the kind with more batches sets the number of steps, the other is spread."""
        x, s = self.examples, self.settings
        kinds: list[Sequence[tuple[int, Int]]] = [[], []]
        if x.sessions is not None:
            chosen = self._chosen(x.sessions.requests, 0, len(x.sessions.requests))
            as_of = x.sessions.requests.as_of[chosen]
            if self.train:
                as_of = _coarser(np.maximum(as_of - rng.integers(0, s.lag + 1, len(as_of)), 0), s.sessions)
            kinds[0] = _grouped(chosen, as_of, x.sessions.requests.lengths(chosen), s.sessions, rng)
            if self.train and len(chosen) > s.sessions_per_epoch:
                # Whole batches: fewer sessions of every as-of time would be as many steps.
                n = max(len(kinds[0]) * s.sessions_per_epoch // len(chosen), 1)
                kinds[0] = [kinds[0][i] for i in rng.permutation(len(kinds[0]))[:n]]
        if x.impressions is not None and len(x.impressions.item) <= x.at_once:
            kinds[1] = self._impression_batches(0, len(x.impressions.item), rng)
        elif x.impressions is not None:
            kinds[1] = _Shards(self, int(rng.integers(1 << 62)))
        for batches in kinds:
            if isinstance(batches, list):
                rng.shuffle(batches)
        if self.train and s.impressions_per_epoch is not None and isinstance(kinds[1], list):
            kinds[1] = kinds[1][: -(-s.impressions_per_epoch // s.impressions)]
        return _Plan(kinds)

    def _impression_batches(self, start: int, end: int, rng: np.random.Generator) -> list[tuple[int, Int]]:
        """Batches of the impressions from `start` to `end`."""
        assert self.examples.impressions is not None
        requests, size = self.examples.impressions.requests, self.settings.impressions
        chosen = self._chosen(requests, start, end)
        return _grouped(chosen, self._impression_times(chosen), requests.lengths(chosen), size, rng)

    def _impression_times(self, chosen: Int) -> Int:
        """The as-of times whose statistics the impressions `chosen` are learned with."""
        assert self.examples.impressions is not None
        as_of = self.examples.impressions.requests.as_of[chosen]
        return _coarser(as_of, min(self.settings.impressions, FEW_IMPRESSIONS)) if self.train else as_of

    def _chosen(self, requests: Requests, start: int, end: int) -> Int:
        """The requests from `start` to `end` that are of the users to learn from."""
        if self.users is None:
            return np.arange(start, end)
        return start + np.flatnonzero(self.users[requests.user[start:end]])

    def _soft(self) -> SoftLabels | None:
        """The labels of this epoch."""
        soft = self.examples.soft
        early = soft is not None and self.epoch < self.settings.early_teacher_epochs
        return soft.early if soft is not None and early and soft.early is not None else soft

    def _sessions(self, as_of: int, chosen: Int, rng: np.random.Generator) -> SessionBatch:
        sessions, soft = self.examples.sessions, self._soft()
        assert sessions is not None
        truth = [sessions.truth[t.name].take(chosen) for t in self.examples.tasks if t.kind == "retrieval"]
        dropout = self.settings.history_dropout if self.train else 0.0
        return SessionBatch(
            requests=sessions.requests.batch(chosen, dropout, rng),
            as_of=self.examples.as_of(as_of, rng if self.train else None),
            owner=tuple(torch.from_numpy(t.owner()) for t in truth),
            item=tuple(torch.from_numpy(t.values) for t in truth),
            soft=None
            if soft is None or soft.sessions is None
            else tuple(lists.batch(chosen) for lists in soft.sessions),
            related=self._related(sessions, chosen, rng) if self.related else None,
        )

    def _impressions(self, as_of: int, chosen: Int, rng: np.random.Generator) -> ImpressionBatch:
        rows, soft = self.examples.impressions, self._soft()
        assert rows is not None
        dropout = self.settings.history_dropout if self.train else 0.0
        scored = [t for t in self.examples.tasks if t.kind != "related"]
        none = np.zeros(len(chosen), np.float32)
        labels = np.stack([rows.labels[t.name][chosen] if t.name in rows.labels else none for t in scored], 1)
        taught = soft.impressions[chosen] if soft is not None and soft.impressions is not None else None
        return ImpressionBatch(
            requests=rows.requests.batch(chosen, dropout, rng),
            as_of=self.examples.as_of(as_of, rng if self.train else None),
            candidate=torch.from_numpy(np.asarray(rows.item[chosen])),
            labels=torch.from_numpy(labels),
            soft=None if taught is None else torch.from_numpy(taught.astype(np.float32)),
        )

    def _related(self, sessions: SessionExamples, chosen: Int, rng: np.random.Generator) -> PairBatch:
        soft = self.examples.soft  # there is no early-checkpoint teacher of related items
        lists = sessions.items.take(chosen)
        lists = lists.take(np.flatnonzero(lists.sizes() > 1))
        query = lists.values[lists.offsets[:-1] + (rng.random(len(lists)) * lists.sizes()).astype(np.int64)]
        others = lists.where(lists.values != query[lists.owner()])
        return PairBatch(
            query=torch.from_numpy(query),
            owner=torch.from_numpy(others.owner()),
            item=torch.from_numpy(others.values),
            soft=None if soft is None or soft.related is None else soft.related.batch(query),
        )


def _grouped(chosen: Int, as_of: Int, key: Int | Float, size: int, rng: np.random.Generator) -> list[tuple[int, Int]]:
    """Batches of one as-of time each, with similar `key`: histories of like length need little padding."""
    order = np.lexsort((rng.random(len(chosen)), key, as_of))
    bounds = np.flatnonzero(np.diff(as_of[order])) + 1
    batches = []
    for group in np.split(order, bounds):
        if len(group):
            pieces = np.array_split(group, -(-len(group) // size))
            batches += [(int(as_of[piece[0]]), chosen[piece]) for piece in pieces]
    return batches


FEW_IMPRESSIONS = 512
"""A step has half as many impressions on average, at least."""


FEW_TIMES = 16
"""As-of times of an epoch that are never joined: so few steps cost little, and a small log needs them."""


def _coarser(as_of: Int, size: int) -> Int:
    """As-of times of which each has half a batch of `size` on average: earlier ones where there are too many.

    A step encodes the whole catalogue, so steps of a few requests each would take most of the time.
    """
    step = max(len(np.unique(as_of)) // max(2 * len(as_of) // size, FEW_TIMES), 1)
    return as_of - as_of % step


class _Plan:
    """The steps of an epoch: for each kind of examples a batch (as-of time, rows) or None."""

    def __init__(self, kinds: Sequence[Sequence[tuple[int, Int]]]) -> None:
        self.kinds = kinds
        steps = max(map(len, kinds))
        self.numbers = [_spread(len(batches), steps) for batches in kinds]

    def __len__(self) -> int:
        return len(self.numbers[0])

    def __getitem__(self, step: int) -> list[tuple[int, Int] | None]:
        at = [int(numbers[step]) for numbers in self.numbers]
        return [None if n < 0 else batches[n] for batches, n in zip(self.kinds, at, strict=True)]


class _Shards(Sequence[tuple[int, Int]]):
    """The batches of very many impressions: ranges of rows in random order, each planned when its turn comes."""

    def __init__(self, of: JointBatches, seed: int) -> None:
        assert of.examples.impressions is not None
        self.of, self.seed = of, seed
        ranges = list(pieces(len(of.examples.impressions.item), of.examples.at_once))
        self.ranges = [ranges[i] for i in np.random.default_rng(seed).permutation(len(ranges))]
        self.ends = np.cumsum([self._count(*r) for r in self.ranges])
        most = of.settings.impressions_per_epoch if of.train else None
        self.length = int(self.ends[-1])
        if most is not None:
            self.length = min(self.length, -(-most // of.settings.impressions))
        self._planned: tuple[int, list[tuple[int, Int]]] | None = None

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, number: int) -> tuple[int, Int]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[int, Int]]: ...
    def __getitem__(self, number: int | slice) -> tuple[int, Int] | Sequence[tuple[int, Int]]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        shard = int(np.searchsorted(self.ends, number, side="right"))
        if self._planned is None or self._planned[0] != shard:
            rng = np.random.default_rng((self.seed, shard))
            start, end = self.ranges[shard]
            batches = self.of._impression_batches(start, end, rng)
            rng.shuffle(batches)
            self._planned = (shard, batches)
        return self._planned[1][number - int(self.ends[shard])]  # counted from the shard's end

    def _count(self, start: int, end: int) -> int:
        """How many batches `_grouped` will make of a range."""
        assert self.of.examples.impressions is not None
        chosen = self.of._chosen(self.of.examples.impressions.requests, start, end)
        sizes = np.bincount(self.of._impression_times(chosen))
        return int((-(-sizes // self.of.settings.impressions)).sum())


def _spread(n: int, steps: int) -> Int:
    """The number of the batch that each of `steps` steps takes, `n` batches at even distances; -1 for none."""
    numbers = np.full(steps, -1)
    numbers[np.arange(n) * steps // max(n, 1)] = np.arange(n)
    return numbers
