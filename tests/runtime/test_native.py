"""The native engine: the lists of onnxruntime, the same bits by every kernel, and no crash whatever a file holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from edgerec.bundle import Bundle, write_bundle
from edgerec.compression.export import export_student
from edgerec.compression.graphs import Expectation
from edgerec.compression.quantization import write_graphs
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.runtime import Recommender, native
from edgerec.runtime.engine import OUTPUTS, open_engine, say_once
from edgerec.runtime.graphs import GraphEngine
from edgerec.runtime.native import NativeEngine
from edgerec.runtime.sessions import session
from edgerec.tasks import Task, scored_tasks
from tests import toy
from tools.native_builds import BUILDS, FLAGS, SOURCES, amalgamation, compile_library

PROBES = Path(__file__).parents[1] / "native"
KERNELS = ("avx512-vnni", "avx2", "sse4.1", "neon-dot", "neon", "scalar")
NONE = np.zeros(0, np.int64)
NOTHING = 1e-7
"""Probabilities below are 0 in onnxruntime, whose sigmoid ends at -18."""


@pytest.fixture(scope="session")
def bundle(tiny_chain):
    return Bundle.open(tiny_chain / "run" / "bundle")


@pytest.fixture(scope="session")
def requests(bundle):
    return bundle.json("conformance.json")["requests"]


@pytest.fixture(scope="session")
def student(bundle):
    return bundle.read("student.bin")


@pytest.fixture
def engine(student, native_library):
    return NativeEngine(student, path=native_library)


@pytest.fixture(scope="session")
def graphs(bundle):
    return GraphEngine(bundle, "onnxruntime")


def compare(got, expected, rtol=1e-4):
    """All outputs, and the order of all items whose utilities differ; rows of the others are of other items."""
    got, expected = ({name: np.asarray(value) for name, value in of.items()} for of in (got, expected))
    listed = next((n for n in ("item", "related") if n in expected), None)
    same = slice(None) if listed is None else got[listed] == expected[listed]
    for name, value in expected.items():
        if name != listed:
            rows = same if value.ndim > 1 else slice(None)
            finite = value[rows][np.isfinite(value[rows])]
            # Reasons and utilities are sums of both signs, which may cancel each other.
            scale = 0 if name == "probability" else np.abs(finite).max(initial=0)
            np.testing.assert_allclose(got[name][rows], value[rows], rtol, max(rtol * scale, NOTHING))
    if listed is not None:
        rank = expected["utility" if listed == "item" else "score"]
        assert ((np.abs(rank[:, None] - rank[~same]) <= NOTHING).sum(axis=0) > 1).all(), "items are in another order"


def answers(engine, requests):
    """All results as bytes."""
    found = [engine.run(r.get("graph", "recommend.onnx"), r["inputs"]).values() for r in requests]
    return b"".join(np.asarray(value).tobytes() for values in found for value in values)


def test_it_gives_the_lists_of_onnxruntime(engine, graphs, requests):
    for request in requests:
        name = request.get("graph", "recommend.onnx")
        compare(engine.run(name, request["inputs"]), graphs.run(name, request["inputs"]))


def test_it_scores_candidates_as_onnxruntime_does(engine, graphs, requests):
    for request in requests:
        if "graph" not in request:
            inputs = {**request["inputs"], "candidates": [39, 0, 7, 7]}
            compare(engine.run("score.onnx", inputs), graphs.run("score.onnx", inputs))


def test_rows_of_the_item_table_are_the_same_to_the_bit(engine, graphs):
    np.testing.assert_array_equal(engine.vectors(np.arange(40)), graphs.vectors(np.arange(40)))


def test_every_kernel_gives_the_same_bits(engine, requests):
    expected, tried = answers(engine, requests), []
    for kernel in KERNELS:
        try:
            engine.kernel = kernel
        except ConfigError:
            continue
        tried.append(engine.kernel)
        assert answers(engine, requests) == expected
    assert tried[-1] == "scalar"
    assert len(tried) > 1


def test_a_kernel_that_this_processor_lacks_is_refused(engine):
    with pytest.raises(ConfigError, match="no kernel 'abacus'"):
        engine.kernel = "abacus"


def test_excluded_items_come_last_without_utility(engine, requests):
    inputs = {**requests[1]["inputs"], "exclude": [*range(0, 40, 2), 0], "k": 40}

    got = engine.run("recommend.onnx", inputs)

    assert set(got["item"][:20]) == set(range(1, 40, 2))
    assert got["item"][20:].tolist() == list(range(0, 40, 2))
    assert np.isneginf(got["utility"][20:]).all()


def test_threads_share_an_engine(engine, requests):
    expected = answers(engine, requests)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: answers(engine, requests), range(16))) == {expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [("history", [40]), ("history", [-1]), ("history_kind", [4]), ("history_count", [0.0]),
     ("history_age_h", [float("nan")]), ("context_categorical", [0, 0, 0, 99]), ("exclude", [40]), ("k", 41), ("k", 0)],
)  # fmt: skip
def test_a_request_out_of_range_is_refused_in_one_line(engine, requests, name, value):
    one = {"history": [0], "history_kind": [0], "history_count": [1.0], "history_age_h": [1.0],
           "history_interval_h": [0.0]}  # fmt: skip
    with pytest.raises(BundleError, match=r"student\.bin: an index of the request is out of range"):
        engine.run("recommend.onnx", {**requests[1]["inputs"], **one, name: value})


def test_arrays_that_do_not_fit_never_reach_the_library(engine, requests):
    with pytest.raises(BundleError, match="which do not fit"):
        engine.run("recommend.onnx", {**requests[1]["inputs"], "context_numeric": [0.0]})


def test_auto_takes_it_and_says_so(bundle, native_library, monkeypatch):
    monkeypatch.setattr(native, "FOLDER", native_library.parent)
    with Recommender.of(bundle) as rec:
        assert rec.health()["engine"] == "native"
        assert rec.check() == len(bundle.json("conformance.json")["requests"])
        first = [r.item for r in rec.recommend(k=5)]
    with Recommender.of(bundle, "onnxruntime") as rec:
        assert [r.item for r in rec.recommend(k=5)] == first


def test_without_a_library_auto_falls_back_with_one_line(bundle, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    say_once.cache_clear()

    assert [open_engine(bundle).name for _ in range(2)] == ["onnxruntime"] * 2
    assert [r.getMessage().count("\n") for r in caplog.records] == [0]
    assert "no library for this machine" in caplog.text
    with pytest.raises(MissingExtraError, match="run tools/native"):
        open_engine(bundle, "native")


def test_an_old_bundle_without_the_file_still_opens(tmp_path):
    old = Bundle.open(toy.write(tmp_path))

    assert open_engine(old).name == "onnxruntime"
    with pytest.raises(BundleError, match=r"has no student\.bin; build it again"):
        open_engine(old, "native")


def rewritten(bundle, folder, **files):
    """The bundle with other contents of some files, and hashes to match."""
    contents = {name: bundle.path(name) for name in bundle.manifest.files}
    write_bundle(folder, {**contents, **files}, json.loads(bundle.manifest_bytes))
    return Bundle.open(folder)


def test_auto_leaves_it_where_its_answers_are_not_the_bundles(
    bundle, student, native_library, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(native, "FOLDER", native_library.parent)
    at = int.from_bytes(student[128 + 16 : 128 + 24], "little")  # of the item table
    other = student[:at] + bytes(320) + student[at + 320 :]
    wrong = rewritten(bundle, tmp_path / "wrong", **{"student.bin": other})

    assert open_engine(wrong).name == "onnxruntime"
    assert "conformance request" in caplog.text


def test_a_file_of_another_student_is_refused(bundle, student, native_library, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "FOLDER", native_library.parent)
    manifest = json.loads(bundle.manifest_bytes) | {"dim": 9}
    write_bundle(tmp_path / "b", {name: bundle.path(name) for name in bundle.manifest.files}, manifest)

    with pytest.raises(BundleError, match="has 8 dim, the manifest 9"):
        open_engine(Bundle.open(tmp_path / "b"), "native")


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [(0, b"x", "are no student.bin"), (8, b"\2", "another format version"), (24, b"\0\1", "is damaged"),
     (28, b"\0", "is damaged"), (16, b"\0", "is damaged"), (128 + 16, b"\1", "is damaged")],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_one_line(student, native_library, at, value, why):
    with pytest.raises(BundleError, match=f"^student.bin: .*{why}"):
        NativeEngine(student[:at] + value + student[at + len(value) :], path=native_library)


DAMAGE = """
import sys
from pathlib import Path
import numpy as np
from edgerec.errors import EdgerecError
from edgerec.runtime.native import NativeEngine
import json
whole, requests = Path(sys.argv[1]).read_bytes(), json.loads(Path(sys.argv[2]).read_text())["requests"]
rng, opened, refused = np.random.default_rng(0), 0, 0
for _ in range(400):
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        most = [128, 1600, len(whole)][rng.integers(3)]
        damaged[rng.integers(most)] = [0, 1, 127, 128, 255, rng.integers(256)][rng.integers(6)]
    if rng.integers(8) == 0:
        del damaged[rng.integers(len(damaged)):]
    try:
        engine = NativeEngine(bytes(damaged), path=Path(sys.argv[3]))
        opened += 1
        for request in (requests[1], requests[-1]):
            engine.run(request.get("graph", "recommend.onnx"), request["inputs"])
    except EdgerecError:
        refused += 1
