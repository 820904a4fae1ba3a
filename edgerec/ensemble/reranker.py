"""Re-rankers over candidates: boosted trees on closed-form scores, the user's own past and item statistics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

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
from edgerec.threads import ahead

if TYPE_CHECKING:
    import lightgbm

NOTHING = "reranker-none"
"""File that says that there is nothing to learn from."""
Boosters: TypeAlias = "list[lightgbm.Booster]"
"""Of one fold of users: one for each retrieval task."""


class Reranker:
    """Boosters for each retrieval task and fold of users; a fold's boosters did not see its users.

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
    ) -> Reranker | None:
        """Train on the requests that a view serves; boosters that are in `folder` are not trained again.

        None where these requests, or those without a fold's users, led to nothing that is to be learned for a task.
        """
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        missing = [(f, t) for f, t in product(folds, tasks) if not (folder / _file(f, t)).exists()]
        if (folder / NOTHING).exists():
            return None
        if missing:
            candidates = Candidates(data.statistics, data.features, data.n_items)
            lists = TrainingLists.make(settings, data, snapshots, candidates, progress)
            if lists is None or not lists.tell(settings.folds):
                progress.say("ensemble: reranker is absent: too few requests of the latest windows led to something")
                (folder / NOTHING).touch()
                return None
            with progress.track(len(missing), "re-ranker") as done:
                for fold, task in missing:
                    write_whole(folder / _file(fold, task), lists.booster(fold, task, settings).model_to_string())
                    done.advance()
        return cls.load(data, folds, folder)

    @classmethod
    def load(cls, data: LearningData, folds: Sequence[int], folder: Path) -> Reranker:
        """What `fit` left in `folder`."""
        tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        boosters = {fold: [_read(folder / _file(fold, t)) for t in tasks] for fold in folds}
        return cls(Candidates(data.statistics, data.features, data.n_items), tasks, boosters)

    def scores(self, snapshot: Snapshot, requests: Requests, chosen: Int, size: int, fold: int | None) -> Float:
        """Scores of the catalogue by retrieval task, (B, tasks, N); items outside the pool have its lowest.

        Args:
            size: of the pool.
            fold: score with the boosters of this fold; None: the mean of all folds.
        """
        folds = list(self.boosters.values()) if fold is None else [self.boosters[fold]]
        scores = np.empty((len(chosen), len(self.tasks), self.candidates.n_items), np.float32)
        for places, pool in ahead(self.candidates.of(snapshot, requests, chosen, size)):
            owner, first = pool.owner(), np.cumsum(pool.sizes) - pool.sizes
            for t in range(len(self.tasks)):
                total = sum(_predict(boosters[t], pool.features) for boosters in folds) / len(folds)
                of_pool = np.asarray(total, np.float32)
                scores[places, t] = np.minimum.reduceat(of_pool, first)[:, None]
                scores[places[owner], t, pool.item] = of_pool
        return scores


def _predict(booster: lightgbm.Booster, features: Float) -> npt.NDArray[np.float64]:
    return np.asarray(booster.predict(features, num_threads=torch.get_num_threads()))


def _file(fold: int, task: Task) -> str:
    return f"reranker-{fold}-{task.name}.txt"


def _read(path: Path) -> lightgbm.Booster:
    import lightgbm  # heavy: loaded on use

    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
