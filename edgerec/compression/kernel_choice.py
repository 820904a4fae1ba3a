"""Chooses the kernel of a bundle's graphs: the profile's, unless float32 does better on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.compression.catalog_filter import among, without
from edgerec.compression.export import ExportedStudent
from edgerec.compression.graph import pack
from edgerec.compression.graphs import Expectation, ItemTable, recommend_graph
from edgerec.config import QuantizationConfig
from edgerec.devices import Profile
from edgerec.runtime.sessions import session
from edgerec.tasks import Encoded

FAITHFUL = 0.8
"""Least overlap of the ten best items of INT8 with those of float32."""
SLOWER = 1.5
"""INT8 may take this many times as long as float32: in a small catalogue both are fast, and INT8 has a quarter of
the bytes."""
MOST_ITEMS = 100_000
"""Most items of the catalogue that is measured."""
K = 10
"""Length of the lists that are compared."""
CALLS = 15
"""Timed calls for each request and graph."""


@dataclass(frozen=True)
class KernelChoice:
    """A kernel and, in a sentence, why it was chosen.

    Attributes:
        overlap: of its ten best items with those of float32, 0 to 1; None if it was not measured.
        ms, fp32_ms: median time of a recommend graph on this machine, with the kernel and in float32.
    """

    kernel: str
    why: str
    overlap: float | None = None
    ms: float | None = None
    fp32_ms: float | None = None


def choose_kernel(
    exported: ExportedStudent,
    quantization: QuantizationConfig,
    device: Profile,
    expectations: Mapping[str, Expectation],
    requests: Sequence[Encoded],
    scratch: Path,
    most_items: int = MOST_ITEMS,
) -> KernelChoice:
    """The kernel of ``[quantization]``, or with "auto" the device's own one, compared with float32 on this machine.

    Args:
        requests: on which they are compared. scratch: an empty folder.
        most_items: the comparison uses so many items of the catalogue.
    """
    asked, table = quantization.kernel, quantization.table
    if asked != "auto":
        return KernelChoice(asked, f"graph kernel {asked}, as the settings say")
    if device.kernel == "fp32":
        return KernelChoice("fp32", f"graph kernel fp32, as the profile of {device.name} says")
    # A part of a large catalogue is representative, and all of it in float32 might not fit in memory.
    exported = without(exported, np.arange(most_items, len(exported.table)))
    requests = [among(np.arange(len(exported.table)), request) for request in requests]
    sessions = {}
    for kernel in (device.kernel, "fp32"):
        folder = scratch / f"try-{kernel}"
        folder.mkdir()
        (model,), _ = pack(
            [recommend_graph(exported, ItemTable.of(exported, kernel, table), expectations)], folder / "weights.bin"
        )
        (folder / "recommend.onnx").write_bytes(model)
        sessions[kernel] = session(folder / "recommend.onnx", device.threads)
    k = min(K, len(exported.table))
    overlap, ms = _compared(sessions[device.kernel], sessions["fp32"], requests, len(exported.tasks), k)
    return decide(device.kernel, device.name, overlap, *ms, device.runtime)


def decide(
    kernel: str, device: str, overlap: float, ms: float, fp32_ms: float, runtime: str = "onnxruntime"
) -> KernelChoice:
    """`kernel`, if it finds nearly the same items as float32 and is not much slower where onnxruntime runs it."""
    measured = f"{ms:.2f} ms, float32 {fp32_ms:.2f} ms, {overlap:.1%} of the ten best items are the same"
    if overlap < FAITHFUL:
        return KernelChoice("fp32", f"graph kernel fp32: INT8 finds other items ({measured})", overlap, ms, fp32_ms)
    if ms > SLOWER * fp32_ms and runtime != "native":
        return KernelChoice("fp32", f"graph kernel fp32: INT8 is slower ({measured})", overlap, ms, fp32_ms)
    reason = "faster than float32" if ms < fp32_ms else "smaller than float32 and hardly slower"
    return KernelChoice(kernel, f"graph kernel {kernel} of {device}: {reason} ({measured})", overlap, ms, fp32_ms)


def _compared(
    ours: Any, fp32: Any, requests: Sequence[Encoded], tasks: int, k: int
) -> tuple[float, tuple[float, float]]:
    """The overlap of the k best items, and the median time of both, which take turns on the same requests."""
    known = {i.name for i in fp32.get_inputs()}
    same: list[float] = []
    times: tuple[list[float], list[float]] = ([], [])
    for request in requests:
        for weights in np.eye(tasks, dtype=np.float32):
            inputs = {
                **vars(request), "task_weights": weights, "exclude": np.zeros(0, np.int64), "k": np.array(k, np.int64)
            }  # fmt: skip
            feed = {name: np.asarray(value) for name, value in inputs.items() if name in known}
            lists = [set(one.run(["item"], feed)[0].tolist()) for one in (ours, fp32)]
            same.append(len(lists[0] & lists[1]) / k)
        for _ in range(CALLS):
            for one, of in zip((ours, fp32), times, strict=True):
                start = time.perf_counter()
                one.run(None, feed)
                of.append(1000 * (time.perf_counter() - start))
    return statistics.mean(same), (statistics.median(times[0]), statistics.median(times[1]))
