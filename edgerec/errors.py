"""The error tree. Every message is one line: what, where, what was expected, what to do."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["BundleError", "ConfigError", "DataError", "EdgerecError", "MissingExtraError", "QualityError", "need"]


class EdgerecError(Exception):
    """Root of all errors that a user can do something about; the CLI prints it on one line."""


class ConfigError(EdgerecError, ValueError):
    """A settings file says something it must not."""


class DataError(EdgerecError, ValueError):
    """The log, or a table beside it, is not what the settings say."""


class BundleError(EdgerecError, ValueError):
    """A bundle is damaged, unsafe or of another format."""


class MissingExtraError(EdgerecError, ImportError):
    """A part needs an extra that is not installed."""


class QualityError(EdgerecError):
    """A budget or a quality gate failed: nothing is wrong with the input."""


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
