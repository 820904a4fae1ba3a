"""A linear model and the boosted trees that learn what it leaves, and how both are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

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
from edgerec.examples.requests import ImpressionExamples
from edgerec.examples.scratch import pieces
from edgerec.files import write_whole
from edgerec.tasks import Task
from edgerec.tasks.history import Float, Int

if TYPE_CHECKING:
    import lightgbm

MAX_TREES = 600
LEAVES, RARE_LEAVES = 31, 7
LEARNING_RATE = 0.05
MIN_ROWS = 300
"""Of a leaf, or a hundredth of the rows where there are fewer than 30,000."""
FEATURE_FRACTION = 0.15
"""Of the columns, drawn for each tree: most of them are nearly the same."""
WARM_UP = 0.25
"""Part of the training rows, the earliest, that rates count but no tree learns from: too little came before them."""
PATIENCE = 50
"""Trees without a better validation loss before training stops."""
MAX_ROWS = 2_000_000
"""The latest rows are learned from, whole days of them: their columns are in memory."""
OBJECTIVES: dict[Regression, str] = {"huber": "huber", "median": "regression_l1", "ordinal": "huber"}
"""Of regression targets, by the network's loss; with thresholds, trees order no better than by the Huber loss."""
LINEAR = ".safetensors"


@dataclass(frozen=True)
class BoostedModel:
    """A model of one task, trained without the users of one fold."""

    linear: Linear
    booster: lightgbm.Booster

    def raw(self, matrix: Float) -> Float:
        """Log-odds (binary) or standardised log (regression) of the rows (R, F)."""
        threads = torch.get_num_threads()
        trees = np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=threads))
        total: Float = (trees + self.linear.raw(matrix)).astype(np.float32)
        return total

    def save(self, path: Path) -> None:
        """Write both parts, `path` last: if it is there, so is the other."""
        self.linear.save(path.with_suffix(LINEAR))
        write_whole(path, self.booster.model_to_string())

    @classmethod
    def load(cls, path: Path) -> BoostedModel:
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


class BoostedTraining:
    """Trains models on the training impressions; columns are made when the first model needs them."""

    def __init__(self, settings: EnsembleSettings, data: LearningData, encoder: Encoder) -> None:
        self.settings, self.data, self.encoder = settings, data, encoder
        self._fold: tuple[int, _Rows] | None = None

    def model(self, fold: int, task: Task, trees: int | None) -> BoostedModel:
        """Learn a task from the users outside `fold`.

        Args:
            trees: how many; None stops early on the evaluation impressions.
        """
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
            return BoostedModel(linear, lightgbm.train(parameters, dataset, trees))
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        evaluation = self._evaluation.of(task, linear)
        booster = lightgbm.train(parameters, dataset, MAX_TREES, [evaluation], callbacks=[stop])
        # At least one tree: LightGBM takes a best iteration of 0 for all of them.
        best = booster.model_to_string(num_iteration=max(booster.best_iteration, 1))
        return BoostedModel(linear, lightgbm.Booster(model_str=best))

    @property
    def _impressions(self) -> ImpressionExamples:
        impressions = self.data.train.impressions
        assert impressions is not None
        return impressions

    @cached_property
    def _latest(self) -> Int:
        """The rows that are learned from, at most `MAX_ROWS`."""
        since = latest_since(self.data.train_log, MAX_ROWS)
        time_ms = self._impressions.requests.time_ms
        parts = (start + np.flatnonzero(time_ms[start:end] >= since) for start, end in pieces(len(time_ms)))
        return np.concatenate(list(parts))

    @cached_property
    def _all(self) -> _Rows:
        matrix = self.encoder.train_rows(self._latest)
        labels = {name: np.asarray(values[self._latest]) for name, values in self._impressions.labels.items()}
        return _Rows.of_matrix(matrix, Standard.of(matrix), labels, None)

    @cached_property
    def _evaluation(self) -> _Rows:
        impressions = self.data.evaluation.impressions
        assert impressions is not None
        matrix = self.encoder.rows(impressions.requests, impressions.item, np.arange(len(impressions.item)))
        return _Rows.of_matrix(matrix, self._all.standard, impressions.labels, self._all.dataset)

    def _outside(self, fold: int) -> _Rows:
        """The rows of users outside `fold`, without the earliest."""
        if self._fold is None or self._fold[0] != fold:
            self._fold = None  # let it go before the next one is made
            requests = self._impressions.requests
            others = fold_of(requests.user[self._latest], self.settings.folds) != fold
            time_ms = requests.time_ms[self._latest]
            chosen = np.flatnonzero(others & (time_ms >= np.quantile(time_ms, WARM_UP, method="lower")))
            self._fold = (fold, self._all.take(chosen))
        return self._fold[1]


@dataclass(frozen=True)
class _Rows:
    """Impressions in the two forms that learning needs: LightGBM's bins, and standardised columns (R, F)."""

    dataset: lightgbm.Dataset
    standardised: Float
    standard: Standard
    labels: Mapping[str, Float]

    @classmethod
    def of_matrix(
        cls, matrix: Float, standard: Standard, labels: Mapping[str, Float], reference: lightgbm.Dataset | None
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
        """LightGBM's form, with the labels of a task and the scores of `start` that trees are added to."""
        self.dataset.set_label(self.labels[task.name])
        self.dataset.set_init_score(start.raw_of(self.standardised))
        return self.dataset


def _binning() -> dict[str, object]:
    return {
        "max_bin": 63,
        "num_threads": torch.get_num_threads(),
        "force_row_wise": True,
        "deterministic": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }


def _parameters(kind: Kind, labels: Float, seed: int) -> dict[str, object]:
    rare = kind == "binary" and float(labels.mean()) < RARE
    return {
        **_binning(),
        "objective": kind,
        "learning_rate": LEARNING_RATE,
        "num_leaves": RARE_LEAVES if rare else LEAVES,
        "min_data_in_leaf": min(MIN_ROWS, max(len(labels) // 100, 1)),
        "feature_fraction": FEATURE_FRACTION,
        "seed": seed,
    }
