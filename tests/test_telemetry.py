"""Nothing leaves the device: no socket, and no file but the store, by whichever package."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.ship.python import embed_python
from edgerec.telemetry import SWITCHES
from tests.runtime.test_updates import bundle

ROOT = Path(__file__).parents[1]
USE = """
import sys, time
from edgerec.runtime import Recommender
with Recommender.open(sys.argv[1], store=sys.argv[2]) as rec:
    rec.update(sys.argv[3])
    end = time.monotonic() + float(sys.argv[4])
    while True:
        rec.observe("i1")
        rec.recommend(k=3, diversity=0.5)
        rec.score(["i2"])
        rec.similar("i2")
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    rec.forget()
"""


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a bundle, its successor, and an empty home."""
    bundle(tmp_path / "app", 1)
    bundle(tmp_path / "new", 2)
    (tmp_path / "home").mkdir()
    return tmp_path


def use(place: Path, seconds: float, *before: str, package: Path = ROOT) -> None:
    """Open, update, recommend, observe and forget in a process of its own, whose home is empty."""
    files = [place / "app" / "bundle", place / "state.sqlite", place / "new" / "bundle"]
    own = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment = {**own, "HOME": str(place / "home"), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {n: v for n, v in environment.items() if not n.startswith("XDG_")}
    command = [*before, sys.executable, "-c", USE, *map(str, files), str(seconds)]
    subprocess.run(command, env=environment, cwd=place, check=True)


def kept(place: Path) -> set[str]:
    """What lies in the folder besides the bundles."""
    paths = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    return {path for path in paths if not path.startswith(("app/", "new/"))}


def test_an_empty_home_stays_empty_and_only_the_store_is_written(place):
    use(place, 0)
    assert kept(place) == {"state.sqlite"}


def test_an_embedded_app_leaves_nothing_either(place):
    embed_python(place / "app" / "bundle", place / "new" / "embedded")
    use(place, 0, package=place / "new" / "embedded")
    assert kept(place) == {"state.sqlite"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_half_a_minute_opens_no_socket(place):
    trace = place / "new" / "trace"
    use(place, 30, "strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace))
    assert re.findall(r".*\b(?:socket|connect|send(?:to|m?msg))\(.*", trace.read_text()) == []
    assert kept(place) == {"state.sqlite"}


def test_importing_edgerec_sets_the_switches_whatever_they_were():
    code = "import json, os, edgerec; print(json.dumps(dict(os.environ)))"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert SWITCHES.items() <= json.loads(run.stdout).items()


def test_an_app_that_imports_onnxruntime_first_is_warned():
    code = "import sys; sys.modules['onnxruntime'] = sys; from edgerec.runtime.sessions import onnxruntime as o; o()"
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "onnxruntime was imported before edgerec, with its telemetry on" in run.stderr


def test_one_module_imports_onnxruntime():
    importers = set()
    for path in [*(ROOT / "edgerec").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if "onnxruntime" in names:
                importers.add(path.relative_to(ROOT).as_posix())
    assert importers == set()
    assert 'import_module("onnxruntime")' in (ROOT / "edgerec" / "runtime" / "sessions.py").read_text("utf-8")
