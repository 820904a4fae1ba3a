"""How re-rankers are trained: lists of candidates of past requests, each scored by members fitted before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.candidates import Candidates, Pool
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import EnsembleSettings, Views
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, Requests
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

if TYPE_CHECKING:
    import lightgbm

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrainingLists:
    """What re-rankers learn from, flat: a list of candidates for each request.

    Attributes:
        names: of the features. tasks: the retrieval tasks.
        user: int64 (R,). sizes: int64 (R,), candidates of each. features: float32 (S, F).
        own: bool (S,), in the history. labels: bool (tasks, S).
    """

    names: Sequence[str]
    tasks: Sequence[Task]
    user: Int
    sizes: Int
    features: Float
    own: Bool
    labels: Bool

    @classmethod
    def make(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        snapshots: Snapshots,
        candidates: Candidates,
        progress: Progress,
    ) -> TrainingLists | None:
        """The candidates of the latest requests that a view serves, from that view's members; None: it serves none."""
        sessions, size, views = data.train.sessions, settings.ensemble.candidates, snapshots.views
        assert sessions is not None
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        serving = views.serving(sessions.requests)
        served = requests_to_learn_from(sessions.requests, serving, views)
        chosen = _latest(sessions.requests, served, settings.ensemble.requests)
        users, sizes, features, own, labels = [], [], [], [], []
        with progress.track(len(chosen), "candidates") as done:
            for view in range(len(views)):
                mine = chosen[serving[chosen] == view]
                snapshot = snapshots.of(view) if len(mine) else None
                requests = views.with_statistics(sessions.requests, view, len(data.statistics.as_of_ms) - 1)
                for places, pool in candidates.of(snapshot, requests, mine, size) if snapshot else ():
                    part = mine[places]
                    users.append(sessions.requests.user[part])
                    sizes.append(pool.sizes)
                    features.append(pool.features)
                    own.append(pool.features[:, 0] > 0)
                    labels.append(np.stack([_is_listed(sessions.truth[t.name].take(part), pool) for t in tasks]))
                    done.advance(len(part))
        if not users:
            return None
        return cls(
            candidates.names(snapshots.last, sessions.requests),
            tasks,
            np.concatenate(users),
            np.concatenate(sizes),
            np.concatenate(features),
            np.concatenate(own),
            np.concatenate(labels, axis=1),
        )

    def tell(self, task: Task, folds: int) -> bool:
        """Whether there is something to learn for a task from the users outside of each fold."""
        return all(self._kept(fold, task, folds).any() for fold in range(folds))

    def booster(self, fold: int, task: Task, settings: EnsembleSettings) -> lightgbm.Booster:
        """Train on the requests of users outside `fold` that led to something; there must be one, see `tell`."""
        import lightgbm  # heavy: loaded on use

        keep = self._kept(fold, task, settings.folds)
        sizes = np.bincount(self._request[keep], minlength=len(self.user))
        dataset = lightgbm.Dataset(
            self.features[keep],
            label=self.labels[self.tasks.index(task)][keep].astype(np.int8),
            group=sizes[sizes > 0],
            # The file's format knows no columns named with a colon or a bracket.
            feature_name=[re.sub(r"\W", "_", f"{i}.{name}") for i, name in enumerate(self.names)],
        )
        parameters = _parameters(settings, fold, int(keep.sum()))
        return lightgbm.train(parameters, dataset, settings.ensemble.trees)

    @property
    def _request(self) -> Int:
        """Of each candidate."""
        return np.repeat(np.arange(len(self.user)), self.sizes)

    def _kept(self, fold: int, task: Task, folds: int) -> Bool:
        """Candidates of the requests that led to something, of users outside `fold`, (S,)."""
        request, labels = self._request, self.labels[self.tasks.index(task)]
        keep = ~self.own if task.repeats == "exclude" else np.ones(len(request), bool)
        led = np.bincount(request[keep & labels], minlength=len(self.user)) > 0
        kept: Bool = keep & (led & (fold_of(self.user, folds) != fold))[request]
        return kept


def _parameters(settings: EnsembleSettings, fold: int, n_rows: int) -> dict[str, object]:
    return {
        "objective": "lambdarank",  # Burges, MSR-TR-2010-82: swaps that cost NDCG
        "lambdarank_truncation_level": 30,
        "learning_rate": settings.ensemble.learning_rate,
        "num_leaves": settings.ensemble.leaves,
        "min_data_in_leaf": int(np.clip(n_rows // 1000, 5, 200)),
        "feature_fraction": 0.4,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": settings.seed + fold,
        "deterministic": True,
        "num_threads": torch.get_num_threads(),
        "verbose": -1,
    }


def requests_to_learn_from(requests: Requests, serving: Int, views: Views) -> Int:
    """Each user's first request in a window; without windows, all requests that a view serves.

    Evaluation has one request a user too, and with all of them the few daily users would have most of the lists.
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


def _is_listed(lists: Ragged, pool: Pool) -> Bool:
    """For each candidate (S,), whether its request's list holds it."""
    n = 1 << 32
    return np.isin(pool.owner() * n + pool.item, lists.owner() * n + lists.values)
