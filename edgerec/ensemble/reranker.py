"""Re-rankers over candidates: boosted trees on what closed-form members, the own past and the statistics say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

import lightgbm
import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.signals import NEAREST, Flat, Snapshot, pools, visit_rank
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import EnsembleSettings, Views
from edgerec.errors import DataError
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, Requests
from edgerec.examples.statistics import ItemStatistics
from edgerec.files import write_whole
from edgerec.models.inputs import ItemFeatures
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

AT_ONCE = 64
"""Requests whose catalogue is looked at together."""
OBJECTIVES = {"reranker": "lambdarank", "reranker.softmax": "rank_xendcg"}
"""Members that share the candidates, by what their trees minimise: swaps that cost NDCG, or a listwise cross-entropy.

Sources: Burges, MSR-TR-2010-82; Bruch et al., WWW 2021.
"""
OWN = ("count", "age_days", "interval_days", "overdue", "share_of_visits", "visits_ago", "kind")
"""What is known of an item of the history; all else has nothing there."""


@dataclass(frozen=True)
class Pool:
    """The candidates of B requests, one request after the other: S in all.

    Attributes:
        sizes: int64 (B,), candidates of each request.
        item: int64 (S,). features: float32 (S, F).
    """

    sizes: Int
    item: Int
    features: Float

    def owner(self) -> Int:
        """The request of each candidate, in [0, B)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


