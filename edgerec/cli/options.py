"""Options that many commands share, and how a command opens its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgerec.config import Config

__all__ = ["ConfigOption", "JsonOption", "RunDirOption", "SeedOption", "load_run"]

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
RunDirOption = Annotated[Path | None, typer.Option(help="Where results are written; runs/NAME by default.")]
SeedOption = Annotated[int | None, typer.Option(help="Replaces the seed of the settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")]


def load_run(config: Path, run_dir: Path | None, seed: int | None) -> tuple[Config, Path]:
    """The checked settings, with the command line's seed, and the folder of the run.

    Raises:
        ConfigError: the settings file is missing or wrong.
        MissingExtraError: the `train` extra, which reads settings, is not installed.
    """
    from edgerec.errors import need

    need("pydantic", "train", "reading settings")
    from edgerec.config import Config

    settings = Config.load(config)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    return settings, run_dir or Path("runs") / settings.name
