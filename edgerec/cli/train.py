"""`edgerec train`."""

from __future__ import annotations

from pathlib import Path

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption
from edgerec.cli.stages import run_and_print

__all__ = ["train"]


def train(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the teacher on the dataset.

    A training that was stopped goes on from its last checkpoint.
    """
    run_and_print("train", config, run_dir, seed, as_json)
