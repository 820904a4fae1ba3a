"""The native engine beside other scorers of a catalogue: time, agreement, start, memory and installed size.

First the conformance requests of a bundle, by each kernel and by onnxruntime. Then made-up catalogues of 64 dimensions
and three tasks: one request with 50 past items and its best 20, by the native engine from Python and from C, and by
onnxruntime with each form of the graph. Others only multiply three vectors with the table and find the best 20 of each;
`stream` only reads the table. Then a catalogue stored in a byte, four bits or codebooks: file, memory of the engine,
time to open and of a list. One thread; all take turns in one process. A start is the time of a fresh process until its
first list. Build the engine first: tools/native. What is not installed has a row that says so:
pip install faiss-cpu usearch openvino.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, perf_counter, thread_time_ns

import numpy as np
import torch

import edgerec
from edgerec.bundle import Bundle
from edgerec.compression.engine_file import engine_file
from edgerec.compression.export import ExportedStudent
from edgerec.compression.graphs import ItemTable
from edgerec.errors import ConfigError
from edgerec.runtime.graphs import GraphEngine
from edgerec.runtime.native import FOLDER, NativeEngine, encoded, library_name
from edgerec.runtime.sessions import session
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, floats, ints
from tools.benchmarks.scoring import LEAST, OURS, TASKS, Feed, made_up, others, quantized, request, written
from tools.benchmarks.shared.command import Parser, Row, add_json, print_rows, whole_numbers
from tools.benchmarks.shared.timing import Call
from tools.native_builds import FLAGS, SOURCES

DURATION = "3 minutes, 4 GB of memory"
KERNELS = ("avx512-vnni", "avx2", "sse4.1", "neon-dot", "neon", "scalar")
SIZES = (10_000, 100_000, 1_000_000)
STORED = 100_000
"""Most items of which the storages are compared."""
STORAGES = ("int8", "int4", "pq")
ROUNDS, STARTS, K = 5, 5, 20
PEERS = ("faiss", "usearch", "openvino")
PACKAGES = ("onnxruntime", "numpy", "torch", *PEERS)
START = """
import sys
from edgerec.runtime import ArrayRecommender
ArrayRecommender.of(sys.argv[1], sys.argv[2]).rank(10)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
START_ALONE = START.strip().splitlines()[-1]
START_C = Path(__file__).parent / "shared" / "start.c"


def answer(engine: GraphEngine | NativeEngine, request: Encoded, weights: Floats, k: int) -> Ints:
    """The list of an engine."""
    return engine.recommend(request, weights, ints(), k).item


def kernels(engine: NativeEngine) -> list[str]:
    """The kernels of this processor, the fastest first."""

    def runs(name: str) -> bool:
        try:
            engine.kernel = name
        except ConfigError:
            return False
        return True

    best = engine.kernel
    found = [name for name in KERNELS if runs(name)]
    engine.kernel = best
    return found


def measure(folder: Path, rounds: int = ROUNDS) -> list[Row]:
    """Figures of each engine: CPU time of a list with reasons, and how many lists are onnxruntime's own."""
    bundle = Bundle.open(folder)
    native, graphs = NativeEngine.of(bundle), GraphEngine(bundle, "onnxruntime")
    asked = [r["inputs"] for r in bundle.json("conformance.json")["requests"] if "graph" not in r]
    requests = [(encoded(inputs), floats(inputs["task_weights"])) for inputs in asked]
    k = min(K, bundle.manifest.n_items)
    names = kernels(native)
    times: dict[str, list[int]] = {name: [] for name in ("onnxruntime", *names)}
    same = dict.fromkeys(times, 0)

    def timed(name: str, call: Callable[[], Ints]) -> Ints:
        start = thread_time_ns()
        items = call()
        times[name].append(thread_time_ns() - start)
        return items

    for number in range(rounds):
        for asked_for, weights in requests:
            expected = timed("onnxruntime", lambda: answer(graphs, asked_for, weights, k))  # noqa: B023
            for name in names:
                native.kernel = name
                items = timed(name, lambda: answer(native, asked_for, weights, k))  # noqa: B023
                same[name] += number == 0 and items == expected
    same["onnxruntime"] = len(requests)
    base = statistics.median(times["onnxruntime"])
    return [
        {
            "engine": name,
            "p10_us": float(np.percentile(spent, 10)) / 1000,
            "p50_us": statistics.median(spent) / 1000,
            "of_onnxruntime": statistics.median(spent) / base,
            "same_lists": f"{same[name]} of {len(requests)}",
        }
        for name, spent in times.items()
    ]