class Candidates:
    """Makes candidates and their features."""

    def __init__(self, statistics: ItemStatistics, features: ItemFeatures, n_items: int) -> None:
        self.statistics, self.n_items = statistics, n_items
        self.numeric = features.numeric.numpy().astype(np.float32)

    def names(self, snapshot: Snapshot, requests: Requests) -> list[str]:
        """Of the features."""
        popularity = [n for n in self.statistics.names if n.startswith("popularity")]
        return [
            *(f"own.{name}" for name in OWN),
            *snapshot.names(),
            *(f"{name}.rank" for name in snapshot.names()),
            *NEAREST,
            *self.statistics.names,
            *(f"trend.{name}" for name in popularity[:-1]),
            *(f"item.{i}" for i in range(self.numeric.shape[1])),
            *(f"user.{i}" for i in range(requests.numeric(np.zeros(0, np.int64)).shape[1])),
            *(f"context.{i}" for i in range(requests.categorical.shape[1])),
        ]

    def of(self, snapshot: Snapshot, requests: Requests, chosen: Int, size: int) -> Iterator[tuple[Int, Pool]]:
        """The history and the `size` best other items of the requests `chosen`, in parts of about `AT_ONCE`.

        Yields:
            Places in `chosen`, by length of the history so that a part needs little room, and their pools.
        """
        order = np.argsort(requests.lengths(chosen), kind="stable")
        for places in np.array_split(order, max(-(-len(order) // AT_ONCE), 1)):
            if len(places):
                yield places, self._pool(snapshot, requests, chosen[places], size)

    def _pool(self, snapshot: Snapshot, requests: Requests, part: Int, size: int) -> Pool:
        signals = snapshot.signals(requests, part)
        own = self._own(requests, part)
        statistics = self.statistics.values[requests.as_of[part]]
        popular = [i for i, n in enumerate(self.statistics.names) if n.startswith("popularity")]
        adopted = [i for i, n in enumerate(self.statistics.names) if n.startswith("adoption")]
        leads = [*signals.values(), *(statistics[:, :, i] for i in (*popular[:3], *adopted[:2]))]
        held = (own[:, :, 0] > 0).sum(axis=1)
        item = pools(leads, own[:, :, 0], size + int(held.max()))
        # A request with a short history has no more candidates because another one of its part has a long history.
        inside = np.arange(item.shape[1]) < (size + held)[:, None]
        features = self._features(snapshot, signals, own, statistics, popular, requests, part, item, inside)
        return Pool(inside.sum(axis=1), item[inside], features[inside])

    def _features(
        self,
        snapshot: Snapshot,
        signals: dict[str, Float],
        own: Float,
        statistics: Float,
        popular: Sequence[int],
        requests: Requests,
        part: Int,
        item: Int,
        inside: npt.NDArray[np.bool_],
    ) -> Float:
        def at(values: Float) -> Float:
            return np.take_along_axis(values, item, axis=1)

        shape, numbers = item.shape, requests.numeric(part)
        facts = np.take_along_axis(statistics, item[:, :, None], axis=1)
        trends = facts[:, :, popular[:-1]] - facts[:, :, popular[1:]]
        columns = [
            np.take_along_axis(own, item[:, :, None], axis=1),
            np.stack([at(s) for s in signals.values()], 2),
            np.stack([_rank(np.where(inside, at(s), -np.inf)) for s in signals.values()], 2),
            snapshot.nearest(requests, part, item),
            facts,
            trends,
            self.numeric[item],
            np.broadcast_to(numbers[:, None], (*shape, numbers.shape[1])),
            np.broadcast_to(requests.categorical[part][:, None], (*shape, requests.categorical.shape[1])),
        ]
        return np.concatenate(columns, axis=2, dtype=np.float32)

    def _own(self, requests: Requests, part: Int) -> Float:
        """(B, N, len(OWN)), not a number where the history does not hold the item, but 0 in the first column."""
        flat = Flat.of(requests, part)
        rank = visit_rank(flat.row, flat.last_ms)
        sessions = np.ones(len(part))
        np.maximum.at(sessions, flat.row, rank + 1.0)
        values = np.stack(
            [
                flat.count,
                flat.age_days,
                np.where(flat.count > 1, flat.interval_days, np.nan),
                np.where(flat.count > 1, flat.age_days / np.maximum(flat.interval_days, 0.5), np.nan),
                flat.count / sessions[flat.row],
                rank,
                flat.kind,
            ],
            axis=1,
        )
        own = np.full((len(part), self.n_items, len(OWN)), np.nan, np.float32)
        own[:, :, 0] = 0
        known = flat.item < self.n_items
        own[flat.row[known], flat.item[known]] = values[known]
        return own


def _rank(values: Float) -> Float:
    """Place of each candidate among those of its request, log scaled."""
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty(order.shape, np.float32)
    np.put_along_axis(rank, order, np.log1p(np.arange(values.shape[1], dtype=np.float32))[None], axis=1)
    return rank


Boosters: TypeAlias = "dict[str, list[lightgbm.Booster]]"
"""Of one fold of users: by member, one for each retrieval task."""


class Reranker:
    """Boosters for each objective, retrieval task and fold of users; a fold's boosters did not see its users.

    A fold that is not there, as in a first look at valid, leaves out its boosters.
    """

    def __init__(self, candidates: Candidates, tasks: Sequence[Task], boosters: dict[int, Boosters]) -> None:
        self.candidates, self.tasks, self.boosters = candidates, list(tasks), boosters

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        snapshots: Snapshots,
        folds: Sequence[int],
        folder: Path,
        progress: Progress,
    ) -> Reranker:
        """Train on the requests that a view serves; boosters that are in `folder` are not trained again."""
        candidates = Candidates(data.statistics, data.features, data.n_items)
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        every = product(folds, OBJECTIVES, tasks)
        missing = [(f, name, t) for f, name, t in every if not (folder / _file(f, name, t)).exists()]
        if missing:
            lists = _training_lists(settings, data, snapshots, candidates, progress)
            assert data.train.sessions is not None
            names = candidates.names(snapshots.last, data.train.sessions.requests)
            with progress.track(len(missing), "re-ranker") as done:
                for fold, name, task in missing:
                    booster = _train(lists, names, fold, OBJECTIVES[name], task, tasks.index(task), settings)
                    write_whole(folder / _file(fold, name, task), booster.model_to_string())
                    done.advance()
        return cls.load(data, folds, folder)

    @classmethod
    def load(cls, data: LearningData, folds: Sequence[int], folder: Path) -> Reranker:
        """What `fit` left in `folder`."""
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        boosters = {
            fold: {name: [_read(folder / _file(fold, name, t)) for t in tasks] for name in OBJECTIVES} for fold in folds
        }
        return cls(Candidates(data.statistics, data.features, data.n_items), tasks, boosters)

    def scores(
        self, wanted: Collection[str], snapshot: Snapshot, requests: Requests, chosen: Int, size: int, fold: int | None
    ) -> dict[str, Float]:
        """Scores of the catalogue by member and retrieval task, (B, tasks, N); items outside the pool have its lowest.

        Args:
            wanted: members of `OBJECTIVES`. size: of the pool. fold: whose boosters speak; None: the mean of all.
        """
        speaking = list(self.boosters.values()) if fold is None else [self.boosters[fold]]
        shape = (len(chosen), len(self.tasks), self.candidates.n_items)
        found = {name: np.empty(shape, np.float32) for name in OBJECTIVES if name in wanted}
        for places, pool in self.candidates.of(snapshot, requests, chosen, size):
            owner, first = pool.owner(), np.cumsum(pool.sizes) - pool.sizes
            for (name, target), t in product(found.items(), range(len(self.tasks))):
                total = sum(_predict(boosters[name][t], pool.features) for boosters in speaking) / len(speaking)
                scores = np.asarray(total, np.float32)
                target[places, t] = np.minimum.reduceat(scores, first)[:, None]
                target[places[owner], t, pool.item] = scores
        return found


@dataclass(frozen=True)
class _Lists:
    """What the re-ranker learns from, flat: one list of candidates a request.

    Attributes:
        user: int64 (R,). sizes: int64 (R,), candidates of each. features: float32 (S, F).
        own: bool (S,), in the history. labels: bool (tasks, S).
    """

    user: Int
    sizes: Int
    features: Float
    own: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.bool_]


def _training_lists(
    settings: EnsembleSettings, data: LearningData, snapshots: Snapshots, candidates: Candidates, progress: Progress
) -> _Lists:
    sessions, size = data.train.sessions, settings.ensemble.candidates
    assert sessions is not None
    tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    serving = snapshots.views.serving(sessions.requests)
    chosen = _latest(sessions.requests, _told(sessions.requests, serving, snapshots.views), settings.ensemble.requests)
    users, sizes, features, own, labels = [], [], [], [], []
    with progress.track(len(chosen), "candidates") as done:
        for view in range(len(snapshots.views)):
            mine = chosen[serving[chosen] == view]
            snapshot = snapshots.of(view) if len(mine) else None
            requests = snapshots.views.known(sessions.requests, view, len(data.statistics.as_of_ms) - 1)
            for places, pool in candidates.of(snapshot, requests, mine, size) if snapshot else ():
                part = mine[places]
                users.append(sessions.requests.user[part])
                sizes.append(pool.sizes)
                features.append(pool.features)
                own.append(pool.features[:, 0] > 0)
                labels.append(np.stack([_holds(sessions.truth[t.name].take(part), pool) for t in tasks]))
                done.advance(len(part))
    if not users:
        raise DataError("the re-ranker has no request to learn from; lower [ensemble] window or leave the member out")
    return _Lists(
        np.concatenate(users),
        np.concatenate(sizes),
        np.concatenate(features),
        np.concatenate(own),
        np.concatenate(labels, axis=1),
    )


def _told(requests: Requests, serving: Int, views: Views) -> Int:
    """The requests that are learned from: each user's first one in a window; without windows all that are served.

    A user is judged by one request too. With all of them the few who come every other day would be most of the lists.
    """
    served = np.flatnonzero(serving >= 0)
    if views.cuts_ms is None:
        return served
    served = served[np.argsort(requests.time_ms[served], kind="stable")]
    _, first = np.unique(np.stack([requests.user[served], serving[served]], axis=1), axis=0, return_index=True)
    return served[first]


def _latest(requests: Requests, chosen: Int, most: int) -> Int:
    """The latest `most` of the requests `chosen`, in the order of the log."""
    return np.sort(chosen[np.argsort(requests.time_ms[chosen], kind="stable")[-most:]])


def _train(
    lists: _Lists, names: Sequence[str], fold: int, objective: str, task: Task, place: int, settings: EnsembleSettings
) -> lightgbm.Booster:
    """On the requests of users outside `fold` that led to something; `place`: of the task among the retrieval tasks."""
    request = np.repeat(np.arange(len(lists.user)), lists.sizes)
    keep = ~lists.own if task.repeats == "exclude" else np.ones(len(request), bool)
    led = np.bincount(request[keep & lists.labels[place]], minlength=len(lists.user)) > 0
    keep &= (led & (fold_of(lists.user, settings.folds) != fold))[request]
    sizes = np.bincount(request[keep], minlength=len(lists.user))
    trees = settings.ensemble
    if not keep.any():
        raise DataError(f"the re-ranker finds no {task.name} to learn from; leave it out of [ensemble] members")
    dataset = lightgbm.Dataset(
        lists.features[keep],
        label=lists.labels[place][keep].astype(np.int8),
        group=sizes[sizes > 0],
        # The file's format knows no columns named with a colon or a bracket.
        feature_name=[re.sub(r"\W", "_", f"{i}.{name}") for i, name in enumerate(names)],
    )
    parameters = {
        "objective": objective,
        "lambdarank_truncation_level": 30,
        "learning_rate": trees.learning_rate,
        "num_leaves": trees.leaves,
        "min_data_in_leaf": int(np.clip(keep.sum() // 1000, 5, 200)),
        "feature_fraction": 0.4,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": settings.seed + fold,
        "deterministic": True,
        "num_threads": torch.get_num_threads(),
        "verbose": -1,
    }
    return lightgbm.train(parameters, dataset, trees.trees)


def _holds(lists: Ragged, pool: Pool) -> npt.NDArray[np.bool_]:
    """For each candidate (S,), whether its request's list holds it."""
    n = 1 << 32
    return np.isin(pool.owner() * n + pool.item, lists.owner() * n + lists.values)


def _predict(booster: lightgbm.Booster, features: Float) -> npt.NDArray[np.float64]:
    return np.asarray(booster.predict(features, num_threads=torch.get_num_threads()))


def _file(fold: int, member: str, task: Task) -> str:
    return f"{member}-{fold}-{task.name}.txt"


def _read(path: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