print(opened, refused)
"""


def test_a_damaged_file_is_refused_or_answers_but_never_crashes(bundle, native_library):
    files = [str(bundle.path(name)) for name in ("student.bin", "conformance.json")]
    command = [sys.executable, "-c", DAMAGE, *files, str(native_library)]

    run = subprocess.run(command, capture_output=True, text=True, check=True)  # a crash would end this process

    opened, refused = map(int, run.stdout.split())
    assert opened > 20
    assert refused > 100


def sanitized(folder, source, times):
    """Output of tests/native/damage.c, compiled with the sanitizers of this machine's own compiler."""
    compiler = shutil.which("clang") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler with an address sanitizer: install gcc or clang")
    program = folder / "damage"
    build = [compiler, "-std=c11", "-O1", "-g", "-Wno-unknown-pragmas", "-ffp-contract=off",
             "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCES}",
             *map(str, sorted(SOURCES.glob("*.c"))), str(PROBES / "damage.c"), "-o", str(program)]  # fmt: skip
    if (built := subprocess.run(build, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"the sanitizers are not installed: {built.stderr[-200:]}")
    return subprocess.run([program, source, str(times), "1"], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_sanitizers_find_nothing_in_damaged_files(bundle, tmp_path):
    run = sanitized(tmp_path, str(bundle.path("student.bin")), 20_000)

    assert run.returncode == 0, run.stderr[:2000]
    assert int(run.stdout.split()[0]) > 1000


TASKS = (
    Task("next", "retrieval"),
    Task("new", "retrieval", repeats="exclude"),
    Task("click", "binary"),
    Task("like", "binary", after="click"),
    Task("watch", "regression"),
    Task("related", "related"),
)


def random_student(folder, n, categories, storage, tasks, **sizes):
    """Files of a student with random weights; its graphs are the judge."""
    torch.manual_seed(n)
    shape = Shape(n, 4, categories, 9, (), 0, 0, 4)
    features = ItemFeatures(torch.zeros(n, 0), torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))
    student = Student(shape, features, len(scored_tasks(tasks)), StudentSizes(**sizes))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.normal_(std=0.2)
        student.step.zero_()
    if student.transitions is not None:
        student.transitions.item.copy_(torch.randint(n, student.transitions.item.shape))
    exported = export_student(student, np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32), tasks)
    expectations = {t.name: Expectation(0.3, 1.0, 50.0) for t in tasks if t.kind == "regression"}
    write_graphs(exported, "u8s8", storage, expectations, folder)


