"""Fits the cold-start table: from hashed words and attributes to the rows of the item tower, for items that come
later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from edgerec.compression.rows import quantize_rows
from edgerec.examples.load import LearningData
from edgerec.examples.statistics import item_statistics
from edgerec.models.student import Student
from edgerec.tasks.cold_start import BUCKETS, Attribute, ColdStartTable, buckets
from edgerec.tasks.history import Float

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties, of which generalised cross-validation chooses one."""
Double = npt.NDArray[np.float64]


def rows_as_new(student: Student, data: LearningData) -> tuple[Float, Float]:
    """The item tower's output for each item as if it had no events: vectors (N, dim) and priors (N, tasks + 1).

    Without the embedding of its id, and with the statistics of an item without events, which has the rates of its
    categories.
    """
    items, n = data.dataset.items().head(data.n_items), data.n_items
    groups = [(c.name, items[f"cat.{c.name}"].to_numpy().astype(np.int64)) for c in data.dataset.meta.items.categorical]
    assert data.scratch is not None
    twice = [(name, np.concatenate([value, value])) for name, value in groups]
    end_ms = int(data.statistics.as_of_ms[-1])
    # Each item is there a second time, with its categories and without its events.
    statistics = item_statistics(data.train_log, data.tasks, 2 * n, twice, end_ms, data.scratch, last_only=True)
    tower = student.items
    with torch.inference_mode():
        without_events = torch.from_numpy(np.array(statistics.values[-1][n:]))
        numbers = torch.cat([without_events, tower.numeric], dim=1)
        vectors = tower.from_attributes() + tower.from_numbers(numbers)
        if tower.from_text is not None:
            vectors = vectors + tower.from_text(tower.text)
        return vectors.numpy(), tower.priors(without_events, tower.numeric).numpy()


def fit_cold_start(student: Student, data: LearningData) -> ColdStartTable:
    """Ridge regression from tokens and numbers to `rows_as_new`, over the items of the training rows.

    Source: Hoerl and Kennard, Technometrics 1970; penalty by Golub et al., Technometrics 1979.
    """
    texts, attributes, numbers = described(data)
    n = data.train.n_seen
    targets = np.concatenate(rows_as_new(student, data), axis=1)[:n].astype(np.float64)
    known = data.dataset.meta.items.numeric
    empty = ColdStartTable(
        np.zeros((BUCKETS, targets.shape[1]), np.int8),
        np.ones(targets.shape[1], np.float32),
        np.zeros((len(known), targets.shape[1]), np.float32),
        np.zeros(targets.shape[1], np.float32),
        tuple(c.name for c in known),
        np.array([c.mean for c in known], np.float64),
        np.array([c.std for c in known], np.float64),
        student.sizes.dim,
    )
    inputs = np.concatenate([_hashed(texts[:n], attributes[:n]), empty.standardized(numbers[:n])], axis=1)
    start = targets.mean(axis=0)
    weights = _ridge(inputs.astype(np.float64), targets - start)
    codes, scales = quantize_rows(np.ascontiguousarray(weights[:BUCKETS].T, dtype=np.float32))
    return ColdStartTable(
        np.ascontiguousarray(codes.T),
        scales,
        weights[BUCKETS:].astype(np.float32),
        start.astype(np.float32),
        empty.names,
        empty.mean,
        empty.std,
        empty.dim,
    )


def described(
    data: LearningData,
) -> tuple[Sequence[str | None], Sequence[Mapping[str, Attribute]], Sequence[Mapping[str, float | None]]]:
    """Texts, named attributes and named numbers of the catalogue."""
    items, meta = data.dataset.items().head(data.n_items), data.dataset.meta
    texts = items["text"].to_list() if meta.text else [None] * len(items)
    attributes: list[dict[str, Attribute]] = [{} for _ in range(len(items))]
    for column in meta.items.categorical:
        for named, index in zip(attributes, items[f"cat.{column.name}"].to_list(), strict=True):
            named[column.name] = column.values[index - 1] if index else None
    for parts in meta.items.multi:
        for named, places in zip(attributes, items[f"multi.{parts.name}"].to_list(), strict=True):
            named[parts.name] = [parts.values[place - 1] for place in places]
    numbers: list[dict[str, float | None]] = [{} for _ in range(len(items))]
    for number in meta.items.numeric:
        for given, value in zip(numbers, items[f"num.{number.name}"].to_list(), strict=True):
            given[number.name] = value
    return texts, attributes, numbers


def _hashed(texts: Sequence[str | None], attributes: Sequence[Mapping[str, Attribute]]) -> Float:
    """Rows of length 1 over the buckets, (n, BUCKETS); zero without a token."""
    each = [buckets(text, named) for text, named in zip(texts, attributes, strict=True)]
    sizes = np.array([len(at) for at in each])
    values = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    columns = np.concatenate([*each, np.zeros(0, np.int64)])
    hashed: Float = csr_array((values, columns, offsets), shape=(len(each), BUCKETS)).toarray()
    return hashed


def _ridge(inputs: Double, targets: Double) -> Double:
    """Weights (inputs, outputs) of ridge regression with the penalty of the least generalised cross-validation
    error."""
    n = len(inputs)
    values, vectors = np.linalg.eigh(inputs.T @ inputs)
    values = np.maximum(values, 0)
    rotated, total = vectors.T @ (inputs.T @ targets), float((targets**2).sum())

    def error(penalty: float) -> float:
        shrunk = rotated / (values + penalty)[:, None]
        rest = total - float((2 * rotated * shrunk - values[:, None] * shrunk**2).sum())
        free = 1 - float((values / (values + penalty)).sum()) / n
        return rest / max(free, 1e-3) ** 2

    best = min(PENALTIES, key=error)
    weights: Double = vectors @ (rotated / (values + best)[:, None])
    return weights
