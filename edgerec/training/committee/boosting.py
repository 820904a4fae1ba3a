"""Gradient-boosted trees on encodings from earlier days: a member of the committee for binary and regression tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgerec.config import Config
from edgerec.errors import DataError
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.checkpoint import read_json, write_json
from edgerec.training.committee.encodings import RARE, Encoder
from edgerec.training.examples import Requests
from edgerec.training.folds import fold_of
from edgerec.training.load import LearningData

if TYPE_CHECKING:
    import lightgbm

MOST_TREES = 600
LEAVES, RARE_LEAVES = 31, 7
LEARNING_RATE = 0.05
MIN_ROWS = 300
"""Of a leaf, or a hundredth of the rows where there are fewer than 30,000."""
FEATURE_SHARE = 0.15
"""Of the columns, drawn for each tree: most say nearly the same."""
PATIENCE = 50
"""Trees without a better validation loss before training stops."""
AT_ONCE = 200_000
"""Rows of other requests whose columns are made together: bounds memory, not results."""
FACTS = "boosting.json"


@dataclass(frozen=True)
class Boosting:
    """One booster for each fold of users and task; a fold's boosters did not see its users.

    Attributes:
        trees: of each task's boosters, by name.
        boosters: by fold, then by task.
    """

    data: LearningData
    encoder: Encoder
    trees: dict[str, int]
    boosters: list[dict[str, lightgbm.Booster]]

    @classmethod
    def fit(
        cls, config: Config, data: LearningData, folder: Path, progress: Progress, trees: dict[str, int] | None
    ) -> Boosting:
        """Train, or go on where an earlier call with the same `folder` was stopped.

        Args:
            trees: of each task; None chooses them by early stopping on the held rows, on the first fold's booster.
        """
        encoder = Encoder(data)
        tasks = _learned(data)
        folds = config.teacher.folds
        with progress.track(folds * len(tasks), "boosting") as done:
            training = _Training(config, data, encoder)
            chosen: dict[str, int] = {}
            for fold in range(folds):
                for task in tasks:
                    path = folder / _file(fold, data, task)
                    if not path.exists():
                        number = chosen.get(task.name) if trees is None else trees[task.name]
                        _save(training.booster(fold, task, number), path)
                    if fold == 0:
                        chosen[task.name] = _read(path).num_trees()
                    done.advance(note=task.name)
        write_json(folder / FACTS, {"columns": encoder.names, "folds": folds, "trees": chosen})
        return cls.load(config, data, folder, encoder)

    @classmethod
    def load(cls, config: Config, data: LearningData, folder: Path, encoder: Encoder | None = None) -> Boosting:
        """Read what `fit` left in `folder`; `encoder` saves making it again.

        Raises:
            DataError: a file is missing or damaged, or belongs to other data.
        """
        encoder = encoder or Encoder(data)
        facts = read_json(folder / FACTS)
        if facts.get("columns") != encoder.names or facts.get("folds") != config.teacher.folds:
            raise DataError(f"{folder / FACTS}: is of other columns or folds; run the stage that writes it again")
        boosters = [
            {task.name: _read(folder / _file(fold, data, task)) for task in _learned(data)}
            for fold in range(config.teacher.folds)
        ]
        return cls(data, encoder, {name: int(n) for name, n in facts["trees"].items()}, boosters)

    def fit_rows(self) -> Float:
        """Log-probabilities (binary) and standardised logs (regression) of ``data.fit.rows``, cross-fitted; (R, T).

        Columns as `scored_tasks`; those of retrieval tasks are 0.
        """
        rows = self.data.fit.rows
        assert rows is not None
        matrix = self.encoder.fit_rows()
        fold = fold_of(rows.requests.user, len(self.boosters))
        found = np.zeros((len(matrix), len(scored_tasks(self.data.tasks))), np.float32)
        for number, boosters in enumerate(self.boosters):
            found[fold == number] = self._predict([boosters], matrix[fold == number])
        return found

    def held_rows(self) -> Float:
        """The same of ``data.held.rows``, by the mean of all folds."""
        rows = self.data.held.rows
        assert rows is not None
        return self.rows(rows.requests, rows.item, np.arange(len(rows.item)))

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Float:
        """The same of the requests `chosen` and their candidates, with the rates at the end of the fit rows."""
        found = np.zeros((len(chosen), len(scored_tasks(self.data.tasks))), np.float32)
        for start in range(0, len(chosen), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            found[part] = self._predict(self.boosters, self.encoder.rows(requests, candidate, chosen[part]))
        return found

    def _predict(self, folds: list[dict[str, lightgbm.Booster]], matrix: Float) -> Float:
        tasks = scored_tasks(self.data.tasks)
        found = np.zeros((len(matrix), len(tasks)), np.float32)
        for i, task in enumerate(tasks):
            if task.name not in folds[0] or not len(matrix):
                continue
            raw = np.mean([_raw(boosters[task.name], matrix) for boosters in folds], axis=0)
            found[:, i] = -np.logaddexp(0, -raw) if task.kind == "binary" else raw
        return found


def _learned(data: LearningData) -> list[Task]:
    return [t for t in data.tasks if t.kind in ("binary", "regression")]


def _file(fold: int, data: LearningData, task: Task) -> str:
    return f"fold-{fold}-task-{data.tasks.index(task)}.txt"


class _Training:
    """The rows in LightGBM's own form, made when the first booster needs them."""

    def __init__(self, config: Config, data: LearningData, encoder: Encoder) -> None:
        self.config, self.data, self.encoder = config, data, encoder
        self.all: lightgbm.Dataset | None = None
        self.held: lightgbm.Dataset | None = None
        self.subset: tuple[int, lightgbm.Dataset, Int] | None = None

    def booster(self, fold: int, task: Task, trees: int | None) -> lightgbm.Booster:
        """Learn a task from the users outside `fold`; without a number of trees, stop early on the held rows."""
        import lightgbm  # heavy: loaded on use

        rows, held = self.data.fit.rows, self.data.held.rows
        assert rows is not None and held is not None
        dataset, at = self._outside(fold)
        labels = rows.labels[task.name][at]
        dataset.set_label(labels)
        parameters = _parameters(task, labels, self.config.seed + fold)
        if trees is not None:
            return lightgbm.train(parameters, dataset, trees)
        assert self.all is not None
        if self.held is None:
            columns = self.encoder.rows(held.requests, held.item, np.arange(len(held.item)))
            self.held = lightgbm.Dataset(columns, reference=self.all, free_raw_data=True).construct()
        self.held.set_label(held.labels[task.name])
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        found = lightgbm.train(parameters, dataset, MOST_TREES, [self.held], callbacks=[stop])
        return lightgbm.Booster(model_str=found.model_to_string(num_iteration=found.best_iteration))

    def _outside(self, fold: int) -> tuple[lightgbm.Dataset, Int]:
        import lightgbm

        rows = self.data.fit.rows
        assert rows is not None
        if self.all is None:
            self.all = lightgbm.Dataset(
                self.encoder.fit_rows(), rows.labels[_learned(self.data)[0].name], params=_binning(), free_raw_data=True
            ).construct()
        if self.subset is None or self.subset[0] != fold:
            at = np.flatnonzero(fold_of(rows.requests.user, self.config.teacher.folds) != fold)
            self.subset = (fold, self.all.subset(at.tolist()).construct(), at)
        return self.subset[1], self.subset[2]


def _binning() -> dict[str, Any]:
    return {
        "max_bin": 127,
        "num_threads": torch.get_num_threads(),
        "force_row_wise": True,
        "deterministic": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }


def _parameters(task: Task, labels: Float, seed: int) -> dict[str, Any]:
    rare = task.kind == "binary" and float(labels.mean()) < RARE
    return {
        **_binning(),
        "objective": "binary" if task.kind == "binary" else "regression",
        "learning_rate": LEARNING_RATE,
        "num_leaves": RARE_LEAVES if rare else LEAVES,
        "min_data_in_leaf": min(MIN_ROWS, max(len(labels) // 100, 1)),
        "feature_fraction": FEATURE_SHARE,
        "seed": seed,
    }


def _raw(booster: lightgbm.Booster, matrix: Float) -> Float:
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=torch.get_num_threads()))


def _save(booster: lightgbm.Booster, path: Path) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(booster.model_to_string(), encoding="utf-8")
    part.replace(path)


def _read(path: Path) -> lightgbm.Booster:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, lightgbm.basic.LightGBMError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be loaded ({first}); run the stage that writes it again") from None
