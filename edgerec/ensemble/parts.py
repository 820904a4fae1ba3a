"""Values of items with several in a cell as columns for trees."""

from __future__ import annotations

import numpy as np

from edgerec.models.inputs import ItemFeatures
from edgerec.tasks.history import Float

MOST = 32
"""Values that are columns, the most frequent ones: a tree needs many rows for each."""


def part_columns(features: ItemFeatures) -> Float:
    """The share of each frequent value in an item's cell, float32 (N, values); no columns without such cells."""
    if features.parts is None or features.shares is None:
        return np.zeros((len(features.text), 0), np.float32)
    parts, shares = features.parts.numpy(), features.shares.numpy()
    frequent = np.argsort(-np.bincount(parts[shares > 0]), kind="stable")[:MOST]
    columns = [(shares * (parts == value)).sum(axis=1) for value in frequent]
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((len(parts), 0), np.float32)
