"""`edgerec quantize`."""

from __future__ import annotations

from pathlib import Path

from edgerec.cli.options import ConfigOption, JsonOption, RunDirOption, SeedOption
from edgerec.cli.stages import run_and_print

__all__ = ["quantize"]


def quantize(
    config: ConfigOption = Path("edgerec.toml"),
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize the pruned student to INT8 and build the bundle."""
    run_and_print("quantize", config, run_dir, seed, as_json)
