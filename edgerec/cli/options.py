"""Options that many commands share, and how a command opens its settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.errors import OLD_NAMES_UNTIL, RenamedWarning

if TYPE_CHECKING:
    from edgerec.config import Config
    from edgerec.config.effort import Effort
    from edgerec.stages.run import Run

__all__ = [
    "ConfigOption",
    "EffortOption",
    "JsonOption",
    "OrtOption",
    "RunDirOption",
    "SeedOption",
    "checked_effort",
    "key_values",
    "load_run",
    "open_run",
]

EFFORTS: tuple[Effort, ...] = ("quick", "normal", "full")
"""As in `edgerec.config.effort`, which needs the `train` extra."""
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Settings file.")]
RunDirOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the run, for all results. Default: runs/NAME, with the name in the settings."),
]
SeedOption = Annotated[int | None, typer.Option(help="Random seed. Default: the seed in the settings.")]
EffortOption = Annotated[
    str | None,
    typer.Option(help="How much is learned where the settings do not say: quick, normal or full. Default: theirs."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def _unused(folder: Path | None) -> None:
    if folder is not None:
        message = f"command line: --ort is not used: a page has an engine of its own; it goes with {OLD_NAMES_UNTIL}"
        warnings.warn(message, RenamedWarning, stacklevel=2)


OrtOption = Annotated[Path | None, typer.Option("--ort", hidden=True, callback=_unused)]
"""Of earlier versions, whose pages took onnxruntime-web."""


def load_run(config: Path, run_dir: Path | None, seed: int | None) -> tuple[Config, Path]:
    """The checked settings, with the seed of the command line, and the folder of the run.

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


def checked_effort(effort: str | None) -> Effort | None:
    """The effort of the command line.

    Raises:
        ConfigError: there is no such effort.
    """
    from edgerec.errors import ConfigError

    for known in EFFORTS:
        if effort == known:
            return known
    if effort is not None:
        raise ConfigError(f"--effort {effort}: expected {', '.join(EFFORTS[:-1])} or {EFFORTS[-1]}")
    return None


def open_run(config: Path, run_dir: Path | None, seed: int | None, command: str) -> Run:
    """The run of a command that trains or judges models.

    Raises:
        ConfigError: the settings file is missing or wrong.
        MissingExtraError: the `train` extra is not installed.
    """
    from edgerec.errors import need

    settings, folder = load_run(config, run_dir, seed)
    need("torch", "train", f"edgerec {command}")
    from edgerec.progress import progress_for
    from edgerec.stages.run import Run

    return Run(settings, folder, progress_for())


def key_values(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Strings such as "a=1" as a dict.

    Raises:
        ConfigError: a pair has no "=".

    >>> key_values(["tab=home"], "--context")
    {'tab': 'home'}
    """
    from edgerec.errors import ConfigError

    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{option} {pair!r}: expected NAME=VALUE")
        values[key.strip()] = value.strip()
    return values
