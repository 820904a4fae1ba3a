"""Re-rankers over candidates: boosted trees on closed-form scores, the user's own past and item statistics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgerec.ensemble.candidates import Candidates
from edgerec.ensemble.reranker_training import TrainingLists
from edgerec.ensemble.signals import Snapshot
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.trees import Trees
from edgerec.ensemble.views import EnsembleSettings
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.files import write_whole
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

Boosters: TypeAlias = "list[Trees | None]"
"""Of one fold of users: one for each retrieval task; None where it had nothing to learn from."""


class Reranker:
    """Boosters for each retrieval task and fold of users; a fold's boosters did not see its users.

    Folds may be missing: one is enough to choose weights on valid. A task may have none: its scores are 0.
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
        """Train on the requests that a view serves; boosters that are in `folder` are not trained again.

        A task has none where these requests, or those without a fold's users, led to nothing.
        """
        missing = [(f, t) for f, t in product(folds, _ranked(data)) if not _is_there(folder, f, t)]
        if missing:
            candidates = Candidates(data.statistics, data.features, data.n_items)
            lists = TrainingLists.make(settings, data, snapshots, candidates, progress)
            with progress.track(len(missing), "re-ranker") as done:
                for fold, task in missing:
                    if lists is not None and lists.tell(task, settings.folds):
                        write_whole(folder / _file(fold, task), lists.booster(fold, task, settings).model_to_string())
                    elif not (folder / _nothing(task)).exists():
                        (folder / _nothing(task)).touch()
                        progress.say(
                            f"ensemble: reranker is absent for {task.name}: too few requests of the latest windows led "
                            "to something"
                        )
                    done.advance()
        return cls.load(data, folds, folder)

    @classmethod
    def load(cls, data: LearningData, folds: Sequence[int], folder: Path) -> Reranker:
        """What `fit` left in `folder`."""
        tasks = _ranked(data)
        boosters = {fold: [_read(folder / _file(fold, t)) for t in tasks] for fold in folds}
        return cls(Candidates(data.statistics, data.features, data.n_items), tasks, boosters)

    @staticmethod
    def is_in(folder: Path, data: LearningData, folds: Sequence[int]) -> bool:
        """Whether `fit` left the boosters of all `folds` there."""
        return all(_is_there(folder, fold, task) for fold in folds for task in _ranked(data))

    def scores(self, snapshot: Snapshot, requests: Requests, chosen: Int, size: int, fold: int | None) -> Float:
        """Scores of the catalogue by retrieval task, (B, tasks, N); items outside the pool have its lowest.

        Args:
            size: of the pool.
            fold: score with the boosters of this fold; None: the mean of all folds.
        """
        folds = list(self.boosters.values()) if fold is None else [self.boosters[fold]]
        scores = np.zeros((len(chosen), len(self.tasks), self.candidates.n_items), np.float32)
        by_task = {t: learned for t in range(len(self.tasks)) if (learned := _of_task(folds, t))}
        if not by_task:
            return scores
        for places, pool in self.candidates.of(snapshot, requests, chosen, size):
            owner, first = pool.owner(), np.cumsum(pool.sizes) - pool.sizes
            own = pool.features[:, 0] > 0
            for t, learned in by_task.items():
                # What may not be recommended again is not asked for: it has the lowest score of all.
                asked = ~own if self.tasks[t].repeats == "exclude" else np.ones(len(own), bool)
                of_pool = np.full(len(own), np.inf, np.float32)
                of_pool[asked] = sum(trees(pool.features[asked]) for trees in learned) / len(learned)
                lowest = np.minimum.reduceat(of_pool, first)
                scores[places, t] = np.where(np.isfinite(lowest), lowest, 0)[:, None]
                scores[places[owner[asked]], t, pool.item[asked]] = of_pool[asked]
        return scores


def _of_task(folds: Sequence[Boosters], task: int) -> list[Trees]:
    return [booster for boosters in folds if (booster := boosters[task]) is not None]


def _ranked(data: LearningData) -> list[Task]:
    return [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]


def _file(fold: int, task: Task) -> str:
    return f"reranker-{fold}-{task.name}.txt"


def _nothing(task: Task) -> str:
    """File that says that the task has nothing to learn from."""
    return f"reranker-none-{task.name}"


def _is_there(folder: Path, fold: int, task: Task) -> bool:
    return (folder / _file(fold, task)).exists() or (folder / _nothing(task)).exists()


def _read(path: Path) -> Trees | None:
    if not path.exists():
        return None
    import lightgbm  # heavy: loaded on use

    return Trees(lightgbm.Booster(model_str=path.read_text(encoding="utf-8")))
