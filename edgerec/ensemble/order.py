"""The member that reads events in their order: a transformer, trained where order tells more than the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from edgerec.ensemble.judged import Judge, Scores
from edgerec.ensemble.views import EnsembleSettings
from edgerec.examples.folds import fold_of
from edgerec.examples.graph import consumed_rows
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.examples.windows import Windows, latest_of
from edgerec.files import read_json, write_json
from edgerec.models.sequence import NextItem
from edgerec.progress import Progress
from edgerec.tasks.history import Float, Int
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.next_item import NextItemTraining, fit_next_item, start_items

HEADS, LAYERS = 2, 2
MOST_FOR_EPOCHS = 4_000
"""Evaluation requests that epochs are chosen on."""
MOST_FOR_ORDER = 500
"""Evaluation requests that tell whether order matters."""
ORDERED = "transitions"
PART = 0.9
"""Transitions, which know order alone, must be so good beside the best of what knows no order: then a transformer,
which learns more of it than they hold, has a weight in the blend."""
ALL = -1
"""In place of a fold: the model of all users."""
AT_ONCE = 256
FACTS = "sequence.json"


class Order:
    """A transformer for each fold of users, which did not learn from them; on valid a single one of all users."""

    def __init__(self, data: LearningData, models: dict[int, NextItem], epochs: int, longest: int) -> None:
        self.data, self.models, self.epochs, self.longest = data, models, epochs, longest

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        folder: Path,
        folds: Sequence[int],
        epochs: int | None,
        progress: Progress,
    ) -> Order:
        """Train, or go on where an earlier call with the same `folder` was stopped.

        Args:
            folds: of users, see `Members.fit`.
            epochs: None chooses them on the evaluation requests, with a model of all users in place of the folds'.
        """
        facts, e = folder / FACTS, settings.ensemble
        if epochs is None:
            folds = [ALL]
        missing = [fold for fold in folds if not (folder / _file(fold)).exists()]
        judge = Judge(data, MOST_FOR_EPOCHS, settings.seed) if missing and epochs is None else None
        n_users = len(data.train_log.offsets) - 1
        with progress.track(len(missing) * (epochs or e.sequence_epochs), "sequence") as done:
            for fold in missing:
                model = _new(settings, data)
                users = (fold_of(np.arange(n_users), settings.folds) != fold) | (fold == ALL)
                windows = Windows.of(data.train_log, consumed_rows(data.train_log, data.tasks), e.sequence, users)
                start_items(model, windows, settings.seed)
                training = NextItemTraining(epochs or e.sequence_epochs, e.sequence_events)
                score = None if judge is None else (lambda m, judge=judge: _quality(m, judge, data, e.sequence))
                taken = fit_next_item(model, windows, training, settings.seed + fold + 1, done, score)
                write_json(facts, {"epochs": taken})
                save_weights(model, folder / _file(fold))
        return cls.load(settings, data, folder)

    @classmethod
    def load(cls, settings: EnsembleSettings, data: LearningData, folder: Path) -> Order:
        """What `fit` left in `folder`."""
        there = [fold for fold in range(settings.folds) if (folder / _file(fold)).exists()]
        models = {fold: _new(settings, data) for fold in there or [ALL]}
        for fold, model in models.items():
            load_weights(model, folder / _file(fold))
            model.eval()
        return cls(data, models, int(read_json(folder / FACTS)["epochs"]), settings.ensemble.sequence)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Did `fit` leave something there?"""
        return (folder / FACTS).exists()

    def scores(self, requests: Requests, chosen: Int, fold: int | None = None) -> Float:
        """Log-probabilities of every item to come next, (B, N); all alike for nobody's past.

        Args:
            fold: score with the model of this fold; None: the mean of all.
        """
        models = list(self.models.values()) if fold is None else [self.models[fold]]
        return log_probs(models, self.data, requests, chosen, self.longest)


def order_matters(data: LearningData, seed: int, folder: Path, scores: Scores) -> bool:
    """Do transitions, on some evaluation requests, come near to the best of the other `scores`? Kept in `folder`."""
    path = folder / "order.json"
    if not path.exists():
        judged = Judge(data, MOST_FOR_ORDER, seed).ndcg(scores)
        write_json(path, {"matters": any(_is_near(of_task) for of_task in judged.values()), "judged": judged})
    return bool(read_json(path)["matters"])


def _is_near(quality: Mapping[str, float]) -> bool:
    others = max((value for name, value in quality.items() if name != ORDERED), default=0.0)
    return 0 < quality.get(ORDERED, 0.0) >= PART * others


def log_probs(models: Sequence[NextItem], data: LearningData, requests: Requests, chosen: Int, longest: int) -> Float:
    """Mean log-probabilities of `models`, (B, N)."""
    total = np.zeros((len(chosen), data.n_items), np.float32)
    order = np.argsort(requests.lengths(chosen), kind="stable")
    with torch.inference_mode():
        tables = [model.table() for model in models]
        for places in np.array_split(order, -(-len(order) // AT_ONCE)):
            latest = latest_of(requests, chosen[places], longest)
            some = latest.present.any(dim=1, keepdim=True)
            for model, table in zip(models, tables, strict=True):
                logits = (model(latest, table)[:, -1] * some) @ table.T
                total[places] += torch.log_softmax(logits, dim=1).numpy() / len(models)
    return total


def _quality(model: NextItem, judge: Judge, data: LearningData, longest: int) -> float:
    """Mean NDCG@10 of the ranking tasks."""
    judged = judge.ndcg(lambda requests, part: {"": log_probs([model], data, requests, part, longest)})
    return float(np.mean([of_task.get("", 0.0) for of_task in judged.values()]))


def _new(settings: EnsembleSettings, data: LearningData) -> NextItem:
    torch.manual_seed(settings.seed)
    e = settings.ensemble
    known, kinds = data.train.n_seen, data.shape.kinds
    return NextItem(kinds, data.features.text, known, e.sequence_dim, HEADS, LAYERS, e.sequence, e.sequence_dropout)


def _file(fold: int) -> str:
    return f"sequence-{'all' if fold == ALL else fold}.safetensors"