def catalogue(n: int, folder: Path, each_s: float) -> list[Row]:
    """Figures of every scorer of `n` made-up items."""
    parts, asked = made_up(n), request(n, np.random.default_rng(0))
    content = engine_file(parts, ItemTable.of(parts, "u8s8"), {})
    assert content is not None
    native = NativeEngine(content)
    calls = native_calls(native, asked)
    graphs = {f"onnxruntime, {kernel}": written(parts, kernel, folder) for kernel in OURS.values()}
    graphs["onnxruntime, quantize_dynamic"] = quantized(folder / "fp32" / "recommend.onnx", folder)
    calls |= {name: partial(session(path, 1).run, None, asked) for name, path in graphs.items()}
    calls |= dict(others(parts.table, asked, folder))
    calls |= usearch(parts, n)
    # No code is -128, so that the search for it reads all.
    table = np.frombuffer(content, np.int8)[: n * parts.table.shape[1]].clip(-127).tobytes()
    calls["stream"] = lambda: table.find(b"\x80")
    times = in_turn(calls, each_s)
    base = min(statistics.median(ms) for name, ms in times.items() if name.startswith("onnxruntime"))
    stream = statistics.median(times["stream"])
    rows: list[Row] = [
        {
            "items": n,
            "scorer": name,
            "p10_ms": float(np.percentile(ms, 10)),
            "p50_ms": statistics.median(ms),
            "of_onnxruntime": statistics.median(ms) / base,
            "of_stream": statistics.median(ms) / stream,
        }
        for name, ms in times.items()
    ]
    rows += [
        {"items": n, "scorer": f"{name}: not installed"} for name in PEERS if name.lower() not in str([*times]).lower()
    ]
    rows.append({"items": n, "scorer": "LiteRT: reads no ONNX, and its converter is not part of it"})
    return [*rows, {"items": n, "scorer": f"native: {room_bytes(native):,} bytes beside the file"}]


def stored(n: int, each_s: float) -> Iterator[Row]:
    """What the engine takes for `n` made-up items by how their table is stored; opening a file unpacks it."""
    parts, asked = made_up(n), request(n, np.random.default_rng(0))
    contents = {name: engine_file(parts, ItemTable.of(parts, "u8s8", name), {}) for name in STORAGES}
    engines = {name: NativeEngine(content) for name, content in contents.items() if content is not None}
    opening = {name: partial(NativeEngine, content) for name, content in contents.items() if content is not None}
    lists = {name: native_calls(engine, asked)["native"] for name, engine in engines.items()}
    opened, listed = in_turn(opening, each_s), in_turn(lists, each_s)
    for name, content in contents.items():
        yield {
            "items": n,
            "stored as": name,
            "file_mb": len(content or b"") / 1e6,
            "beside_the_file_mb": room_bytes(engines[name]) / 1e6,
            "open_ms": statistics.median(opened[name]),
            "list_ms": statistics.median(listed[name]),
        }


def native_calls(native: NativeEngine, asked: Feed) -> dict[str, Call]:
    """The engine from Python; and with arrays that are made before, which leaves what C takes."""
    given = {name: value for name, value in asked.items() if name not in ("task_weights", "exclude", "k")}
    arrays, weights, exclude = encoded(given), floats(asked["task_weights"]), ints(asked["exclude"])
    calls: dict[str, Call] = {"native": lambda: native.recommend(arrays, weights, exclude, K)}
    shape, done = native.shape, native._library.edgerec_recommend
    struct, kept = native._request(vars(arrays), weights, exclude)
    out = [(ctypes.c_char * n)() for n in (8 * K, 4 * K, 4 * K * shape.tasks, 4 * K * struct.events)]
    own = native._workspace(struct.events).__enter__()

    def in_c(kernel: str, alive: object = kept) -> None:
        if native.kernel != kernel:
            native.kernel = kernel
        done(native._engine, own, ctypes.byref(struct), ctypes.c_size_t(K), *out)

    best = kernels(native)
    return calls | {f"native, C, {kernel}": partial(in_c, kernel) for kernel in reversed(best)}


