"""What is used is what was verified, and nothing is done with an update before it is believed."""

import json
import resource
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgerec.bundle import Bundle
from edgerec.bundle.delta import make_delta
from edgerec.bundle.difference import make_patch
from edgerec.bundle.manifest import check_name
from edgerec.bundle.patch import apply_patch
from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.errors import BundleError
from edgerec.runtime import Recommender
from edgerec.runtime.onnx_file import read_graph
from tests import toy
from tests.runtime.test_updates import bundle

NOW = toy.NOW_MS
ENGINES = pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
GRAPHS = ("recommend.onnx", "score.onnx", "similar.onnx", "vectors.onnx")


def all_answers(rec):
    listed = rec.recommend(k=8, now=NOW, diversity=0.4)
    return [(r.item, r.title, round(r.utility, 6)) for r in [*listed, *rec.score(["i2"], now=NOW), *rec.similar("i3")]]


# --- check, then use later ---


@ENGINES
def test_nothing_that_happens_to_the_files_is_noticed_once_it_is_open(tmp_path, toy_bundle, engine):
    with Recommender.of(toy_bundle, engine) as rec:
        wanted = all_answers(rec)
    copy = shutil.copytree(toy_bundle, tmp_path / "copy")
    rec = Recommender.of(copy, engine)
    for path in copy.iterdir():
        with path.open("r+b") as file:  # cut off in place, which ends a process that has mapped it
            file.truncate(path.stat().st_size // 3)
    shutil.rmtree(copy)
    assert all_answers(rec) == wanted
    rec.close()


@ENGINES
@pytest.mark.parametrize("name", ["weights.bin", "policy.json", "catalog.sqlite", *GRAPHS])
def test_a_file_that_is_exchanged_between_check_and_use_is_refused(toy_bundle, engine, name):
    opened = Bundle.open(toy_bundle)
    path = toy_bundle / name
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match=r"damaged|expected"):
        Recommender.of(opened, engine)
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        Recommender.of(opened, engine)


