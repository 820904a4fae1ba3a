"""Baselines of clicks, likes and watch time: linear, boosted and neural models on out-of-fold rates.

A rate of a training row comes from earlier days only, or, where the split leaves each user's last rows out, from the
other folds of the rows; a rate of a row of the evaluation split comes from all that may be learned from.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import lightgbm
import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.evaluation.baselines.interactions import Floats, Int
from edgerec.examples.load import LearningData
from edgerec.examples.log import Log
from edgerec.tasks import Task
from edgerec.tasks.units import MS_PER_DAY

FOLDS = 5
SMOOTHING, RARE_SMOOTHING = 20.0, 50.0
RARE = 0.05
"""Share of ones below which a task is rare."""
FIRST_DAYS = 2
"""Days at the start of the log that only feed the rates of later ones."""
NUMBER_GROUPS = 10
Array: TypeAlias = npt.NDArray[np.floating[Any]]
Known: TypeAlias = npt.NDArray[np.bool_]
"""Which rows are of the training split, whose labels are known."""


@dataclass(frozen=True)
class Table:
    """Rows with features, to learn from and to evaluate.

    Attributes:
        rates: float32 (E, R), logits of smoothed rates; numbers: float32 (E, M), all else that is a number, NaN where
            missing; codes: int64 (E, C), categories, of which column c has `sizes[c]`.
        labels: by task, 0 or 1, or log(1 + target).
        train, evaluation: rows of the two splits.
    """

    rates: Floats
    numbers: Floats
    codes: Int
    sizes: tuple[int, ...]
    labels: Mapping[str, Floats]
    train: Int
    evaluation: Int

    def flat(self, rows: Int) -> Floats:
        """All features side by side."""
        return np.concatenate([self.rates[rows], self.numbers[rows], self.codes[rows].astype(np.float32)], axis=1)


def make_table(data: LearningData, by_days: bool, seed: int = 0) -> Table:
    """Features of all rows of `data` whose items are known; `by_days`: rates come from earlier days."""
    tasks = pointwise_tasks(data)
    logs = (data.train_log, data.evaluation_log)
    known_items = [np.flatnonzero(log.item < data.n_items) for log in logs]
    n_train, n = len(known_items[0]), sum(map(len, known_items))

    def column(read: Callable[[Log], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([read(log)[rows] for log, rows in zip(logs, known_items, strict=True)])

    item, user = column(lambda log: log.item), column(lambda log: log.user)
    inputs, given = column(lambda log: log.categorical), column(lambda log: log.numeric)
    attributes, described = data.features.categorical.numpy()[item], data.features.numeric.numpy()[item]
    context = inputs[:, [i for i, c in enumerate(data.encoder.categorical) if c.source == "context"]]
    known = np.arange(n) < n_train
    if by_days:
        fold = _days(column(lambda log: log.time_ms), known)
    else:
        fold = np.random.default_rng(seed).integers(0, FOLDS, n)
        fold[~known] = FOLDS
    labels = {t.name: _label(t, column(lambda log, t=t: log.labels[t.name])) for t in tasks}  # type: ignore[misc]
    rates, counts = _rates(_keys(user, item, attributes, described, context), fold, known, labels, by_days)
    # Rates stand for the user, better than an id.
    codes = np.concatenate([inputs, attributes, item[:, None] + 1], axis=1)
    return Table(
        rates=rates,
        numbers=np.concatenate([counts, given, described], axis=1).astype(np.float32),
        codes=codes,
        sizes=tuple(int(c.max(initial=0)) + 1 for c in codes.T),
        labels=labels,
        train=np.flatnonzero(known & (fold >= FIRST_DAYS)) if by_days else np.flatnonzero(known),
        evaluation=np.flatnonzero(~known),
    )


def _keys(user: Int, item: Int, attributes: Int, described: Floats, context: Int) -> list[Int]:
    """What rates are computed by: user, item, attributes and context, and pairs of them."""
    kinds = [*attributes.T, *(_tenths(numbers) for numbers in described.T)]
    keys = [user, item, *kinds, *context.T]
    keys += [_pair(user, other) for other in (*kinds, *context.T)]
    return keys + [_pair(a, b) for a, b in itertools.product(kinds, context.T)]


def _days(time_ms: Int, known: Known) -> Int:
    """The day of each row of the training split; all others come after them."""
    day = (time_ms - time_ms.max()) // MS_PER_DAY
    return np.where(known, np.minimum(day - day.min(), 10_000), 10_001)


def _rates(
    keys: Sequence[Int], fold: Int, known: Known, labels: Mapping[str, Floats], by_days: bool
) -> tuple[Floats, Floats]:
    """Rates of every task by every key, (E, R), and logs of the numbers of rows by key, (E, keys)."""
    encode = _earlier_rates if by_days else _other_rates
    rates, counts = [], []
    for key in keys:
        *by_task, count = encode(np.unique(key, return_inverse=True)[1], fold, known, labels)
        rates += by_task
        counts.append(count)
    return np.stack(rates, axis=1).astype(np.float32), np.stack(counts, axis=1).astype(np.float32)


def pointwise_tasks(data: LearningData) -> list[Task]:
    """Tasks with a label of their own for each row."""
    return [t for t in data.tasks if t.kind in ("binary", "regression")]


def _label(task: Task, values: npt.NDArray[Any]) -> Floats:
    return (np.log1p(np.maximum(values, 0)) if task.kind == "regression" else values).astype(np.float32)


def _tenths(values: Floats) -> Int:
    edges = np.quantile(values, np.arange(1, NUMBER_GROUPS) / NUMBER_GROUPS)
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _pair(a: Int, b: Int) -> Int:
    return a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b


def _earlier_rates(code: Int, fold: Int, known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    """Of each row: the smoothed rate of each task among rows of the same code and an earlier fold, and their number."""
    pair, place = np.unique(code * (int(fold.max()) + 1) + fold, return_inverse=True)
    owner = pair // (int(fold.max()) + 1)
    first = np.searchsorted(owner, owner)

    def before(values: Array) -> Array:
        total = np.concatenate(([0.0], np.cumsum(np.bincount(place, values, len(pair)))))
        earlier: Array = (total[:-1] - total[first])[place]
        return earlier

    return _smoothed(before, known, labels)


def _other_rates(code: Int, fold: Int, known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    """As `_earlier_rates`, among the rows of the same code and another fold."""
    pair = code * (FOLDS + 1) + fold

    def others(values: Array) -> Array:
        rest: Array = np.bincount(code, values)[code] - np.bincount(pair, values)[pair]
        return rest

    return _smoothed(others, known, labels)


def _smoothed(total: Callable[[Array], Array], known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    number = total(known.astype(np.float64))
    rates = []
    for values in labels.values():
        mean, binary = float(values[known].mean()), set(np.unique(values)) <= {0.0, 1.0}
        smoothing = RARE_SMOOTHING if binary and mean < RARE else SMOOTHING
        rate = (total(np.where(known, values, 0.0)) + smoothing * mean) / (number + smoothing)
        rates.append(np.log(rate / (1 - rate)) if binary else rate)
    return [*rates, np.log1p(number)]


# ------------------------------------------------------------------------------------------------ one task at a time


def logistic(table: Table, task: Task) -> Callable[[float], Array]:
    """Linear model on standardised rates and numbers, and categories of few values; by strength of its ridge."""
    x = np.nan_to_num(np.concatenate([table.rates, table.numbers], axis=1))
    mean, std = x[table.train].mean(axis=0), x[table.train].std(axis=0)
    few = [np.eye(size, dtype=np.float32)[c] for c, size in zip(table.codes.T, table.sizes, strict=True) if size <= 32]
    x = np.concatenate([(x - mean) / np.maximum(std, 1e-6), *few], axis=1).astype(np.float32)
    y = table.labels[task.name][table.train]

    def fitted(strength: float) -> Array:
        if task.kind == "regression":
            prediction: Array = Ridge(alpha=strength).fit(x[table.train], y).predict(x[table.evaluation])
            return prediction
        model = LogisticRegression(C=1 / strength, max_iter=60, tol=1e-3).fit(x[table.train], y)
        probability: Array = model.predict_proba(x[table.evaluation])[:, 1]
        return probability

    return fitted


STRENGTHS = (30.0, 1000.0)
ROUNDS = 400


def boosted(table: Table, task: Task, median: bool = False, seed: int = 0) -> Callable[[int], Array]:
    """LightGBM; the answer by number of rounds. `median`: of regression targets, instead of the mean of their logs."""
    y = table.labels[task.name][table.train]
    rare = task.kind == "binary" and y.mean() < RARE
    if median:
        y = np.expm1(y)
    settings = {
        "objective": "binary" if task.kind == "binary" else "l1" if median else "l2",
        "learning_rate": 0.05,
        "num_leaves": 7 if rare else 31,
        "min_data_in_leaf": min(300, max(len(y) // 200, 20)),
        "feature_fraction": 0.2,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    model = lightgbm.train(settings, lightgbm.Dataset(table.flat(table.train), y), ROUNDS)
    rows = table.flat(table.evaluation)

    def answer(rounds: int) -> Array:
        prediction = np.asarray(model.predict(rows, num_iteration=rounds))
        return np.log1p(np.maximum(prediction, 0)) if median else prediction

    return answer


# ------------------------------------------------------------------------------------------------ all tasks at once


class Shared(nn.Module):
    """Embeddings and rates, shared experts (one: shared-bottom; several: MMoE, Ma et al., KDD 2018), then towers."""

    def __init__(self, sizes: Sequence[int], numbers: int, tasks: int, experts: int, dim: int = 8, hidden: int = 64):
        super().__init__()
        vectors = [nn.Embedding(size + 1, dim) for size in sizes]
        for vector in vectors:
            nn.init.normal_(vector.weight, std=0.01)
        self.vectors = nn.ModuleList(vectors)
        width = dim * len(sizes) + numbers
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, hidden))
            for _ in range(experts)
        )
        self.gates = nn.ModuleList(nn.Linear(width, experts) for _ in range(tasks))
        self.towers = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1)) for _ in range(tasks)
        )

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        x = torch.cat([*(v(codes[:, c]) for c, v in enumerate(self.vectors)), numbers], dim=1)
        experts = torch.stack([expert(x) for expert in self.experts], dim=1)
        mixed = [(gate(x).softmax(dim=1).unsqueeze(2) * experts).sum(1) for gate in self.gates]
        return torch.cat([tower(m) for tower, m in zip(self.towers, mixed, strict=True)], dim=1)


EPOCHS = 5


def networks(
    table: Table, tasks: Sequence[Task], experts: int, seed: int = 0, batch: int = 1024
) -> list[dict[str, Array]]:
    """One network for all tasks, after each epoch: probabilities, and logs of regression targets, to evaluate."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    numbers, codes = torch.from_numpy(_standardised(table)), torch.from_numpy(table.codes)
    y = np.stack([table.labels[t.name] for t in tasks], axis=1)
    binary = torch.tensor([t.kind == "binary" for t in tasks])
    mean, std = (torch.from_numpy(f(y[table.train], axis=0)) for f in (np.mean, np.std))
    labels = torch.where(binary, torch.from_numpy(y), (torch.from_numpy(y) - mean) / std)
    model = Shared(table.sizes, numbers.shape[1], len(tasks), experts)
    optimizer = _optimizer(model)
    epochs = []
    for _ in range(EPOCHS):
        model.train()
        for rows in np.array_split(rng.permutation(table.train), max(len(table.train) // batch, 1)):
            logits, wanted = model(codes[rows], numbers[rows]), labels[rows]
            losses = torch.where(
                binary,
                F.binary_cross_entropy_with_logits(logits, wanted.clamp(0, 1), reduction="none"),
                (logits - wanted).square() / 2,
            )
            optimizer.zero_grad()
            losses.mean(0).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            parts = np.array_split(table.evaluation, 1 + len(table.evaluation) // 4096)
            logits = torch.cat([model(codes[rows], numbers[rows]) for rows in parts])
            scores = torch.where(binary, logits.sigmoid(), logits * std + mean)
        epochs.append({t.name: scores[:, i].double().numpy() for i, t in enumerate(tasks)})
    return epochs


def _standardised(table: Table) -> Floats:
    """Rates and numbers by the mean and deviation of the training split, within five deviations."""
    x = np.nan_to_num(np.concatenate([table.rates, table.numbers], axis=1))
    x = (x - x[table.train].mean(axis=0)) / np.maximum(x[table.train].std(axis=0), 1e-6)
    standardised: Floats = np.clip(x, -5, 5).astype(np.float32)
    return standardised


def _optimizer(model: Shared) -> torch.optim.Optimizer:
    """AdamW, with weight decay on the embeddings alone."""
    tables = [p for name, p in model.named_parameters() if name.startswith("vectors")]
    rest = [p for name, p in model.named_parameters() if not name.startswith("vectors")]
    groups: list[dict[str, Any]] = [{"params": tables, "weight_decay": 0.5}, {"params": rest}]
    return torch.optim.AdamW(groups, 1e-3)
