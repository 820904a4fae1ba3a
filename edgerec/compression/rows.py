"""INT8 rows: symmetric codes with a scale for each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEVELS = 127
"""The largest code."""
AT_ONCE = 65_536
"""Rows that are quantized at a time, so that a long table needs little additional memory."""


def quantize_rows(
    table: npt.NDArray[np.float32], scales: npt.NDArray[np.float32] | None = None, levels: int = LEVELS
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize an embedding table to INT8, symmetric, one scale per row.

    ``codes * scales[:, None]`` gives the table back to within ``scales / 2`` per entry, if no given scale is too small
    for its row; an all-zero row, or one too small for a scale, gets scale 1 and is exactly zero.
    Args:
        table: float32, shape (n_items, dim).
        scales: positive, shape (n_items,), as they were learned; None: those that cover each row's largest entry.
        levels: the largest code; 7 for 4 bits.
    Returns:
        codes: int8, shape (n_items, dim), in [-levels, levels].
        scales: float32, shape (n_items,), in the unit of `table`.
    Raises:
        ValueError: `table` is not 2-D, or holds NaN or infinity.
    Source: Jacob et al., CVPR 2018, section 2.1, with zero point 0.

    >>> codes, scales = quantize_rows(np.array([[0.5, -1.27], [0.0, 0.0]], np.float32))
    >>> codes.tolist()
    [[50, -127], [0, 0]]
    """
    if table.ndim != 2:
        raise ValueError(f"an embedding table must be 2-D and finite, got shape {table.shape}")
    codes = np.empty(table.shape, np.int8)
    steps = np.empty(len(table), np.float32)
    for start in range(0, len(table), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        part = table[rows]
        if not np.isfinite(part).all():
            raise ValueError(f"an embedding table must be 2-D and finite, got shape {table.shape}")
        if scales is None:
            steps[rows] = np.abs(part).max(axis=1, initial=0) / levels
            steps[rows][steps[rows] == 0] = 1
        else:
            steps[rows] = scales[rows]
        codes[rows] = np.clip(np.rint(part / steps[rows, None]), -levels, levels)
    return codes, steps