def random_requests(n, categories, tasks, count=40):
    """Histories of 0 to 70 items, some of them long ago."""
    rng = np.random.default_rng(1)
    for number in range(count):
        events = int(rng.integers(70)) if number else 0
        yield {
            "history": rng.permutation(n)[:events],
            "history_kind": rng.integers(4, size=events),
            "history_count": rng.integers(1, 5, events).astype(np.float32),
            "history_age_h": np.sort(rng.exponential(300, events).astype(np.float32))[::-1].copy(),
            "history_interval_h": rng.exponential(50, events).astype(np.float32),
            "context_categorical": np.array([rng.integers(size) for size in categories], np.int64),
            "context_numeric": rng.normal(size=9).astype(np.float32),
            "task_weights": rng.normal(size=tasks).astype(np.float32) if number % 3 else np.ones(tasks, np.float32),
            "exclude": rng.permutation(n)[: rng.integers(n // 2)],
            "k": np.array(20),
        }


NARROW = {"heads": 2, "inner": 12, "context": 20, "pooling": 17, "repeat": 9, "head": 33, "item": 8}
WIDE = {"heads": 4, "inner": 96, "context": 300, "pooling": 64, "repeat": 31, "head": 80, "item": 8}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "categories", "storage", "tasks", "sizes"),
    [
        (1000, (3, 5), "int8", TASKS, {"dim": 50, "transitions": 5, **NARROW}),
        (131, (), "int8", TASKS[2:3], {"dim": 7, **NARROW}),
        (4000, (200, 24), "int4", TASKS[:2], {"dim": 64, **WIDE}),
        (900, (2,), "pq", TASKS[2:], {"dim": 33, "transitions": 20, **WIDE}),
        (70_000, (2,), "int8", TASKS[:3], {"dim": 16, "transitions": 2, **NARROW}),
    ],
)
def test_students_of_all_kinds_give_the_lists_of_their_graphs(
    native_library, tmp_path, n, categories, storage, tasks, sizes
):
    random_student(tmp_path, n, categories, storage, tasks, **sizes)
    scored = len(scored_tasks(tasks))
    ours = NativeEngine((tmp_path / "student.bin").read_bytes(), path=native_library)
    graphs = {name: session(tmp_path / name) for name in OUTPUTS if (tmp_path / name).exists()}

    def both(name, inputs):
        known = {i.name for i in graphs[name].get_inputs()}
        feed = {k: v for k, v in inputs.items() if k in known}
        got = ours.run(name, inputs)
        expected = dict(zip(OUTPUTS[name], graphs[name].run(OUTPUTS[name], feed), strict=True))
        # An entry of a task vector may round the other way, which moves these large random logits by so much.
        compare(got, expected, 1e-3)
        for listed in {"item", "related"} & expected.keys():
            np.testing.assert_array_equal(got[listed], expected[listed])

    for request in random_requests(n, categories, scored):
        both("recommend.onnx", request)
        both("score.onnx", request | {"candidates": np.arange(0, n, 61)})
    for item in range(0, n, n // 5) if "similar.onnx" in graphs else ():
        both("similar.onnx", {"item": np.array(item), "exclude": np.arange(0, n, 7), "k": np.array(20)})
    np.testing.assert_array_equal(
        ours.vectors(np.arange(0, n, 9)), graphs["vectors.onnx"].run(None, {"item": np.arange(0, n, 9)})[0]
    )


def array(name, kind, values):
    return f"static const {kind} {name}[] = {{{','.join(values)}}};\n"


def data(student, requests):
    """data.h of tests/native/probe.c."""
    lines = ["#define K 10\n", f"#define STUDENT_BYTES {len(student)}\n", "_Alignas(64) "]
    lines += [array("student", "uint8_t", map(str, student))]
    rows = []
    names = ("history", "history_kind", "history_count", "history_age_h", "history_interval_h",
             "context_categorical", "context_numeric", "task_weights", "exclude")  # fmt: skip
    for i, request in enumerate(requests):
        for name in names:
            whole = name in ("history", "history_kind", "context_categorical", "exclude")
            values = request["inputs"][name]
            texts = map(str, values) if whole else (f"{float(np.float32(v)).hex()}f" for v in values)
            lines.append(array(f"{name}_{i}", "int64_t" if whole else "float", texts or ["0"]))
        events, excluded = len(request["inputs"]["history"]), len(request["inputs"]["exclude"])
        at = [f"{name}_{i}" for name in names]
        rows.append(f"{{{', '.join([*at[:5], str(events), *at[5:], str(excluded)])}}}")
    lines.append(f"static const edgerec_request requests[] = {{{', '.join(rows)}}};\n")
    return "".join(lines)


def probed(folder, target, student, requests, *flags):
    """The program of tests/native/probe.c for a target."""
    (folder / "data.h").write_text(data(student, requests))
    (folder / "edgerec.c").write_text(amalgamation())
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *(f for f in FLAGS if f != "-Werror"),
               "-std=c11", "-O2", f"-I{SOURCES}", f"-I{folder}", "-nostdlib", "-static", *flags,
               str(PROBES / "probe.c"), "-o", str(folder / "probe")]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, check=True)
    return folder / "probe"


