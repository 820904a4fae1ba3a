"""Vectors of item texts."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from edgerec.errors import ConfigError
from edgerec.examples.text_vectors import principal_components, text_vectors
from edgerec.models.text import OFFLINE_PACKAGE, default_model
from edgerec.progress import Silent


@pytest.mark.skipif(find_spec(OFFLINE_PACKAGE) is None, reason=f"{OFFLINE_PACKAGE} is not installed")
def test_texts_of_like_meaning_have_like_vectors_and_no_text_has_none(tmp_path, monkeypatch):
    texts = ["red tea cup", "", "crimson mug for tea", "diesel engine oil"]
    vectors = text_vectors(texts, default_model(), tmp_path, Silent())
    monkeypatch.setattr("edgerec.examples.text_vectors.encode", lambda *_: pytest.fail("computed twice"))

    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[2] > 0.3 + vectors[0] @ vectors[3]
    assert np.array_equal(text_vectors(texts, default_model(), tmp_path, Silent()), vectors)  # kept


def test_a_model_that_cannot_be_loaded_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"\[teacher\] text_model: cannot load") as caught:
        text_vectors(["a"], str(tmp_path), tmp_path, Silent())
    assert "\n" not in str(caught.value)


def test_principal_components_keep_distances_and_texts_that_are_not_there_stay_zero():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(20, 2)).astype(np.float32) @ rng.normal(size=(2, 7)).astype(np.float32)
    vectors = np.concatenate([plane, np.zeros((1, 7), np.float32)])

    found = principal_components(vectors, 2).apply(vectors)

    assert found.shape == (21, 2)
    assert (found[20] == 0).all()
    assert (found[:20] ** 2).mean() == pytest.approx(1, rel=1e-5)
    before, after = (np.linalg.norm(x[:20, None] - x[None, :20], axis=2)[0, 1:] for x in (vectors, found))
    assert after / before == pytest.approx([after[0] / before[0]] * 19, rel=1e-4)


@pytest.mark.parametrize("texts", [0, 1])
def test_there_are_no_components_of_fewer_than_two_texts(texts):
    vectors = np.zeros((3, 7), np.float32)
    vectors[:texts] = 1

    assert principal_components(vectors, 4).apply(vectors).shape == (3, 0)


def test_vectors_that_differ_by_rounding_alone_have_no_components():
    rounding = np.random.default_rng(0).normal(0, 1e-8, (40, 16)).astype(np.float32)
    vectors = np.full((40, 16), 0.25, np.float32) + rounding

    assert not principal_components(vectors, 4).apply(vectors).any()
