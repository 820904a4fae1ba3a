"""Weights on disk: what was written comes back, and damage is one line."""

from __future__ import annotations

import pytest
import torch

from edgerec.errors import DataError
from edgerec.files import read_json
from edgerec.models.student import Student, StudentSizes
from edgerec.training.checkpoint import load_student, load_weights, save_student, save_weights


def student(data, dim=8):
    torch.manual_seed(dim)
    return Student(data.shape, data.features, 5, StudentSizes.of(dim, 16, 2))


def test_a_student_comes_back_as_it_was_saved(tiny_data, tmp_path):
    first = student(tiny_data)
    save_student(first, tmp_path / "student", {"expectations": {}})
    second = load_student(tmp_path / "student", tiny_data.shape, tiny_data.features)

    assert second.sizes == first.sizes
    assert all(torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())
    assert read_json(tmp_path / "student" / "model.json")["expectations"] == {}
    assert not list(tmp_path.rglob("*.part"))


def damaged(path, how):
    content = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "no safetensors":
            path.write_bytes(b"\xff" * 500)


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "no safetensors"])
def test_damaged_weights_are_refused_in_one_line_that_names_the_file(tiny_data, tmp_path, how):
    path = tmp_path / "model.safetensors"
    save_weights(student(tiny_data), path)
    damaged(path, how)

    with pytest.raises(DataError, match=r"model\.safetensors: cannot be loaded .*run the stage") as caught:
        load_weights(student(tiny_data), path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(tiny_data, tmp_path):
    save_weights(student(tiny_data, dim=8), tmp_path / "model.safetensors")

    with pytest.raises(DataError, match="cannot be loaded"):
        load_weights(student(tiny_data, dim=12), tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_a_missing_or_broken_description_is_refused_in_one_line(tiny_data, tmp_path, content):
    save_student(student(tiny_data), tmp_path, {})
    (tmp_path / "model.json").unlink()
    if content is not None:
        (tmp_path / "model.json").write_text(content)

    with pytest.raises(DataError, match=r"model\.json: .*run the stage that writes it again"):
        load_student(tmp_path, tiny_data.shape, tiny_data.features)


@pytest.mark.parametrize("content", ["{}", '{"tasks": 5, "sizes": {"width": 3}}', '{"tasks": "x", "sizes": {}}'])
def test_a_description_of_something_else_is_refused_in_one_line(tiny_data, tmp_path, content):
    save_student(student(tiny_data), tmp_path, {})
    (tmp_path / "model.json").write_text(content)

    with pytest.raises(DataError, match=r"model\.json: .*run the stage that writes it again"):
        load_student(tmp_path, tiny_data.shape, tiny_data.features)
