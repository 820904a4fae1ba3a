"""The error tree. Every message is one line: what, where, what was expected, what to do."""

from __future__ import annotations

import importlib
import re
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = [
    "BundleError",
    "ConfigError",
    "DataError",
    "EdgerecError",
    "MissingExtraError",
    "QualityError",
    "RenamedWarning",
    "deprecated",
    "need",
]

OLD_NAMES_UNTIL: Final = "0.3"
"""The version that no longer reads the old names of settings, profiles and commands."""
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class EdgerecError(Exception):
    """Root of all errors that a user can do something about.

    What a file brought may stand in a message, so control characters and line ends become blanks: one line it stays.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_BREAKS.sub(" ", message))


class ConfigError(EdgerecError, ValueError):
    """A setting, an argument or a device profile is not valid."""


class DataError(EdgerecError, ValueError):
    """The log, or a table beside it, does not match the settings."""


class BundleError(EdgerecError, ValueError):
    """A bundle is damaged, unsafe or of another format."""


class MissingExtraError(EdgerecError, ImportError):
    """A package of an optional extra is not installed."""


class QualityError(EdgerecError):
    """A budget or a quality gate failed: nothing is wrong with the input."""


class RenamedWarning(FutureWarning):
    """A name of an earlier version is used; it is still read."""


@cache
def deprecated(old: str, new: str, where: str | Path) -> None:
    """Warn, once and in one line, that `where` uses a name of an earlier version.

    Args:
        old, new: as a reader would write them, such as "[data] old_key" and "[data] new_key".
        where: the file, or the command.
    """
    message = f"{where}: {old} is now called {new}; the old name is read until version {OLD_NAMES_UNTIL}"
    warnings.warn(message, RenamedWarning, stacklevel=2)


def need(module: str, extra: str, what: str = "this") -> ModuleType:
    """Import and return `module`, or say which extra brings it.

    Raises:
        MissingExtraError: `module` is not installed.

    >>> need("json", "train").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f'{what} needs {missing}, which is not installed: pip install "edgerec[{extra}]"'
        ) from error
