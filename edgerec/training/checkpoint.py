"""Trained weights on disk: safetensors beside the JSON that says how to build the model around them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from edgerec.errors import DataError
from edgerec.files import read_json, replacing, write_json
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes

STUDENT = "model.safetensors"


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's parameters, whole or not at all."""
    with replacing(path) as part:
        save_file({name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}, part)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote.

    Raises:
        DataError: the file is missing, damaged, or belongs to a model of another shape.
    """
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be loaded ({first}); run the stage that writes it again") from None


def save_student(student: Student, folder: Path, facts: dict[str, Any]) -> None:
    """Write a student and, in model.json, its sizes beside other `facts`."""
    save_weights(student, folder / STUDENT)
    write_json(folder / "model.json", {"sizes": asdict(student.sizes), "tasks": student.tasks, **facts})


def load_student(folder: Path, shape: Shape, features: ItemFeatures, dropout: float = 0.0) -> Student:
    """Read what `save_student` wrote, for data of this shape.

    Raises:
        DataError: see `load_weights` and `read_json`; or the description lacks something.
    """
    facts = read_json(folder / "model.json")
    try:
        student = Student(shape, features, facts["tasks"], StudentSizes(**facts["sizes"]), dropout)
    except (KeyError, TypeError) as error:
        path = folder / "model.json"
        raise DataError(f"{path}: describes no student ({error!r}); run the stage that writes it again") from None
    load_weights(student, folder / STUDENT)
    return student
