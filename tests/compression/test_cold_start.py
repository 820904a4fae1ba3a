"""Hashed words learn what the student's item tower makes of descriptions."""

from __future__ import annotations

import numpy as np
import torch

from edgerec.compression.cold_start import described, fit_cold_start, rows_as_new
from edgerec.models.student import Student, StudentSizes


def student(data):
    torch.manual_seed(0)
    model = Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2)).eval()
    with torch.no_grad():
        model.items.from_category.table.weight.normal_()
    return model


def test_a_row_as_new_knows_neither_the_items_id_nor_its_events(tiny_data):
    model = student(tiny_data)
    vectors, priors = rows_as_new(model, tiny_data)
    with torch.no_grad():
        model.items.identity.weight.normal_()
        model.items.bias.weight.normal_()
    again = rows_as_new(model, tiny_data)

    assert (vectors.shape, priors.shape) == ((40, 8), (40, 6))
    assert np.array_equal(vectors, again[0]) and np.array_equal(priors, again[1])


def test_items_of_one_description_have_one_row_and_other_shelves_other_rows(tiny_data):
    """The tiny log's items lie on three shelves, which is all that tells them apart but for the price."""
    model = student(tiny_data)
    words = fit_cold_start(model, tiny_data)
    texts, attributes, numbers = described(tiny_data)
    found, _ = words.rows(texts, attributes, numbers)
    wanted, _ = rows_as_new(model, tiny_data)

    error = ((found - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    assert error < 0.1
    assert attributes[0].keys() == {"shelf"} and numbers[0].keys() == {"price"}