@pytest.fixture(scope="session")
def asked(requests):
    """The requests for recommendations alone."""
    return [r for r in requests if "graph" not in r]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-DFLUSH",), ("-O1",), ('-DKERNEL="scalar"', "-DFLUSH")])
def test_flushed_subnormals_and_other_rounding_of_the_host_change_no_bit(engine, student, asked, tmp_path, flags):
    if "x86_64" not in native.library_name():
        pytest.skip("the control word that is set is that of x86-64")
    program = probed(tmp_path, "x86_64-linux-musl", student, asked, *flags)

    assert subprocess.run([program], capture_output=True, check=True).stdout == answers(engine, asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "target", "flags"),
    [("aarch64", "aarch64-linux-musl", ()), ("aarch64", "aarch64-linux-musl", ('-DKERNEL="neon"',)),
     ("arm", "arm-linux-musleabihf", ("-mcpu=cortex_a7",)), ("riscv64", "riscv64-linux-musl", ())],
)  # fmt: skip
def test_other_processors_give_the_same_bits(engine, student, asked, tmp_path, processor, target, flags):
    qemu = shutil.which(f"qemu-{processor}-static") or shutil.which(f"qemu-{processor}")
    if qemu is None:
        pytest.skip(f"qemu-{processor} is not installed: apt-get install qemu-user-static")
    program = probed(tmp_path, target, student, asked, *flags)

    assert subprocess.run([qemu, program], capture_output=True, check=True).stdout == answers(engine, asked)


