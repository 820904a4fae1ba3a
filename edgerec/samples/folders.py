"""The folders of the packaged samples: settings and a log each."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgerec.errors import ConfigError

__all__ = ["copy_sample", "sample_names"]

_FOLDER = Path(__file__).parent


def sample_names() -> list[str]:
    """Names of the samples."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/edgerec.toml"))


def copy_sample(name: str, folder: Path, others: tuple[str, ...] = ()) -> None:
    """Copy settings and data of a sample, except files that `folder` has already: the user may have changed them.

    Args:
        others: names that the message lists besides the samples.
    Raises:
        ConfigError: there is no such sample.
    """
    if name not in sample_names():
        raise ConfigError(f"there is no demo {name!r}; expected one of: {', '.join([*sample_names(), *others])}")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (_FOLDER / name).iterdir():
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
