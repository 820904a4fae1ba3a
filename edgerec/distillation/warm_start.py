"""Starts a student from the weights of an earlier one on a log that has grown; table rows move with their ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgerec.bundle import Bundle
from edgerec.data import Dataset
from edgerec.errors import ConfigError, DataError
from edgerec.examples.load import LearningData
from edgerec.models.student import Student
from edgerec.tasks import RequestEncoder

__all__ = ["warm_start"]

OF_ITEMS: Final = ("items.identity.weight", "items.bias.weight", "step")
OF_ITEM_CATEGORIES: Final = ("items.from_category.table.weight",)
OF_ITEM_PARTS: Final = ("items.from_parts.weight",)
OF_CONTEXT: Final = ("requests.context.category.table.weight",)
OF_NUMBERS: Final = "requests.context.numbers.weight"
"""Has a column, not a row, for each number of a request."""
ANEW: Final = ("items.from_text.weight",)
"""Text components differ from catalogue to catalogue, so their weights start anew."""


def warm_start(student: Student, run_dir: Path, data: LearningData) -> int:
    """Copy the weights of the student of `run_dir` into a new one, and count the tensors that fit.

    Items and category values that are new keep their first values.

    Raises:
        DataError: the run has no whole student and bundle. ConfigError: it had other tasks, or another shape.
    """
    path = run_dir / "student" / "model.safetensors"
    try:
        old = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}); give a finished run") from None
    dataset, manifest = Dataset.open(run_dir / "dataset"), Bundle.open(run_dir / "bundle").manifest
    tasks = [[task.name for task in of] for of in (dataset.meta.tasks, data.dataset.meta.tasks)]
    if tasks[0] != tasks[1]:
        raise ConfigError(f"{run_dir}: learned {', '.join(tasks[0])}, and these settings ask for {', '.join(tasks[1])}")
    encoders = RequestEncoder.from_json(manifest.inputs), data.encoder
    ids = [of.items()["id"].to_list() for of in (dataset, data.dataset)]
    categories = [[(c.name, c.values) for c in of.meta.items.categorical] for of in (dataset, data.dataset)]
    parts = [[(p.name, v) for p in of.meta.items.multi for v in p.values] for of in (dataset, data.dataset)]
    contexts = [[(c.name, c.values) for c in of.categorical] for of in encoders]
    moves = {
        **dict.fromkeys(OF_ITEMS, _same(*ids)),
        **dict.fromkeys(OF_ITEM_CATEGORIES, _same(*(_keys(of) for of in categories))),
        **dict.fromkeys(OF_ITEM_PARTS, _same(*parts)),
        OF_NUMBERS: _same(*(of.numeric_names for of in encoders)),
        **dict.fromkeys(OF_CONTEXT, _same(*(_keys(of) for of in contexts))),
    }
    state = student.state_dict()
    taken = [name for name in state if name in old and _take(name, old[name], state[name], moves)]
    if len(taken) < len(state) / 2:
        raise ConfigError(f"{run_dir}: its student has another shape; keep [student] as it was")
    student.load_state_dict(state)
    return len(taken)


def _keys(columns: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, str | None]]:
    """What each row of a table of categories stands for; None: unknown."""
    return [(name, value) for name, values in columns for value in (None, *values)]


def _same(old: Sequence[object], new: Sequence[object]) -> list[tuple[int, int]]:
    """Places of the common values in both."""
    at = {value: i for i, value in enumerate(old)}
    return [(at[value], i) for i, value in enumerate(new) if value in at]


def _take(name: str, old: Tensor, new: Tensor, moves: dict[str, list[tuple[int, int]]]) -> bool:
    """Copy what fits into `new`, in place; False where nothing does."""
    if name == OF_NUMBERS:
        old, new = old.T, new.T
    if name in moves:
        pairs = [(a, b) for a, b in moves[name] if a < len(old) and b < len(new)]
        if old.shape[1:] != new.shape[1:] or not pairs:
            return False
        source, target = torch.tensor(pairs, dtype=torch.int64).T
        new[target] = old[source].to(new.dtype)
        return True
    if name in ANEW or old.shape != new.shape:
        return False
    new.copy_(old)
    return True
