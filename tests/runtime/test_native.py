"""The native engine: the lists of onnxruntime, the same bits by every kernel, and no crash whatever a file holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from edgerec.bundle import Bundle, write_bundle
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime import Recommender, native
from edgerec.runtime.engine import OUTPUTS, open_engine, say_once
from edgerec.runtime.graphs import GraphEngine
from edgerec.runtime.native import NativeEngine
from edgerec.runtime.sessions import session
from edgerec.tasks import scored_tasks
from tests import toy
from tests.native.students import NARROW, TASKS, WIDE, random_requests, random_student
from tools.native_builds import BUILDS, SOURCES, amalgamation, compile_library
from tools.native_probe import FLUSHED, PROCESSORS, answers, emulator, in_node, probe

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
def asked(requests):
    """The requests for recommendations alone."""
    return [r["inputs"] for r in requests if "graph" not in r]


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


def test_every_kernel_gives_the_same_bits(engine, asked):
    expected, tried = answers(engine, asked), []
    for kernel in KERNELS:
        try:
            engine.kernel = kernel
        except ConfigError:
            continue
        tried.append(engine.kernel)
        assert answers(engine, asked) == expected
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


def test_threads_share_an_engine(engine, asked):
    expected = answers(engine, asked)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: answers(engine, asked), range(16))) == {expected}


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


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-DFLUSH",), ("-O1",), ('-DKERNEL="scalar"', "-DFLUSH")])
def test_flushed_subnormals_and_other_rounding_of_the_host_change_no_bit(engine, student, asked, tmp_path, flags):
    if "x86_64" not in native.library_name():
        pytest.skip("the control word that is set is that of x86-64")
    program = probe(tmp_path, replace(FLUSHED, flags=flags), student, asked)

    assert subprocess.run([program], capture_output=True, check=True).stdout == answers(engine, asked)


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: p.name)
def test_other_processors_give_the_same_bits(engine, student, asked, tmp_path, processor):
    if (qemu := emulator(processor)) is None:
        pytest.skip(f"qemu-{processor.qemu} is not installed: apt-get install qemu-user-static")
    program = probe(tmp_path, processor, student, asked)

    assert subprocess.run([qemu, program], capture_output=True, check=True).stdout == answers(engine, asked)


@pytest.mark.slow
@pytest.mark.parametrize("build", ["wasm", "wasm-simd"])
def test_webassembly_gives_the_same_bits(engine, bundle, asked, tmp_path, build):
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    files = [bundle.path(name) for name in ("student.bin", "conformance.json")]

    assert in_node(tmp_path, build, *files) == answers(engine, asked)
    assert (tmp_path / BUILDS[build].file).stat().st_size <= 32 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_any_compiler_makes_the_same_library_of_the_single_file(engine, student, asked, tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    (tmp_path / "edgerec.c").write_text(amalgamation())
    shutil.copy(SOURCES / "edgerec.h", tmp_path)
    flags = ["-std=c99", "-O2", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, "edgerec.c", "-o", "edgerec.so"], cwd=tmp_path, check=True)

    assert answers(NativeEngine(student, path=tmp_path / "edgerec.so"), asked) == answers(engine, asked)


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


@pytest.mark.slow
def test_a_library_that_is_built_again_is_a_new_file_beside_the_loaded_one(tmp_path):
    pytest.importorskip("ziglang")
    build = BUILDS["linux-x86_64"]
    first = compile_library(build, tmp_path)
    with first.open("rb") as loaded:
        compile_library(build, tmp_path)
        assert os.fstat(loaded.fileno()).st_ino != first.stat().st_ino
        assert loaded.read() == first.read_bytes()
