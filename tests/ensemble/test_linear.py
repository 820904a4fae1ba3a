"""The linear model that trees start from."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.ensemble.linear import Linear, Standard
from edgerec.errors import DataError


def test_few_rows_get_their_mean_and_many_the_slope():
    rng = np.random.default_rng(0)
    matrix = rng.normal(5, 2, (60_000, 2)).astype(np.float32)
    labels = (matrix[:, 0] - 5) * 0.5 + 1
    standard = Standard.of(matrix)

    many = Linear.fit(standard.apply(matrix), standard, labels, "regression")
    few = Linear.fit(standard.apply(matrix[:2]), standard, labels[:2], "regression")

    # Ridge shrinks a slope of 1 by n / (n + 300); the columns are cut at four standard deviations.
    assert many.weight == pytest.approx([60_000 / 60_300, 0], abs=0.01)
    assert few.raw(matrix[2:4]) == pytest.approx(labels[:2].mean(), abs=0.05)


def test_a_binary_task_gets_log_odds():
    matrix = np.zeros((1000, 1), np.float32)
    labels = (np.arange(1000) < 200).astype(np.float32)
    standard = Standard.of(matrix)

    model = Linear.fit(standard.apply(matrix), standard, labels, "binary")

    assert model.raw(matrix[:1]) == pytest.approx(np.log(0.2 / 0.8), abs=1e-3)


def test_an_outlier_counts_as_four_standard_deviations():
    matrix = np.r_[np.zeros((99_999, 1)), np.full((1, 1), 1e6)].astype(np.float32)

    assert Standard.of(matrix).apply(matrix)[-1] == pytest.approx(4.0)


def test_it_is_read_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 3)).astype(np.float32)
    standard = Standard.of(matrix)
    model = Linear.fit(standard.apply(matrix), standard, matrix[:, 0], "regression")
    model.save(tmp_path / "linear.safetensors")

    assert np.array_equal(Linear.load(tmp_path / "linear.safetensors").raw(matrix), model.raw(matrix))
    with pytest.raises(DataError, match=r"other\.safetensors"):
        Linear.load(tmp_path / "other.safetensors")
