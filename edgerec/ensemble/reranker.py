"""Re-rankers over candidates: boosted trees on closed-form scores, the user's own past and item statistics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import lightgbm
import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.candidates import Candidates
from edgerec.ensemble.reranker_training import TrainingLists
from edgerec.ensemble.signals import Snapshot
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import EnsembleSettings
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.files import write_whole
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

OBJECTIVES = {"reranker": "lambdarank", "reranker.softmax": "rank_xendcg"}
"""Members that share the candidates, by what their trees minimise: swaps that cost NDCG, or a listwise cross-entropy.

Sources: Burges, MSR-TR-2010-82; Bruch et al., WWW 2021.
"""
Boosters: TypeAlias = "dict[str, list[lightgbm.Booster]]"
"""Of one fold of users: by member, one for each retrieval task."""


class Reranker:
    """Boosters for each objective, retrieval task and fold of users; a fold's boosters did not see its users.

    Folds may be missing: one is enough to choose weights on valid.
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
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        every = product(folds, OBJECTIVES, tasks)
        missing = [(f, name, t) for f, name, t in every if not (folder / _file(f, name, t)).exists()]
        if missing:
            candidates = Candidates(data.statistics, data.features, data.n_items)
            lists = TrainingLists.make(settings, data, snapshots, candidates, progress)
            with progress.track(len(missing), "re-ranker") as done:
                for fold, name, task in missing:
                    booster = lists.booster(fold, OBJECTIVES[name], task, settings)
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
            wanted: members of `OBJECTIVES`. size: of the pool.
            fold: score with the boosters of this fold; None: the mean of all folds.
        """
        folds = list(self.boosters.values()) if fold is None else [self.boosters[fold]]
        shape = (len(chosen), len(self.tasks), self.candidates.n_items)
        scores = {name: np.empty(shape, np.float32) for name in OBJECTIVES if name in wanted}
        for places, pool in self.candidates.of(snapshot, requests, chosen, size):
            owner, first = pool.owner(), np.cumsum(pool.sizes) - pool.sizes
            for (name, target), t in product(scores.items(), range(len(self.tasks))):
                total = sum(_predict(boosters[name][t], pool.features) for boosters in folds) / len(folds)
                of_pool = np.asarray(total, np.float32)
                target[places, t] = np.minimum.reduceat(of_pool, first)[:, None]
                target[places[owner], t, pool.item] = of_pool
        return scores


def _predict(booster: lightgbm.Booster, features: Float) -> npt.NDArray[np.float64]:
    return np.asarray(booster.predict(features, num_threads=torch.get_num_threads()))


def _file(fold: int, member: str, task: Task) -> str:
    return f"{member}-{fold}-{task.name}.txt"


def _read(path: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
