"""Item transition lists: the items that most often follow each item, which a student starts from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgerec.ensemble.closed_form import best_of_rows, transitions
from edgerec.ensemble.signals import sessions_of
from edgerec.ensemble.views import MAX_ROWS
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.examples.log import latest_since
from edgerec.examples.scratch import pieces
from edgerec.tasks.history import Int


def transition_lists(data: LearningData, most: int, held: HeldOut) -> tuple[Tensor, Tensor]:
    """The `most` items that most often follow each item, and how often relative to the first of them, in (0, 1].

    Read from the latest `MAX_ROWS` rows of the log, without those that are `held` out.

    Returns:
        int32 (N, most), float32 (N, most), best first; places that no item takes hold the row's own item, with 0.
    """
    log, n = data.train_log, data.train.n_seen
    since = latest_since(log, MAX_ROWS)

    def latest(start: int, end: int) -> Int:
        kept = start + np.flatnonzero((log.time_ms[start:end] >= since) & (log.item[start:end] < n))
        return kept[~held.holds_rows(log, kept)]

    rows = np.concatenate([latest(*piece) for piece in pieces(len(log))])
    matrix = transitions(*sessions_of(log, rows, n))
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    matrix = best_of_rows(matrix, most)
    item = np.repeat(np.arange(data.n_items, dtype=np.int32)[:, None], most, axis=1)
    weight = np.zeros(item.shape, np.float32)
    for row in np.flatnonzero(np.diff(matrix.indptr)):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        order = np.argsort(-matrix.data[part], kind="stable")
        item[row, : len(order)] = matrix.indices[part][order]
        weight[row, : len(order)] = matrix.data[part][order] / matrix.data[part].max()
    return torch.from_numpy(item), torch.from_numpy(weight)
