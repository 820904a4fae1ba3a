"""Milliseconds of one recommend() graph for 10 thousand to a million items, beside other scorers of a catalogue.

One thread, one run, all in turn, made-up items. The graphs include everything: history, task vectors, prior, repeats,
exclusion, probabilities and the best 20. numpy, torch and faiss only multiply three given vectors with the table and
find the best 20 of each, faiss by its own index. `quantize_dynamic` is onnxruntime's own conversion of the fp32 graph
to INT8. What is not installed is left out, with a line that says so: pip install faiss-cpu openvino.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import torch

from edgerec.compression.export import ExportedStudent, export_student
from edgerec.compression.graph import pack
from edgerec.compression.graphs import ItemTable, recommend_graph
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.runtime.sessions import session
from edgerec.tasks import Task
from tools.benchmarks.shared.command import Parser, print_titled, whole_numbers
from tools.benchmarks.shared.timing import Call, timed_ms

DURATION = "2 minutes, 4 GB of memory"
SIZES = (10_000, 100_000, 1_000_000)
DIM, HIDDEN, HEADS = 64, 128, 4
TASKS = (Task("next", "retrieval"), Task("new", "retrieval", repeats="exclude"), Task("click", "binary", "click"))
PAST, EXCLUDED, K = 50, 10, 20
LONGEST_S = 600
LEAST = 1000
"""Items, so that past, excluded and best ones are a small part of them."""
REQUESTS = 20
"""Different requests that the best 20 are compared on."""
OURS = {"edgerec INT8, u8s8": "u8s8", "edgerec INT8, nbits8": "nbits8", "edgerec fp32": "fp32"}
FP32 = "edgerec fp32"
SPARSE = "edgerec INT8, u8s8, nine tenths zeros"
Feed: TypeAlias = Mapping[str, npt.NDArray[Any]]


def main(arguments: Sequence[str]) -> int:
    """Print a table for each size."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("--sizes", type=sizes, default=SIZES, help="items, such as 10000,100000")
    parser.add_argument("--seconds", type=seconds, default=3.0, help="of each scorer and size (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in ("faiss", "openvino"):
        if find_spec(name) is None:
            print(f"{name} is not installed and left out", file=sys.stderr)
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            columns, rows = compare(n, Path(folder), options.seconds)
        print_titled((f"{n:,} items of {DIM} dimensions, {len(TASKS)} tasks, one thread", columns, rows))
    return 0


sizes = whole_numbers("10000,100000", LEAST)


def seconds(given: str) -> float:
    """A time, as the command line gives it.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    try:
        parsed = float(given)
    except ValueError:
        parsed = math.nan
    if not 0 < parsed <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"expected seconds, above 0 and at most {LONGEST_S}, got {given!r}")
    return parsed


def compare(n: int, folder: Path, each_s: float) -> tuple[Sequence[str], list[list[object]]]:
    """Medians in ms, how many times slower than the portable INT8 graph, and the overlap with fp32's best 20."""
    parts, rng = made_up(n), np.random.default_rng(0)
    feeds = [request(n, rng) for _ in range(REQUESTS)]
    sessions = {name: session(written(parts, kernel, folder), 1) for name, kernel in OURS.items()}
    sessions["quantize_dynamic of fp32"] = session(quantized(folder / "fp32" / "recommend.onnx", folder), 1)
    overlap = _overlaps(sessions, feeds)
    sessions[SPARSE] = session(written(sparse(parts), "u8s8", folder / "sparse"), 1)
    calls: dict[str, Call] = {name: partial(graph.run, None, feeds[0]) for name, graph in sessions.items()}
    calls |= dict(others(parts.table, feeds[0], folder))
    times = timed(calls, each_s)
    base = times[next(iter(OURS))]
    rows: list[list[object]] = [[name, ms, ms / base, overlap.get(name)] for name, ms in times.items()]
    return ("", "ms", "of u8s8", f"best {K} of fp32"), rows


def _overlaps(sessions: Mapping[str, Any], feeds: Sequence[Feed]) -> dict[str, float]:
    """How many of the best items of the fp32 graph each graph has too."""
    best = {name: [set(graph.run(["item"], f)[0].tolist()) for f in feeds] for name, graph in sessions.items()}
    return {
        name: statistics.mean(len(a & b) for a, b in zip(lists, best[FP32], strict=True))
        for name, lists in best.items()
    }


def made_up(n: int) -> ExportedStudent:
    """A student with random weights and a table of `n` random rows."""
    torch.manual_seed(0)
    shape = Shape(1, 2, (8, 25, 8), 8, (), 0, 0, 4)
    features = ItemFeatures(torch.zeros(1, 0), torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0))
    student = Student(shape, features, len(TASKS), StudentSizes.of(DIM, HIDDEN, HEADS)).eval()
    parts = export_student(student, np.zeros((1, 4), np.float32), TASKS)
    rng = np.random.default_rng(0)
    table = rng.normal(scale=0.3, size=(n, DIM)).astype(np.float32)
    scales = (np.abs(table).max(axis=1) / 127).astype(np.float32)
    prior = rng.normal(size=(len(TASKS), n)).astype(np.float32)
    return replace(parts, table=table, scales=scales, prior=prior)


