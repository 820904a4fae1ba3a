"""`edgerec distill`."""

from __future__ import annotations

from pathlib import Path

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption
from edgerec.cli.stages import run_and_print

__all__ = ["distill"]


def distill(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Distil the teacher into a small student model."""
    run_and_print("distill", config, run_dir, seed, as_json)
