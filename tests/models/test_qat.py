"""INT8 rounding with a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.compression.rows import quantize_rows
from edgerec.models.qat import round_rows, row_scales


def test_without_a_learned_step_it_rounds_as_the_bundle_does():
    table = torch.randn(50, 8)
    scales = row_scales(table, torch.zeros(50))
    codes, expected = quantize_rows(table.numpy())

    assert np.array_equal(scales.numpy(), expected)
    assert np.array_equal(round_rows(table, scales).numpy(), codes * expected[:, None])


def test_a_row_of_zeros_stays_zero():
    table = torch.zeros(1, 3)

    assert round_rows(table, row_scales(table, torch.zeros(1))).tolist() == [[0, 0, 0]]


def test_the_gradient_passes_straight_through_where_nothing_is_cut():
    table = torch.tensor([[0.5, -1.27, 0.013]], requires_grad=True)
    round_rows(table, torch.tensor([0.01])).backward(torch.tensor([[1.0, 2.0, 3.0]]))

    assert table.grad.tolist() == [[1, 2, 3]]


def test_a_scale_learns_from_what_is_rounded_and_what_is_cut():
    scales = torch.tensor([0.01, 0.01], requires_grad=True)
    table = torch.tensor([[0.0125], [2.0]])
    round_rows(table, scales).sum().backward()

    assert scales.grad[0].item() == pytest.approx(1 - 1.25)  # rounded 1.25 to 1: a wider step would come nearer
    assert scales.grad[1].item() == 127  # cut: only a wider step reaches further
