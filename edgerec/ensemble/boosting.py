"""Gradient-boosted trees on encodings from earlier days: a member of the ensemble for binary and regression tasks.

The trees start from a linear model of the same columns and learn what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgerec.config.stages import Regression
from edgerec.ensemble.encodings import RARE, Encoder
from edgerec.ensemble.linear import Kind, Linear, Standard
from edgerec.ensemble.views import EnsembleSettings
from edgerec.errors import DataError
from edgerec.examples.folds import fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.examples.requests import Requests
from edgerec.examples.scratch import pieces
from edgerec.files import read_json, write_json, write_whole
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

if TYPE_CHECKING:
    import lightgbm

MOST_TREES = 600
LEAVES, RARE_LEAVES = 31, 7
LEARNING_RATE = 0.05
MIN_ROWS = 300
"""Of a leaf, or a hundredth of the rows where there are fewer than 30,000."""
FEATURE_SHARE = 0.15
"""Of the columns, drawn for each tree: most say nearly the same."""
WARM_UP = 0.25
"""Share of the training rows, the earliest, that rates count but nothing is learned from: too little came before them."""
PATIENCE = 50
"""Trees without a better validation loss before training stops."""
MOST_ROWS = 2_000_000
"""The latest rows are learned from, whole days of them: their columns are in memory."""
AT_ONCE = 200_000
"""Rows of other requests whose columns are made together: bounds memory, not results."""
OBJECTIVES: dict[Regression, str] = {"huber": "huber", "median": "regression_l1", "ordinal": "huber"}
"""Of amounts, by the network's loss; trees order no better by thresholds than by the Huber loss."""
FACTS, LINEAR = "boosting.json", ".safetensors"


@dataclass(frozen=True)
class Learned:
    """A fold's model of one task: what the trees add to the linear model."""

    linear: Linear
    booster: lightgbm.Booster

    def raw(self, matrix: Float) -> Float:
        """Log-odds (binary) or standardised log (regression) of the rows (R, F)."""
        threads = torch.get_num_threads()
        trees = np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=threads))
        found: Float = (trees + self.linear.raw(matrix)).astype(np.float32)
        return found

    def save(self, path: Path) -> None:
        """Write both parts, `path` last: where it is, all is."""
        self.linear.save(path.with_suffix(LINEAR))
        write_whole(path, self.booster.model_to_string())

    @classmethod
    def load(cls, path: Path) -> Learned:
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        import lightgbm  # heavy: loaded on use

        linear = Linear.load(path.with_suffix(LINEAR))
        try:
            return cls(linear, lightgbm.Booster(model_str=path.read_text(encoding="utf-8")))
        except (OSError, UnicodeError, lightgbm.basic.LightGBMError) as error:
            first = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be loaded ({first}); run the stage that writes it again") from None


