"""From an interaction log to a recommender that runs inside an app. Importing this loads nothing else.

It switches off the telemetry of the packages below it; see `edgerec.telemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgerec.telemetry import switch_off

if TYPE_CHECKING:
    from edgerec.notebook import prepare

__all__ = ["__version__", "prepare"]

__version__ = "0.2.1"

switch_off()


def __getattr__(name: str) -> Any:
    if name == "prepare":
        from edgerec.notebook import prepare  # loads pydantic and polars

        return prepare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
