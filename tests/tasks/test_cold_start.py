"""Rows for cold-start items, from hashed words."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from edgerec.tasks import cold_start
from edgerec.tasks.cold_start import BUCKETS, ColdStartTable, buckets


def table(seed: int = 0) -> ColdStartTable:
    rng = np.random.default_rng(seed)
    return ColdStartTable(
        codes=rng.integers(-127, 128, (BUCKETS, 5)).astype(np.int8),
        scales=rng.random(5).astype(np.float32),
        numbers=rng.normal(size=(1, 5)).astype(np.float32),
        start=rng.normal(size=5).astype(np.float32),
        names=("price",),
        mean=np.array([2.0]),
        std=np.array([0.5]),
        dim=3,
    )


def test_the_docstrings_tell_the_truth():
    assert doctest.testmod(cold_start).failed == 0


def test_a_row_is_the_start_and_the_scaled_mean_of_the_tokens_rows():
    t = table()
    vectors, priors = t.rows(["a"], [{}], [{}])
    at = buckets("a", {})  # "a" and "<a>"

    assert len(at) == 2
    expected = t.start + t.codes[at].sum(axis=0, dtype=np.int64) * t.scales / np.sqrt(2)
    assert np.allclose(np.concatenate([vectors, priors], axis=1)[0], expected, atol=1e-4)
    assert (vectors.shape, priors.shape) == ((1, 3), (1, 2))


def test_numbers_are_standardised_and_what_is_unknown_adds_nothing():
    t = table()
    known, unknown = t.rows([None, ""], [{}, {}], [{"price": 3.0}, {"price": None}])[0]

    assert np.allclose(unknown, t.start[:3])
    assert np.allclose(known, t.start[:3] + 2 * t.numbers[0, :3], atol=1e-6)


def test_words_of_any_script_count_and_case_does_not():
    assert np.array_equal(buckets("Red Mug", {}), buckets("red, mug!", {}))
    assert len(buckets("红色杯子", {})) == 5  # the word and its four pieces of three
    assert len(buckets("", {})) == len(buckets(None, {"shop": None})) == 0
    assert not np.array_equal(buckets("", {"shop": "a"}), buckets("", {"size": "a"}))


def test_it_comes_back_from_its_bytes_which_are_always_the_same():
    content = table().to_bytes()
    again = ColdStartTable.from_bytes(content)

    assert content == table().to_bytes()
    assert again.names == ("price",) and again.dim == 3
    assert np.array_equal(again.rows(["a"], [{}], [{}])[0], table().rows(["a"], [{}], [{}])[0])


@pytest.mark.parametrize("content", [b"", b"PK", table().to_bytes()[:500]])
def test_other_bytes_are_refused(content):
    with pytest.raises(ValueError, match="not a table for cold-start items"):
        ColdStartTable.from_bytes(content)