@pytest.mark.slow
@pytest.mark.parametrize("build", ["wasm", "wasm-simd"])
def test_webassembly_gives_the_same_bits(engine, bundle, asked, tmp_path, build):
    if (node := shutil.which("node")) is None:
        pytest.skip("Node is not installed")
    wasm = compile_library(BUILDS[build], tmp_path)
    files = [str(bundle.path(name)) for name in ("student.bin", "conformance.json")]

    run = subprocess.run([node, PROBES / "probe.mjs", wasm, *files, "10"], capture_output=True, check=True)

    assert run.stdout == answers(engine, asked)
    assert wasm.stat().st_size <= 32 * 1024


def test_the_single_file_needs_nothing_but_its_header():
    text = amalgamation()

    assert '#include "edgerec.h"' in text
    assert '.inc"' not in text
    assert '"internal.h"' not in text


def test_the_engine_is_short():
    """It is to be read in an afternoon: at most 2,200 lines."""
    assert sum(len(path.read_text().splitlines()) for path in SOURCES.iterdir() if path.suffix != ".md") <= 2200


@pytest.mark.slow
def test_a_library_is_built_twice_with_the_same_bytes(tmp_path):
    pytest.importorskip("ziglang")
    build = BUILDS["linux-arm64"]

    assert len({compile_library(build, tmp_path / name).read_bytes() for name in ("a", "b/c")}) == 1