def room_bytes(native: NativeEngine) -> int:
    """Bytes of the arena and of a workspace for 256 events."""
    return native._arena.size + int(native._library.edgerec_workspace_bytes(native._engine, ctypes.c_size_t(256)))


def usearch(parts: ExportedStudent, n: int) -> Mapping[str, Call]:
    """Its exact search, of the same three vectors for all."""
    try:
        from usearch.index import MetricKind, search
    except ImportError:
        return {}
    queries = np.random.default_rng(1).normal(size=(len(TASKS), parts.table.shape[1])).astype(np.float32)
    return {
        "usearch, exact": lambda: search(parts.table, queries, K, MetricKind.IP, exact=True, threads=1),
    }


def in_turn(calls: Mapping[str, Call], each_s: float) -> dict[str, list[float]]:
    """CPU times in ms of each, which take turns so that what disturbs the machine disturbs all. A call that is not
    timed goes before each, so that the caches of the processor hold its own data and not another's."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    until = monotonic() + each_s * len(calls)
    while monotonic() < until or len(times[next(iter(calls))]) < 5:
        for name, call in calls.items():
            call()
            start = thread_time_ns()
            call()
            times[name].append((thread_time_ns() - start) / 1e6)
    return times


def starts(bundle: Path) -> Iterator[Row]:
    """Time of fresh processes until their first list, and the peak that the system counts from their start."""
    environment = {**os.environ, "PYTHONPATH": str(Path(edgerec.__file__).parents[1])}
    for name in ("native", "onnxruntime"):
        yield start_of(name, [sys.executable, "-c", START, str(bundle), name], environment)
    yield start_of("python alone", [sys.executable, "-c", START_ALONE], environment)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "start"
        flags = [flag for flag in FLAGS if flag not in ("-std=c99", "-ffreestanding", "-Werror")]
        sources = map(str, sorted(SOURCES.glob("*.c")))
        build = [sys.executable, "-m", "ziglang", "cc", *flags, "-O2", f"-I{SOURCES}", *sources, str(START_C), "-o",
                 str(program)]  # fmt: skip
        if subprocess.run(build, capture_output=True, check=False).returncode:
            yield {"start": "C: not built; install ziglang"}
        else:
            yield start_of("C", [str(program), str(bundle / "student.bin")], environment)


def start_of(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Row:
    """The median of some starts; a process prints its peak in KiB."""
    times, peaks = [], []
    for _ in range(STARTS):
        start = perf_counter()
        run = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
        times.append(1000 * (perf_counter() - start))
        peaks.append(int(run.stdout))
    return {"start": name, "ms": statistics.median(times), "peak_mib": statistics.median(peaks) / 1024}


def installed() -> Iterator[Row]:
    """Bytes of the engine's library and of the packages that would do its work."""
    yield {"installed": library_name(), "bytes": (FOLDER / library_name()).stat().st_size}
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            yield {"installed": f"{name}: not installed"}
            continue
        folders = [Path(place) for place in spec.submodule_search_locations]
        folders += [libs for f in folders for libs in f.parent.glob(f"{name}*.libs")]
        yield {"installed": name, "bytes": sum(f.stat().st_size for d in folders for f in d.rglob("*") if f.is_file())}


def main(arguments: Sequence[str]) -> int:
    """Print the tables."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle with student.bin, such as runs/retail/bundle")
    parser.add_argument("--sizes", type=whole_numbers("10000,100000", LEAST), default=SIZES, help="made-up items")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each scorer and size (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print_rows(measure(options.bundle), options.json)
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print_rows(catalogue(n, Path(folder), options.seconds), options.json)
    print_rows([*stored(min(options.sizes[-1], STORED), options.seconds)], options.json)
    print_rows([*starts(options.bundle)], options.json)
    print_rows([*installed()], options.json)
    return 0
