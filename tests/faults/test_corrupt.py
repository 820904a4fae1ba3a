"""Three hundred damaged and hostile bundles: none is accepted, none takes the process down, none reaches outside."""

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgerec.bundle.manifest import sha256_of
from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.errors import BundleError
from edgerec.files import dump_json
from edgerec.runtime import Recommender
from tests import toy

pytest.importorskip("cryptography", reason="the extra sign is not installed")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A signed bundle and the key that an app pins."""
    home = tmp_path_factory.mktemp("signed")
    make_keys(home / "k", home / "k.pub")
    folder = toy.write(home)
    sign_bundle(folder, home / "k")
    return folder, home / "k.pub"


@pytest.fixture
def copy(signed, tmp_path):
    """Makes a fresh copy to damage."""
    numbers = iter(range(10**6))

    def copied():
        return shutil.copytree(signed[0], tmp_path / str(next(numbers)))

    return copied


def refused(folder, key=None):
    with pytest.raises(BundleError) as caught, Recommender.open(folder, public_key=key, engine="numpy") as rec:
        rec.recommend(k=3)
        rec.check()
    assert "\n" not in str(caught.value)


def test_no_flipped_bit_is_accepted_130_times(copy, signed):
    choose = random.Random(0)
    for _ in range(130):
        folder = copy()
        path = choose.choice(sorted(folder.iterdir()))
        content = bytearray(path.read_bytes())
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(content)
        refused(folder, signed[1])


def test_no_cut_or_longer_file_is_accepted_60_times(copy, signed):
    choose = random.Random(1)
    for number in range(60):
        folder = copy()
        path = choose.choice(sorted(folder.iterdir()))
        content = path.read_bytes()
        if path.name.startswith("manifest") or number % 2:
            content = content[: choose.randrange(len(content) - 1)]
        else:
            content += bytes(choose.randrange(1, 99))
        path.write_bytes(content)
        refused(folder, signed[1])


def test_no_files_that_changed_places_are_accepted_30_times(copy, signed):
    choose = random.Random(2)
    for _ in range(30):
        folder = copy()
        while True:
            a, b = choose.sample(sorted(folder.iterdir()), 2)
            if a.read_bytes() != b.read_bytes():
                break
        content = a.read_bytes()
        a.write_bytes(b.read_bytes())
        b.write_bytes(content)
        refused(folder, signed[1])


def hashed_again(folder):
    """As one who may write the manifest, but has no key, would do."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name in manifest["files"]:
        path = folder / name
        manifest["files"][name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    (folder / "manifest.json").write_bytes(dump_json(manifest))
    (folder / "manifest.sig").unlink(missing_ok=True)


NAMES = ["../weights.bin", "/etc/passwd", "a/b", "..", "C:x", "a\\b", "a\0b", "CON ", "", "é", "x" * 200, "WEIGHTS.BIN",
         "manifest.sig", "./weights.bin", "weights.bin\n"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out_of_a_bundle(copy, name):
    folder = copy()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = manifest["files"]["weights.bin"]
    (folder / "manifest.json").write_bytes(dump_json(manifest))
    refused(folder)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo", "socket", "linked manifest"])
def test_no_link_and_nothing_but_files_is_read(copy, kind, tmp_path):
    folder = copy()
    path = folder / ("manifest.json" if kind == "linked manifest" else "weights.bin")
    outside = tmp_path / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    if kind in ("link", "linked manifest"):
        path.symlink_to(outside)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        import socket

        here = Path.cwd()
        os.chdir(folder)
        with closing(socket.socket(socket.AF_UNIX)) as s:
            s.bind("weights.bin")
        os.chdir(here)
    refused(folder)


def with_sql(*statements):
    def damage(folder):
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()

    return damage


def with_page(number):
    def damage(folder):
        content = bytearray((folder / "catalog.sqlite").read_bytes())
        content[number * 4096 : (number + 1) * 4096] = b"\xaa" * 4096
        (folder / "catalog.sqlite").write_bytes(content)

    return damage


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
CATALOGS = {
    "a view that never ends": with_sql("ALTER TABLE items RENAME TO old", f"CREATE VIEW items AS {ENDLESS}"),
    "a trigger": with_sql("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END"),
    "another table": with_sql("CREATE TABLE more(x)"),
    "a virtual table": with_sql("CREATE VIRTUAL TABLE f USING fts5(x)"),
    "a computed column": with_sql("ALTER TABLE items ADD COLUMN big AS (zeroblob(900000000))"),
    "items that are missing": with_sql("DELETE FROM items WHERE idx = 0"),
    "items too few": with_sql("DELETE FROM items WHERE idx > 3"),
    "negative places": with_sql("UPDATE items SET idx = -5 WHERE idx = 0"),
    "no table": with_sql("DROP TABLE items"),
    "another shape": with_sql("ALTER TABLE items RENAME COLUMN id TO other"),
    "a broken schema": with_page(0),
    "broken rows": with_page(1),
    "no database": lambda folder: (folder / "catalog.sqlite").write_bytes(b"x" * 8192),
    "nothing": lambda folder: (folder / "catalog.sqlite").write_bytes(b""),
}


@pytest.mark.parametrize("kind", CATALOGS)
def test_a_hostile_catalogue_is_refused(copy, kind):
    folder = copy()
    CATALOGS[kind](folder)
    hashed_again(folder)
    refused(folder)


def test_titles_that_are_no_text_do_no_harm(copy):
    folder = copy()
    with_sql("UPDATE items SET title = x'ff00ff'", "UPDATE items SET price = 'much'", "UPDATE items SET colour = 7")(
        folder
    )
    hashed_again(folder)
    with Recommender.of(folder) as rec:
        assert rec.recommend(k=8, where="price < 3") == []
        assert all(isinstance(r.title, str) for r in rec.recommend(k=8))


def external(location, offset, length):
    def damage(folder):
        model = onnx.load(folder / "recommend.onnx", load_external_data=False)
        (tensor,) = (t for t in model.graph.initializer if t.name == "table")
        del tensor.external_data[:]
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        (folder / "recommend.onnx").write_bytes(model.SerializeToString())

    return damage


def huge(folder):
    model = onnx.load(folder / "recommend.onnx", load_external_data=False)
    (tensor,) = (t for t in model.graph.initializer if t.name == "table")
    tensor.dims[:] = [2**40, 2**40]
    (folder / "recommend.onnx").write_bytes(model.SerializeToString())


def nested(folder):
    graph = onnx.GraphProto(name="x")
    for _ in range(20):
        outer = onnx.GraphProto(name="x")
        node = outer.node.add(op_type="If")
        node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)
        graph = outer
    (folder / "recommend.onnx").write_bytes(onnx.ModelProto(graph=graph, ir_version=8).SerializeToString())


GRAPHS = {
    "outside": external("../../outside.bin", 0, 128),
    "absolute": external("/etc/passwd", 0, 128),
    "a device": external("/dev/zero", 0, 128),
    "another file": external("catalog.sqlite", 0, 128),
    "beyond the end": external("weights.bin", 1 << 40, 128),
    "before the start": external("weights.bin", -64, 128),
    "too long": external("weights.bin", 0, 1 << 40),
    "huge": huge,
    "nested": nested,
    "zeros": lambda folder: (folder / "recommend.onnx").write_bytes(bytes(4096)),
    "ones": lambda folder: (folder / "recommend.onnx").write_bytes(b"\xff" * 4096),
    "text": lambda folder: (folder / "recommend.onnx").write_bytes(b"import os" * 99),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
@pytest.mark.parametrize("kind", GRAPHS)
def test_a_hostile_graph_is_refused_by_both_engines(copy, kind, engine):
    folder = copy()
    GRAPHS[kind](folder)
    hashed_again(folder)
    with pytest.raises(BundleError):
        Recommender.of(folder, engine)


def test_random_bytes_in_a_graph_take_no_engine_down_50_times(copy):
    """Hashed again and unsigned, such a graph may load: then it answers something, or the bundle's own test tells."""
    choose, told = random.Random(3), 0
    for number in range(50):
        folder = copy()
        content = bytearray((folder / "recommend.onnx").read_bytes())
        for _ in range(choose.randrange(1, 6)):
            content[choose.randrange(len(content))] = choose.randrange(256)
        (folder / "recommend.onnx").write_bytes(content)
        hashed_again(folder)
        try:
            with Recommender.of(folder, "onnxruntime" if number % 2 else "numpy") as rec:
                rec.check()
        except BundleError:
            told += 1
    assert told > 25


def test_policy_conformance_and_weights_that_are_hostile_are_refused(copy):
    eval_requests = {
        "policy.json": [b"[" * 50_000, b'{"rules": [{"name": "x", "keep": "' + b"(" * 5000 + b'"}]}', b"null", b"\xff"],
        "conformance.json": [b"{}", b'{"requests": [{}]}', b'{"requests": [{"graph": "../x", "inputs": {}}]}',
                             b'{"requests": 5}', b'{"requests": [{"inputs": {"k": "x"}, "expect": {}}]}'],
        "weights.bin": [b"", bytes(10)],
    }  # fmt: skip
    for name, contents in eval_requests.items():
        for content in contents:
            folder = copy()
            (folder / name).write_bytes(content)
            hashed_again(folder)
            refused(folder)
    assert np.dtype(np.float32).itemsize == 4 and TensorProto.FLOAT == 1
