"""INT8 quantization of the item table in training: the same codes as in the bundle, with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 127
"""Codes lie between -LEVELS and LEVELS, if not said otherwise."""


def row_scales(table: Tensor, step: Tensor, levels: int = LEVELS) -> Tensor:
    """Width of a quantization step of each row, (N,): ``exp(step)`` times what covers the row's largest entry.

    A row of zeros, or one too small for a scale, has the scale 1.
    Args:
        table: (N, dim). step: (N,), learned; below 0 the largest entries are clipped.
    """
    scales = table.abs().amax(dim=1) / levels * torch.exp(step)
    return torch.where(scales > 0, scales, torch.ones_like(scales))


def round_rows(table: Tensor, scales: Tensor, levels: int = LEVELS) -> Tensor:
    """``codes * scales`` of a table (N, dim) with scales (N,), where the gradient passes straight through the rounding.

    A row's scale has a gradient too: how much each entry is rounded by, and the largest code where an entry is clipped.
    Source: learned step size quantization, Esser et al., ICLR 2020.
    """
    scaled = table / scales.unsqueeze(1)
    scaled = scaled.clamp(-levels, levels)
    return (scaled + (torch.round(scaled) - scaled).detach()) * scales.unsqueeze(1)
