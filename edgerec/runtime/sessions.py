"""The only place that imports onnxruntime; its telemetry is off."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from edgerec.errors import MissingExtraError
from edgerec.runtime.onnx_file import WEIGHTS
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
        raise MissingExtraError('onnxruntime is not installed: pip install "edgerec[onnx]"') from error


def session(graph: Path | bytes, threads: int = 0, weights: bytes | None = None) -> Any:
    """An `InferenceSession` on the CPU; 0 threads are onnxruntime's own choice.

    Args:
        graph: a file, or its content.
        weights: the content of weights.bin, for a graph that is given as content. Then no file is read, so that what
            was verified is what is used, whatever happens to the files.
    Raises:
        Exception: of onnxruntime's own; they have no common root.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if weights is not None:
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    content = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
