"""INT8 rows."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgerec.compression import rows
from edgerec.compression.rows import quantize_rows

shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)
tables = arrays.arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False))


def test_the_docstring_tells_the_truth():
    assert doctest.testmod(rows) == (0, 2)


@given(tables)
def test_codes_give_the_table_back_to_within_half_a_scale(table):
    codes, scales = quantize_rows(table)

    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    assert np.abs(codes.astype(int)).max() <= 127
    error = np.abs(codes * scales[:, None].astype(np.float64) - table)
    assert (error <= scales[:, None] * 0.5001).all()


def test_the_largest_entry_of_each_row_has_the_largest_code():
    codes, scales = quantize_rows(np.array([[1.0, -2.0], [-0.001, 0.0005]], np.float32))

    assert codes[[0, 1], [1, 0]].tolist() == [-127, -127]
    assert scales == pytest.approx([2 / 127, 0.001 / 127])


def test_an_all_zero_row_has_scale_one_and_stays_zero():
    codes, scales = quantize_rows(np.zeros((1, 3), np.float32))

    assert (codes.tolist(), scales.tolist()) == ([[0, 0, 0]], [1.0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_the_shape_is_named(value):
    with pytest.raises(ValueError, match=r"finite, got shape \(1, 1\)"):
        quantize_rows(np.array([[value]], np.float32))


def test_a_table_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match=r"2-D and finite, got shape \(3,\)"):
        quantize_rows(np.zeros(3, np.float32))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("largest", [1e-40, 1e-44])
def test_a_row_too_small_for_a_normal_scale_still_has_codes_within_range(largest):
    table = np.array([[largest, 0.0, -largest]], np.float32)
    codes, scales = quantize_rows(table)

    assert (scales > 0).all()
    assert codes[0, 1] == 0
    assert np.abs(codes * scales[:, None] - table).max() <= largest
