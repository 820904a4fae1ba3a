"""Item vectors that a student starts from: who consumed what, in as many dimensions as its table has."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds

from edgerec.ensemble.closed_form import counts
from edgerec.examples.graph import consumed_rows
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.models.student import Student
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float

__all__ = ["item_vectors", "start_items"]

ROWS = 5_000_000
"""Latest rows of the log that are read."""
SHRUNK = 5
"""Added to each count that rows and columns are divided by, so that no user or item of one event is a dimension."""
DENSE = 1_000_000
"""Users times items up to which all singular vectors are computed: there may be few of them, and the iteration that
takes less time looks for more at random."""
LENGTH = 0.5
"""Root mean square of the vectors' lengths; the longest have three times as much."""
GAIN = 4.0
"""Of the product of an item's vector with the mean of the past ones, in the logits of a ranking before training."""


def start_items(student: Student, data: LearningData, held: HeldOut) -> None:
    """Let a new student rank by the likeness of items to the user's past, before it has learned anything.

    A small log would never teach it that much: of 30,000 made-up rows its `next` had .111 in place of .100 on valid,
    and retail needed 8 epochs in place of 12.
    """
    retrieval = [place for place, task in enumerate(scored_tasks(data.tasks)) if task.kind == "retrieval"]
    if not retrieval:
        return
    items, tower = student.items, student.requests
    vectors = torch.from_numpy(item_vectors(data, min(tower.dim, items.identity.embedding_dim), held))
    with torch.no_grad():
        width = vectors.shape[1]
        items.identity.weight[: len(vectors), :width] += vectors
        if items.fold is not None:
            items.fold.weight[:, :width] = torch.eye(tower.dim, width)
        mix = tower.mix.weight.view(tower.tasks, tower.dim, tower.heads, tower.dim)
        mix[retrieval] += GAIN / tower.heads * torch.eye(tower.dim)[:, None]


def item_vectors(data: LearningData, dim: int, held: HeldOut) -> Float:
    """The leading singular vectors of the items by the users who consumed them, times the singular values.

    Users and items are divided by the roots of their counts, so that neither the busiest nor the most popular ones
    are all that there is. Read from the latest `ROWS` rows, without those that are `held` out.

    Returns:
        float32 (known items, at most `dim`).
    """
    log, n = data.train_log, data.train.n_seen
    kept = consumed_rows(log, data.tasks) & (log.item < n) & (log.time_ms >= latest_since(log, ROWS))
    rows = np.flatnonzero(kept)
    rows = rows[~held.holds_rows(log, rows)]
    matrix = counts(log.user[rows], log.item[rows], len(log.offsets) - 1, n)
    matrix.data[:] = 1
    of_users, of_items = (np.asarray(matrix.sum(axis=axis)).ravel() + SHRUNK for axis in (1, 0))
    matrix = sparse.diags(of_users**-0.5) @ matrix @ sparse.diags(of_items**-0.5)
    dim = min(dim, *(size - 1 for size in matrix.shape))
    if dim < 1 or not matrix.nnz:
        return np.zeros((n, 0), np.float32)
    if np.prod(matrix.shape, dtype=np.int64) <= DENSE:
        _, values, items = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        _, values, items = svds(matrix.astype(np.float32), k=dim, random_state=0)
        values, items = values[::-1], items[::-1]
    items *= np.sign(items[np.arange(len(items)), np.abs(items).argmax(axis=1)])[:, None]  # either sign is as good
    vectors = (items[:dim] * values[:dim, None]).T
    vectors = vectors * (LENGTH / np.sqrt(np.mean(np.sum(vectors**2, axis=1))))
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= np.minimum(1, 3 * LENGTH / np.maximum(length, 1e-9))
    return np.ascontiguousarray(vectors, np.float32)