@dataclass(frozen=True)
class Boosting:
    """One model for each fold of users and task; a fold's models did not see its users.

    Attributes:
        trees: of each task's models, by name.
        models: by fold, then by task.
    """

    data: LearningData
    encoder: Encoder
    trees: dict[str, int]
    models: list[dict[str, Learned]]

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        folder: Path,
        progress: Progress,
        trees: dict[str, int] | None,
    ) -> Boosting:
        """Train, or go on where an earlier call with the same `folder` was stopped.

        Args:
            trees: of each task; None chooses them by early stopping on the evaluation impressions, on the first fold's model.
        """
        encoder = Encoder(data)
        tasks = _learned(data)
        folds = settings.folds
        with progress.track(folds * len(tasks), "boosting") as done:
            training = _Training(settings, data, encoder)
            chosen: dict[str, int] = {}
            for fold in range(folds):
                for task in tasks:
                    path = folder / _file(fold, data, task)
                    if not path.exists():
                        number = chosen.get(task.name) if trees is None else trees[task.name]
                        training.model(fold, task, number).save(path)
                    if fold == 0:
                        chosen[task.name] = Learned.load(path).booster.num_trees()
                    done.advance(note=task.name)
        write_json(folder / FACTS, {"columns": encoder.names, "folds": folds, "trees": chosen})
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
        if facts.get("columns") != encoder.names or facts.get("folds") != settings.folds:
            raise DataError(f"{folder / FACTS}: is of other columns or folds; run the stage that writes it again")
        models = [
            {task.name: Learned.load(folder / _file(fold, data, task)) for task in _learned(data)}
            for fold in range(settings.folds)
        ]
        return cls(data, encoder, {name: int(n) for name, n in facts["trees"].items()}, models)

    def fit_rows(self, chosen: Int) -> Float:
        """Log-probabilities (binary) and standardised logs (regression) of ``data.fit.rows``, cross-fitted.

        `chosen`: places among these rows. Gives (len(chosen), T).

        Columns as `scored_tasks`; those of retrieval tasks are 0.
        """
        rows = self.data.train.impressions
        assert rows is not None
        matrix = self.encoder.fit_rows(chosen)
        fold = fold_of(rows.requests.user[chosen], len(self.models))
        found = np.zeros((len(matrix), len(scored_tasks(self.data.tasks))), np.float32)
        for number, models in enumerate(self.models):
            found[fold == number] = self._predict([models], matrix[fold == number])
        return found

    def held_rows(self) -> Float:
        """The same of ``data.held.rows``, by the mean of all folds."""
        rows = self.data.evaluation.impressions
        assert rows is not None
        return self.rows(rows.requests, rows.item, np.arange(len(rows.item)))

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Float:
        """The same of the requests `chosen` and their candidates, with the rates at the end of the training rows."""
        found = np.zeros((len(chosen), len(scored_tasks(self.data.tasks))), np.float32)
        for start in range(0, len(chosen), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            found[part] = self._predict(self.models, self.encoder.rows(requests, candidate, chosen[part]))
        return found

    def _predict(self, folds: list[dict[str, Learned]], matrix: Float) -> Float:
        tasks = scored_tasks(self.data.tasks)
        found = np.zeros((len(matrix), len(tasks)), np.float32)
        for i, task in enumerate(tasks):
            if task.name not in folds[0] or not len(matrix):
                continue
            raw = np.mean([models[task.name].raw(matrix) for models in folds], axis=0)
            found[:, i] = -np.logaddexp(0, -raw) if task.kind == "binary" else raw
        return found


def _learned(data: LearningData) -> list[Task]:
    return [t for t in data.tasks if t.kind in ("binary", "regression")]


def _file(fold: int, data: LearningData, task: Task) -> str:
    return f"boosting-{fold}-{data.tasks.index(task)}.txt"


class _Training:
    """The rows that folds are cut from, made when the first model needs them."""

    def __init__(self, settings: EnsembleSettings, data: LearningData, encoder: Encoder) -> None:
        self.settings, self.data, self.encoder = settings, data, encoder
        self.everything: _Rows | None = None
        self.fold: tuple[int, _Rows] | None = None
        self.evaluation: _Rows | None = None

    def model(self, fold: int, task: Task, trees: int | None) -> Learned:
        """Learn a task from the users outside `fold`; without a number of trees, stop early on the evaluation impressions."""
        import lightgbm

        rows = self._outside(fold)
        labels = rows.labels[task.name]
        kind: Kind = "binary" if task.kind == "binary" else "regression"
        linear = Linear.fit(rows.standardised, rows.standard, labels, kind)
        parameters = _parameters(kind, labels, self.settings.seed + fold)
        if kind == "regression":
            parameters["objective"] = OBJECTIVES[self.settings.regression]
        dataset = rows.of(task, linear)
        if trees is not None:
            return Learned(linear, lightgbm.train(parameters, dataset, trees))
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        held = self._held().of(task, linear)
        found = lightgbm.train(parameters, dataset, MOST_TREES, [held], callbacks=[stop])
        # At least one tree: LightGBM takes a best iteration of 0 for all of them.
        best = found.model_to_string(num_iteration=max(found.best_iteration, 1))
        return Learned(linear, lightgbm.Booster(model_str=best))

    def _all(self) -> _Rows:
        rows = self.data.train.impressions
        assert rows is not None
        if self.everything is None:
            matrix = self.encoder.fit_rows(self.latest)
            labels = {name: np.asarray(values[self.latest]) for name, values in rows.labels.items()}
            self.everything = _Rows.of_matrix(matrix, Standard.of(matrix), labels, None)
        return self.everything

    @cached_property
    def latest(self) -> Int:
        """The rows that are learned from, at most `MOST_ROWS`."""
        rows = self.data.train.impressions
        assert rows is not None
        since = latest_since(self.data.train_log, MOST_ROWS)
        time_ms = rows.requests.time_ms
        parts = (start + np.flatnonzero(time_ms[start:end] >= since) for start, end in pieces(len(time_ms)))
        return np.concatenate(list(parts))

    def _outside(self, fold: int) -> _Rows:
        rows = self.data.train.impressions
        assert rows is not None
        if self.fold is None or self.fold[0] != fold:
            self.fold = None  # let it go before the next one is made
            others = fold_of(rows.requests.user[self.latest], self.settings.folds) != fold
            time_ms = rows.requests.time_ms[self.latest]
            chosen = np.flatnonzero(others & (time_ms >= np.quantile(time_ms, WARM_UP, method="lower")))
            self.fold = (fold, self._all().take(chosen))
        return self.fold[1]

    def _held(self) -> _Rows:
        rows = self.data.evaluation.impressions
        assert rows is not None
        if self.evaluation is None:
            matrix = self.encoder.rows(rows.requests, rows.item, np.arange(len(rows.item)))
            self.evaluation = _Rows.of_matrix(matrix, self._all().standard, rows.labels, self._all().dataset)
        return self.evaluation


@dataclass(frozen=True)
class _Rows:
    """Impressions in the two forms that learning needs: LightGBM's bins, and standardised columns (R, F)."""

    dataset: lightgbm.Dataset
    standardised: Float
    standard: Standard
    labels: dict[str, Float]

    @classmethod
    def of_matrix(
        cls, matrix: Float, standard: Standard, labels: dict[str, Float], reference: lightgbm.Dataset | None
    ) -> _Rows:
        """Columns with bins of their own, or those of `reference`."""
        import lightgbm

        first = next(iter(labels.values()))
        binned = lightgbm.Dataset(matrix, first, reference=reference, params=_binning()).construct()
        return cls(binned, standard.apply(matrix), standard, labels)

    def take(self, chosen: Int) -> _Rows:
        """The rows `chosen`."""
        labels = {name: values[chosen] for name, values in self.labels.items()}
        subset = self.dataset.subset(chosen.tolist()).construct()
        return _Rows(subset, self.standardised[chosen], self.standard, labels)

    def of(self, task: Task, start: Linear) -> lightgbm.Dataset:
        """LightGBM's form, told to learn what `start` leaves of a task."""
        self.dataset.set_label(self.labels[task.name])
        self.dataset.set_init_score(start.raw_of(self.standardised))
        return self.dataset


def _binning() -> dict[str, Any]:
    return {
        "max_bin": 63,
        "num_threads": torch.get_num_threads(),
        "force_row_wise": True,
        "deterministic": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }


def _parameters(kind: Kind, labels: Float, seed: int) -> dict[str, Any]:
    rare = kind == "binary" and float(labels.mean()) < RARE
    return {
        **_binning(),
        "objective": kind,
        "learning_rate": LEARNING_RATE,
        "num_leaves": RARE_LEAVES if rare else LEAVES,
        "min_data_in_leaf": min(MIN_ROWS, max(len(labels) // 100, 1)),
        "feature_fraction": FEATURE_SHARE,
        "seed": seed,
    }
