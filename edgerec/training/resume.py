"""Checkpoints of a training: whole or not there, and without code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from edgerec.files import replacing

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state`; a process that is killed at any time leaves the old file or the new one."""
    with replacing(path, durable=True) as part, part.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote; None where there is no file.

    Raises:
        ValueError: the file is damaged or of another kind.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: damaged") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of this version")
    return state