def test_the_manifest_is_read_once(toy_bundle, tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    make_keys(tmp_path / "k", tmp_path / "k.pub")
    sign_bundle(toy_bundle, tmp_path / "k")
    signed, opened = (toy_bundle / "manifest.json").read_bytes(), Path.open
    reads = []

    def swapping(self, *arguments, **keys):
        if self.name == "manifest.json":
            reads.append(1)
            self.write_bytes(signed.replace(b'"version":1', b'"version":9')) if len(reads) == 1 else None
        return opened(self, *arguments, **keys)

    monkeypatch.setattr(Path, "open", swapping)
    with pytest.raises(BundleError, match="the signature is not valid"):
        Bundle.open(toy_bundle, tmp_path / "k.pub")
    assert len(reads) == 2  # once for the bundle; the swap above opens it too


# --- an update is believed before it is used ---


LIMITS = "import resource, sys\nresource.setrlimit(resource.RLIMIT_DATA, (700 << 20,) * 2)\n" \
         "resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20,) * 2)\n" \
         "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"  # fmt: skip


def refused(app, source, key=None):
    """The error of an update in a process that may take 0.7 GB, write 64 MB and compute for 20 seconds."""
    code = LIMITS + (
        "from edgerec.errors import BundleError\nfrom edgerec.runtime import Recommender\n"
        "with Recommender.open(sys.argv[1], public_key=sys.argv[3] or None, engine='numpy') as rec:\n"
        "    try: rec.update(sys.argv[2])\n    except BundleError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(app), str(source), str(key or "")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture
def signed(tmp_path):
    pytest.importorskip("cryptography")
    make_keys(tmp_path / "k", tmp_path / "k.pub")
    app = bundle(tmp_path / "app", 1)
    sign_bundle(app, tmp_path / "k")
    return app


def swollen(folder, size):
    """Make a bundle claim that weights.bin has `size` zeros, which takes no room on the disk."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["weights.bin"] |= {"bytes": size, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(size)
    return folder


@pytest.mark.parametrize("pinned", [True, False])
def test_a_small_bundle_that_claims_gigabytes_is_refused_by_its_manifest(tmp_path, signed, pinned):
    source = swollen(bundle(tmp_path / "v2", 2), 4 << 30)
    said = refused(signed, source, tmp_path / "k.pub" if pinned else None)
    assert ("is not signed" if pinned else "this device takes at most") in said


@pytest.mark.parametrize("pinned", [True, False])
def test_a_small_delta_that_claims_gigabytes_is_refused_by_its_manifest(tmp_path, signed, pinned):
    make_delta(signed, bundle(tmp_path / "v2", 2, n_items=9), tmp_path / "delta")
    manifest = json.loads((tmp_path / "delta" / "manifest.new").read_bytes())
    manifest["files"]["weights.bin"]["bytes"] = 900_000_000
    (tmp_path / "delta" / "manifest.new").write_text(json.dumps(manifest))
    bomb = zlib.compress(b"\0" + bytes([0x80, 0xD2, 0x93, 0xAD, 3]) + bytes(900_000_000), 1)
    (tmp_path / "delta" / "weights.bin.patch").write_bytes(bomb)
    said = refused(signed, tmp_path / "delta", tmp_path / "k.pub" if pinned else None)
    assert ("is not signed" if pinned else "this device takes at most") in said


def test_a_patch_unpacks_no_more_than_its_file_and_in_little_memory():
    bomb = zlib.compress(b"\0\xff\xff\xff\x7f" + bytes(50_000_000))
    with pytest.raises(BundleError, match="leads out of its file"):
        apply_patch(b"", bomb, 1000)
    with pytest.raises(BundleError, match="leads out of its file"):
        apply_patch(b"x" * 100, zlib.compress(b"\1\0\x64" * 11), 1000)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 10_000), st.integers(0, 7))
def test_a_damaged_patch_gives_the_file_or_an_error(old, new, at, bit):
    patch = bytearray(make_patch(old, old[:200] + new))
    assert apply_patch(old, bytes(patch), len(old[:200] + new)) == old[:200] + new
    patch[at % len(patch)] ^= 1 << bit
    try:
        assert len(apply_patch(old, bytes(patch), len(old[:200] + new))) == len(old[:200] + new)
    except BundleError as error:
        assert "damaged patch" in str(error)


# --- manifests ---


WRONG = [
    {"device": {"threads": 2000}}, {"device": {"threads": "x"}}, {"device": {"threads": 0}},
    {"device": {"threads": 1e308}}, {"n_items": 10**12}, {"dim": 10**9}, {"version": 10**30}, {"n_items": True},
    {"tasks": [{"name": f"t{i}", "kind": "binary"} for i in range(300)]},
    {"tensors": [{"name": "a", "type": "int8", "shape": [], "offset": 10**30, "bytes": 1}]},
    {"inputs": {}}, {"inputs": {"history": {"kinds": [], "max_items": 10**12}}},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda c: str(c)[:40])
def test_every_number_of_a_manifest_has_a_bound(toy_bundle, change):
    manifest = json.loads((toy_bundle / "manifest.json").read_bytes()) | change
    (toy_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError) as caught:
        Recommender.of(toy_bundle).close()
    assert "\n" not in str(caught.value)


def test_a_long_manifest_is_refused_before_it_is_parsed(toy_bundle):
    with (toy_bundle / "manifest.json").open("ab") as file:
        file.truncate(60 << 20)
    with pytest.raises(BundleError, match="this is not a manifest"):
        Bundle.open(toy_bundle)


@pytest.mark.parametrize("name", ["NUL", "con", "aux.bin", "COM1.onnx", "lpt9", "weights.bin.", "a..", "CON.tar.gz"])
def test_names_that_windows_takes_for_something_else_are_refused(name):
    with pytest.raises(BundleError, match="not a plain file name"):
        check_name(name)


@pytest.mark.parametrize("name", ["console.bin", "com.bin", "nul_1", "a.b", "lpt10"])
def test_names_that_only_look_like_it_are_taken(name):
    check_name(name)


@pytest.mark.parametrize("name", [".DS_Store", "._weights.bin", "Thumbs.db", "desktop.ini"])
def test_what_file_managers_leave_is_passed_over(toy_bundle, name):
    (toy_bundle / name).write_bytes(b"x")
    assert len(Recommender.of(toy_bundle).recommend(k=3)) == 3


@pytest.mark.parametrize("name", ["thumbs", ".hidden", "extra.onnx", "weights.bin~", ".DS_Store.so"])
def test_every_other_file_is_one_too_many(toy_bundle, name):
    (toy_bundle / name).write_bytes(b"x")
    with pytest.raises(BundleError, match="not listed"):
        Bundle.open(toy_bundle)


# --- graphs ---


def raw(name, location="weights.bin", *more):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16"), *more):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(nodes, constants=(), **keys):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph(nodes, "g", [value], [out], initializer=list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **keys)


def loop():
    body = helper.make_graph([], "body", [], [])
    return helper.make_node("Loop", ["", ""], ["y"], body=body)


ADD = helper.make_node("Add", ["x", "c"], ["y"])
PLAIN = model([ADD], [raw("c")]).SerializeToString()


def test_a_graph_that_is_told_once_is_read():
    assert read_graph(PLAIN, np.arange(4, dtype=np.float32).tobytes(), "g").constants["c"].tolist() == [0, 1, 2, 3]


HOSTILE = {
    "location twice": model([ADD], [raw("c", "weights.bin", ("location", "../secret"))]).SerializeToString(),
    "location twice, the good one last": model(
        [ADD], [raw("c", "../secret", ("location", "weights.bin"))]
    ).SerializeToString(),
    "two graphs": PLAIN + model([ADD], [raw("c", "../secret")]).SerializeToString(),
    "two graphs, the good one last": model([ADD], [raw("c", "/etc/passwd")]).SerializeToString() + PLAIN,
    "a loop": model([loop()]).SerializeToString(),
    "an operator of another kind": model([helper.make_node("StringNormalizer", ["x"], ["y"])]).SerializeToString(),
    "a function": model(
        [ADD], [raw("c")], functions=[onnx.FunctionProto(name="Add", domain="")]
    ).SerializeToString(),
    "a domain": model([helper.make_node("Add", ["x", "x"], ["y"], domain="evil")]).SerializeToString(),
    "a number for a name": PLAIN + b"\x38\x01",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_graph_that_two_readers_could_read_differently_is_refused(name):
    with pytest.raises(BundleError, match="does not load"):
        read_graph(HOSTILE[name], bytes(64), "g")


@ENGINES
@pytest.mark.parametrize("name", HOSTILE)
def test_no_engine_loads_a_hostile_graph(tmp_path, engine, name):
    folder = bundle(tmp_path / "b", 1, content={"score.onnx": HOSTILE[name]})
    with pytest.raises(BundleError, match="does not load"):
        Recommender.of(folder, engine)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_graph_is_read_or_refused_in_one_line(data):
    content = bytearray(toy_graph)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_graph(bytes(content), bytes(4096), "g")
    except BundleError as error:
        assert "\n" not in str(error)


toy_graph = toy.graphs(8, 4, True)["recommend.onnx"]


def test_an_update_that_takes_all_memory_fails_its_self_test(tmp_path):
    app = bundle(tmp_path / "app", 1)
    huge = helper.make_tensor("n", TensorProto.INT64, [1], [2_000_000_000])
    nodes = [helper.make_node("Expand", ["one", "n"], ["big"]), helper.make_node("ReduceSum", ["big"], ["s"])]
    score = onnx.load_from_string(toy.graphs(8, 4, True)["recommend.onnx"])
    score.graph.node.extend([*nodes, helper.make_node("Add", ["utility", "s"], ["more"])])
    score.graph.initializer.append(huge)
    score.graph.output[1].name = "more"
    score.graph.node[-1].output[0] = "utility2"
    score.graph.output[1].name = "utility"
    for node in score.graph.node[:-3]:
        node.output[:] = ["utility0" if o == "utility" else o for o in node.output]
        node.input[:] = ["utility0" if i == "utility" else i for i in node.input]
    score.graph.node[-1].input[0], score.graph.node[-1].output[0] = "utility0", "utility"
    new = bundle(tmp_path / "v2", 2, content={"recommend.onnx": score.SerializeToString()})
    with Recommender.open(app) as rec:
        with pytest.raises(BundleError, match="self-test failed"):
            rec.update(new)
        assert rec.bundle.manifest.version == 1
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20
