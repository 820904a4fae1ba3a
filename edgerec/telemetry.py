"""Nothing leaves the device: what the packages below edgerec would tell their makers is switched off.

The switches are environment variables that must be set before those packages are imported, so importing edgerec sets
them, and processes that it starts inherit them. Nothing is lost by it but the reports themselves.
"""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["SWITCHES", "switch_off", "was_too_late"]

VARIABLE: Final = "ORT_DISABLE_TELEMETRY"
SWITCHES: Final = {
    VARIABLE: "1",  # since 1.29: an id of the device and a queue of events below ~/.cache, sent to its maker
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, optimum: versions of packages, with each download
    "DISABLE_SAFETENSORS_CONVERSION": "true",  # transformers: asks a server to convert a model that lacks safetensors
    "RAY_USAGE_STATS_ENABLED": "0",  # ray: cluster size and libraries, every hour
    "DO_NOT_TRACK": "1",  # whatever else heeds the common name for it
}
"""A test traces a device's calls, with onnxruntime 1.32.0. For the others, the sources of huggingface_hub 0.36.2 and
transformers 4.57.6 were read; ray's switch is from its documentation. No code that reports was found in lightning
2.6.6, optuna 5.0.0, polars 2.1.0, optimum 2.1.0 and lightgbm 4.7.0."""

_loaded_before = sys.modules.get("onnxruntime") is not None and os.environ.get(VARIABLE) != "1"


def switch_off() -> None:
    """Set the variables, whatever they were: the promise is edgerec's."""
    os.environ.update(SWITCHES)


def was_too_late() -> bool:
    """Whether onnxruntime was imported, with its telemetry on, before edgerec was: then it cannot be stopped."""
    return _loaded_before
