"""Gradient-boosted trees on encodings from earlier days: a member of the ensemble for binary and regression tasks.

The trees start from a linear model of the same columns and learn what it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.ensemble.boosted_model import BoostedModel, BoostedTraining
from edgerec.ensemble.encodings import Encoder
from edgerec.ensemble.views import EnsembleSettings
from edgerec.errors import DataError
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.files import read_json, write_json
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

AT_ONCE = 200_000
"""Rows of other requests whose columns are made together: bounds memory, not results."""
FACTS = "boosting.json"


@dataclass(frozen=True)
class Boosting:
    """One model for each fold of users and task; a fold's models did not see its users.

    Attributes:
        trees: number of each task's trees, by name.
        models: by fold, then by task. complete: whether every fold has its models.
    """

    data: LearningData
    encoder: Encoder
    trees: dict[str, int]
    models: Sequence[dict[str, BoostedModel]]
    complete: bool

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        folder: Path,
        folds: Sequence[int],
        progress: Progress,
        trees: dict[str, int] | None,
    ) -> Boosting:
        """Train, or go on where an earlier call with the same `folder` was stopped.

        Args:
            folds: of users, for which models are trained; `train_rows` needs them all.
            trees: of each task; None chooses them by early stopping on the evaluation impressions, with the first
                fold's model.
        """
        encoder = Encoder(data)
        tasks = _boosted(data)
        with progress.track(len(folds) * len(tasks), "boosting") as done:
            training = BoostedTraining(settings, data, encoder)
            chosen: dict[str, int] = {}
            for fold in folds:
                for task in tasks:
                    path = folder / _file(fold, data, task)
                    if not path.exists():
                        number = chosen.get(task.name) if trees is None else trees[task.name]
                        training.model(fold, task, number).save(path)
                    if fold == folds[0]:
                        chosen[task.name] = BoostedModel.load(path).booster.num_trees()
                    done.advance(note=task.name)
        write_json(folder / FACTS, {"columns": encoder.names, "folds": list(folds), "trees": chosen})
        return cls.load(settings, data, folder, encoder)

    @classmethod
    def load(
        cls, settings: EnsembleSettings, data: LearningData, folder: Path, encoder: Encoder | None = None
    ) -> Boosting:
        """Read what `fit` left in `folder`; `encoder` saves making it again.

        Raises:
            DataError: a file is missing or damaged, or belongs to other data.
        """
        encoder = encoder or Encoder(data)
        facts = read_json(folder / FACTS)
        folds = facts["folds"] if isinstance(facts.get("folds"), list) else []
        known = folds and set(folds) <= set(range(settings.folds))
        if facts.get("columns") != encoder.names or not known:
            raise DataError(f"{folder / FACTS}: is of other columns or folds; run the stage that writes it again")
        models = [
            {task.name: BoostedModel.load(folder / _file(fold, data, task)) for task in _boosted(data)}
            for fold in folds
        ]
        trees = {name: int(n) for name, n in facts["trees"].items()}
        return cls(data, encoder, trees, models, len(folds) == settings.folds)

    def train_rows(self, chosen: Int) -> Float:
        """Cross-fitted log-probabilities (binary) and standardised logs (regression) of the training impressions.

        Args:
            chosen: places among these impressions.
        Returns:
            (len(chosen), T), columns as `scored_tasks`; those of retrieval tasks are 0.
        """
        impressions = self.data.train.impressions
        assert impressions is not None and self.complete
        matrix = self.encoder.train_rows(chosen)
        fold = fold_of(impressions.requests.user[chosen], len(self.models))
        scores = np.zeros((len(matrix), len(scored_tasks(self.data.tasks))), np.float32)
        for number, models in enumerate(self.models):
            scores[fold == number] = self._predict([models], matrix[fold == number])
        return scores

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Float:
        """The same of other requests and their candidates by the mean of all folds, with the rates at the log's end."""
        scores = np.zeros((len(chosen), len(scored_tasks(self.data.tasks))), np.float32)
        for start in range(0, len(chosen), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            scores[part] = self._predict(self.models, self.encoder.rows(requests, candidate, chosen[part]))
        return scores

    def _predict(self, folds: Sequence[dict[str, BoostedModel]], matrix: Float) -> Float:
        tasks = scored_tasks(self.data.tasks)
        scores = np.zeros((len(matrix), len(tasks)), np.float32)
        for i, task in enumerate(tasks):
            if task.name not in folds[0] or not len(matrix):
                continue
            raw = np.mean([models[task.name].raw(matrix) for models in folds], axis=0)
            scores[:, i] = -np.logaddexp(0, -raw) if task.kind == "binary" else raw
        return scores


def _boosted(data: LearningData) -> list[Task]:
    return [t for t in data.tasks if t.kind in ("binary", "regression")]


def _file(fold: int, data: LearningData, task: Task) -> str:
    return f"boosting-{fold}-{data.tasks.index(task)}.txt"
