"""The folders of the samples: settings and a log each. A wheel has the settings alone; the logs are in the source."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgerec.errors import ConfigError

__all__ = ["copy_sample", "sample_names"]

_FOLDER = Path(__file__).parent
DATA = "*.parquet"


def sample_names() -> list[str]:
    """Names of the samples."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/edgerec.toml"))


def copy_sample(name: str, folder: Path, others: tuple[str, ...] = (), data: Path | None = None) -> None:
    """Copy settings and data of a sample, except files that `folder` has already: the user may have changed them.

    Args:
        others: names that the message lists besides the samples.
        data: the folder of the data, where it is not this package: that of one sample, or of all.
    Raises:
        ConfigError: there is no such sample, or no data of it.
    """
    if name not in sample_names():
        raise ConfigError(f"there is no demo {name!r}; expected one of: {', '.join([*sample_names(), *others])}")
    settings = _FOLDER / name
    source = data or settings
    logs = [*source.glob(DATA), *(source / name).glob(DATA)]
    if not logs and not [*folder.glob(DATA)]:
        raise ConfigError(
            f"{source}: no data of the demo {name}; an installed package has none: give the folder "
            f"edgerec/samples/{name} of the source with --data"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*settings.iterdir(), *logs]:
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
