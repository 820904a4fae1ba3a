"""Baselines of clicks, likes and watch time: linear, boosted and neural models on out-of-fold rates.

A rate of a training row comes from earlier days only, or, where the split leaves each user's last rows out, from the
other folds of the rows; a rate of a judged row comes from all that may be learned from.
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

from edgerec.tasks import Task
from edgerec.training.load import LearningData
from edgerec.training.log import Log
from tools.benchmarks.baselines.interactions import DAY_MS, Floats, Int

FOLDS = 5
SMOOTHING, RARE_SMOOTHING = 20.0, 50.0
RARE = 0.05
"""Share of ones below which a task is rare."""
FIRST_DAYS = 2
"""Days at the start of the log that only feed the rates of later ones."""
NUMBER_GROUPS = 10
Array: TypeAlias = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Table:
    """Rows with features, to learn from and to be judged.

    Attributes:
        rates: float32 (E, R), logits of smoothed rates; numbers: float32 (E, M), all else that is a number, NaN where
            missing; codes: int64 (E, C), categories, of which column c has `sizes[c]`.
        labels: by task, 0 or 1, or log(1 + amount); only of fit rows.
    """

    rates: Floats
    numbers: Floats
    codes: Int
    sizes: tuple[int, ...]
    labels: Mapping[str, Floats]
    fit: Int
    held: Int

    def flat(self, rows: Int) -> Floats:
        """All features side by side."""
        return np.concatenate([self.rates[rows], self.numbers[rows], self.codes[rows].astype(np.float32)], axis=1)


def make_table(data: LearningData, by_days: bool, seed: int = 0) -> Table:
    """Features of all rows of `data` whose items are known; `by_days`: rates come from earlier days."""
    tasks = pointwise_tasks(data)
    logs = (data.fit_log, data.held_log)
    kept = [np.flatnonzero(log.item < data.n_items) for log in logs]
    n_fit, n_held = (len(rows) for rows in kept)

    def column(read: Callable[[Log], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([read(log)[rows] for log, rows in zip(logs, kept, strict=True)])

    item, user = column(lambda log: log.item), column(lambda log: log.user)
    inputs, given = column(lambda log: log.categorical), column(lambda log: log.numeric)
    attributes, described = data.features.categorical.numpy()[item], data.features.numeric.numpy()[item]
    context = [i for i, c in enumerate(data.encoder.categorical) if c.source == "context"]
    groups = [_tenths(described[:, m]) for m in range(described.shape[1])]
    kinds = [*attributes.T, *groups]
    keys = [user, item, *kinds, *inputs[:, context].T]
    keys += [_pair(a, b) for a, b in itertools.product([user], [*kinds, *inputs[:, context].T])]
    keys += [_pair(a, b) for a, b in itertools.product(kinds, inputs[:, context].T)]
    if by_days:
        time_ms = column(lambda log: log.time_ms)
        fold = (time_ms - time_ms.max()) // DAY_MS
        fold = np.where(np.arange(len(fold)) < n_fit, np.minimum(fold - fold.min(), 10_000), 10_001)
    else:
        fold = np.random.default_rng(seed).integers(0, FOLDS, n_fit + n_held)
        fold[n_fit:] = FOLDS
    known = np.arange(n_fit + n_held) < n_fit
    labels = {t.name: _label(t, column(lambda log, t=t: log.labels[t.name])) for t in tasks}  # type: ignore[misc]
    encode = _earlier_rates if by_days else _other_rates
    rates, sizes = [], []
    for key in keys:
        code = np.unique(key, return_inverse=True)[1]
        found = encode(code, fold, known, labels)
        sizes.append(found.pop())
        rates += found
    fit = np.flatnonzero(known & (fold >= FIRST_DAYS)) if by_days else np.flatnonzero(known)
    codes = np.concatenate(
        [inputs, attributes, item[:, None] + 1], axis=1
    )  # rates stand for the user, better than an id
    return Table(
        rates=np.stack(rates, axis=1).astype(np.float32),
        numbers=np.concatenate([np.stack(sizes, axis=1), given, described], axis=1).astype(np.float32),
        codes=codes,
        sizes=tuple(int(c.max(initial=0)) + 1 for c in codes.T),
        labels=labels,
        fit=fit,
        held=np.flatnonzero(~known),
    )


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


Known: TypeAlias = npt.NDArray[np.bool_]


def _earlier_rates(code: Int, fold: Int, known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    """Of each row: the smoothed rate of each task among rows of the same code and an earlier fold, and their number."""
    pair, place = np.unique(code * (int(fold.max()) + 1) + fold, return_inverse=True)
    owner = pair // (int(fold.max()) + 1)
    first = np.searchsorted(owner, owner)

    def before(values: Array) -> Array:
        total = np.concatenate(([0.0], np.cumsum(np.bincount(place, values, len(pair)))))
        found: Array = (total[:-1] - total[first])[place]
        return found

    return _smoothed(before, known, labels)


def _other_rates(code: Int, fold: Int, known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    """As `_earlier_rates`, among the rows of the same code and another fold."""
    pair = code * (FOLDS + 1) + fold

    def others(values: Array) -> Array:
        found: Array = np.bincount(code, values)[code] - np.bincount(pair, values)[pair]
        return found

    return _smoothed(others, known, labels)


def _smoothed(total: Callable[[Array], Array], known: Known, labels: Mapping[str, Floats]) -> list[Array]:
    number = total(known.astype(np.float64))
    found = []
    for values in labels.values():
        mean, binary = float(values[known].mean()), set(np.unique(values)) <= {0.0, 1.0}
        smoothing = RARE_SMOOTHING if binary and mean < RARE else SMOOTHING
        rate = (total(np.where(known, values, 0.0)) + smoothing * mean) / (number + smoothing)
        found.append(np.log(rate / (1 - rate)) if binary else rate)
    return [*found, np.log1p(number)]


# ------------------------------------------------------------------------------------------------ one task at a time


def logistic(table: Table, task: Task) -> Callable[[float], Array]:
    """Linear model on standardised rates and numbers, and categories of few values; by strength of its ridge."""
    x = np.nan_to_num(np.concatenate([table.rates, table.numbers], axis=1))
    mean, std = x[table.fit].mean(axis=0), x[table.fit].std(axis=0)
    few = [np.eye(size, dtype=np.float32)[c] for c, size in zip(table.codes.T, table.sizes, strict=True) if size <= 32]
    x = np.concatenate([(x - mean) / np.maximum(std, 1e-6), *few], axis=1).astype(np.float32)
    y = table.labels[task.name][table.fit]

    def fitted(strength: float) -> Array:
        if task.kind == "regression":
            found: Array = Ridge(alpha=strength).fit(x[table.fit], y).predict(x[table.held])
            return found
        model = LogisticRegression(C=1 / strength, max_iter=60, tol=1e-3).fit(x[table.fit], y)
        probability: Array = model.predict_proba(x[table.held])[:, 1]
        return probability

    return fitted


STRENGTHS = (30.0, 1000.0)
ROUNDS = 400


def boosted(table: Table, task: Task, value: bool = False, seed: int = 0) -> Callable[[int], Array]:
    """LightGBM; the answer by number of rounds. `value`: the median of amounts in place of the mean of their logs."""
    y = table.labels[task.name][table.fit]
    rare = task.kind == "binary" and y.mean() < RARE
    if value:
        y = np.expm1(y)
    settings = {
        "objective": "binary" if task.kind == "binary" else "l1" if value else "l2",
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
    model = lightgbm.train(settings, lightgbm.Dataset(table.flat(table.fit), y), ROUNDS)
    held = table.flat(table.held)

    def answer(rounds: int) -> Array:
        found = np.asarray(model.predict(held, num_iteration=rounds))
        return np.log1p(np.maximum(found, 0)) if value else found

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
        found = torch.stack([expert(x) for expert in self.experts], dim=1)
        mixed = [(gate(x).softmax(dim=1).unsqueeze(2) * found).sum(1) for gate in self.gates]
        return torch.cat([tower(m) for tower, m in zip(self.towers, mixed, strict=True)], dim=1)


EPOCHS = 5


def networks(
    table: Table, tasks: Sequence[Task], experts: int, seed: int = 0, batch: int = 1024
) -> list[dict[str, Array]]:
    """One network for all tasks, after each epoch: probabilities, and logs of amounts, of the held rows."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = np.nan_to_num(np.concatenate([table.rates, table.numbers], axis=1))
    x = np.clip((x - x[table.fit].mean(axis=0)) / np.maximum(x[table.fit].std(axis=0), 1e-6), -5, 5)
    numbers, codes = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(table.codes)
    y = np.stack([table.labels[t.name] for t in tasks], axis=1)
    binary = torch.tensor([t.kind == "binary" for t in tasks])
    mean, std = (torch.from_numpy(f(y[table.fit], axis=0)) for f in (np.mean, np.std))
    labels = torch.where(binary, torch.from_numpy(y), (torch.from_numpy(y) - mean) / std)
    model = Shared(table.sizes, numbers.shape[1], len(tasks), experts)
    tables = [p for name, p in model.named_parameters() if name.startswith("vectors")]
    rest = [p for name, p in model.named_parameters() if not name.startswith("vectors")]
    groups: list[dict[str, Any]] = [{"params": tables, "weight_decay": 0.5}, {"params": rest}]
    optimizer = torch.optim.AdamW(groups, 1e-3)
    after = []
    for _ in range(EPOCHS):
        model.train()
        for rows in np.array_split(rng.permutation(table.fit), max(len(table.fit) // batch, 1)):
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
            found = torch.cat(
                [model(codes[r], numbers[r]) for r in np.array_split(table.held, 1 + len(table.held) // 4096)]
            )
            found = torch.where(binary, found.sigmoid(), found * std + mean)
        after.append({t.name: found[:, i].double().numpy() for i, t in enumerate(tasks)})
    return after
