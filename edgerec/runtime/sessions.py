"""The only place that imports onnxruntime; its telemetry is off."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from edgerec.errors import MissingExtraError
from edgerec.telemetry import VARIABLE, switch_off, was_too_late


def onnxruntime() -> ModuleType:
    """The module, imported when it is first asked for.

    Raises:
        MissingExtraError: it is not installed.
    """
    switch_off()  # again: an app may have changed its environment since edgerec was imported
    if was_too_late():
        warnings.warn(
            f"onnxruntime was imported before edgerec, with its telemetry on: import edgerec first, or set {VARIABLE}",
            stacklevel=2,
        )
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError('onnxruntime is not installed: pip install onnxruntime, or engine="numpy"') from error


def session(graph: Path, threads: int = 0) -> Any:
    """An `InferenceSession` on the CPU, for a graph in a file; 0 threads are onnxruntime's own choice.

    Raises:
        Exception: of onnxruntime's own; they have no common root.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