def sparse(parts: ExportedStudent) -> ExportedStudent:
    """The same with the smallest nine tenths of the table's numbers set to zero, as unstructured pruning does it."""
    return replace(parts, table=sparse_table(parts.table))


def sparse_table(table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A table without the smallest nine tenths of its numbers."""
    size = np.abs(table)
    return np.where(size < np.quantile(size[:10_000], 0.9), np.float32(0), table)


def request(n: int, rng: np.random.Generator) -> Feed:
    """A user with a past, who is not to be shown some items."""
    age = np.sort(rng.exponential(500, PAST))[::-1].astype(np.float32)
    return {
        "history": rng.choice(n, PAST, replace=False),
        "history_kind": rng.integers(0, 2, PAST),
        "history_count": np.ones(PAST, np.float32),
        "history_age_h": age,
        "history_interval_h": np.zeros(PAST, np.float32),
        "context_categorical": np.array([1, 2, 3]),
        "context_numeric": rng.normal(size=8).astype(np.float32),
        "task_weights": np.array([1, 0.5, 0.01], np.float32),
        "exclude": rng.choice(n, EXCLUDED, replace=False),
        "k": np.array(K),
    }


def written(parts: ExportedStudent, kernel: str, folder: Path) -> Path:
    """The recommend graph with this kernel."""
    place = folder / kernel
    place.mkdir(parents=True)
    (model,), _ = pack([recommend_graph(parts, ItemTable.of(parts, kernel), {})], place / "weights.bin")
    (place / "recommend.onnx").write_bytes(model)
    return place / "recommend.onnx"


def quantized(path: Path, folder: Path) -> Path:
    """What `quantize_dynamic` makes of a graph."""
    from onnxruntime.quantization import quantize_dynamic

    out = folder / "dynamic.onnx"
    quantize_dynamic(onnx.load(str(path)), out, use_external_data_format=True)
    return out


def others(table: npt.NDArray[np.float32], feed: Feed, folder: Path) -> Iterator[tuple[str, Call]]:
    """Scorers without a graph of ours: three queries, the best 20 of each."""
    queries = np.random.default_rng(1).normal(size=(len(TASKS), table.shape[1])).astype(np.float32)
    columns = np.ascontiguousarray(table.T)
    yield "numpy, matmul and argpartition", lambda: np.argpartition(-(queries @ columns), K, axis=1)[:, :K]
    from scipy.sparse import csr_array

    few = csr_array(sparse_table(table))
    yield "scipy, sparse matmul of nine tenths zeros", lambda: np.argpartition(-(few @ queries.T).T, K, axis=1)[:, :K]
    tensors = torch.from_numpy(queries), torch.from_numpy(columns)
    yield "torch, matmul and topk", lambda: (tensors[0] @ tensors[1]).topk(K, dim=1)
    if find_spec("faiss") is not None:
        import faiss

        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(table.shape[1])
        flat.add(table)
        yield "faiss FlatIP", lambda: flat.search(queries, K)
        quantized = faiss.IndexScalarQuantizer(
            table.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        quantized.train(table[:100_000])
        quantized.add(table)
        yield "faiss SQ8", lambda: quantized.search(queries, K)
    if find_spec("openvino") is not None:
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(
            str(folder / "fp32" / "recommend.onnx"), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        )
        inputs = {port.any_name: feed[port.any_name] for port in compiled.inputs}
        yield "OpenVINO, the fp32 graph", lambda: compiled(inputs)


def timed(calls: Mapping[str, Call], each_s: float) -> dict[str, float]:
    """Median ms of each, which take turns so that what disturbs the machine disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    until = time.monotonic() + each_s * len(calls)
    while time.monotonic() < until or len(times[next(iter(calls))]) < 5:
        for name, call in calls.items():
            times[name].append(timed_ms(call))
    return {name: statistics.median(ms) for name, ms in times.items()}
