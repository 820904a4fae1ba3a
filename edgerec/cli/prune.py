"""`edgerec prune`."""

from __future__ import annotations

from pathlib import Path

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption
from edgerec.cli.stages import run_and_print

__all__ = ["prune"]


def prune(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the least important units of the student.

    The student is then trained on, to recover its quality.
    """
    run_and_print("prune", config, run_dir, seed, as_json)
