"""The folder for a Python app runs without edgerec, and its README is true."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from edgerec.bundle import write_bundle
from edgerec.errors import BundleError, DataError
from edgerec.ship.python import embed_python, folder_size
from tests import toy

HEAVY = {"typer", "torch", "polars", "pydantic", "onnx", "pandas"}


@pytest.fixture
def folder(toy_bundle, tmp_path):
    report = embed_python(toy_bundle, tmp_path / "app")
    assert report.bundle_bytes == sum(p.stat().st_size for p in toy_bundle.iterdir())
    return tmp_path / "app"


def run(folder, code, stdin=""):
    """Runs code in the folder: what is imported as edgerec is the folder's own, or the run fails."""
    guard = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import edgerec; assert {str(folder)!r} in edgerec.__file__\n"
    )
    tail = "\nprint('LOADED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    command = [sys.executable, "-P", "-c", guard + code + tail]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True, check=True).stdout


def test_the_example_recommends_learns_and_forgets(folder):
    printed = run(folder, "import app; app.main()", "8\nmore i3\nwhy i7\nwhy i99\nhelp\nforget\nquit\n")
    assert "toy 1, 8 items" in printed
    assert "Item 7" in printed and "popular now" in printed
    assert "Explanation(item='i7'" in printed and "no item 'i99'" in printed
    assert HEAVY.isdisjoint(printed.split("LOADED")[1].split())


@pytest.mark.parametrize(
    ("student", "policy", "packages"),
    [
        (False, {}, ["numpy", "onnxruntime"]),
        (True, {}, []),
        (True, {"explore": {"places": 1}}, ["numpy"]),
        (True, {"adapt": {}}, ["numpy"]),
    ],
)
def test_the_lock_names_what_the_bundle_needs(tmp_path, student, policy, packages):
    content = toy.files(tmp_path, 8, 4) | {"policy.json": json.dumps(policy).encode()}
    write_bundle(tmp_path / "bundle", content | ({"student.bin": b"any"} if student else {}), toy.manifest(8, 4))
    report = embed_python(tmp_path / "bundle", tmp_path / "app")
    lock = (tmp_path / "app" / "requirements.lock").read_text().splitlines()[1:]

    assert [re.sub(r"==\d[\w.]*$", "", line) for line in lock] == packages == list(report.packages)


def test_a_package_that_is_not_here_has_no_version(toy_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.ship.python.version", version_of_none)
    embed_python(toy_bundle, tmp_path / "app")

    assert (tmp_path / "app" / "requirements.lock").read_text().splitlines()[1:] == ["numpy", "onnxruntime"]


def version_of_none(name):
    raise PackageNotFoundError(name)


def test_the_runtime_is_less_than_a_megabyte(folder):
    assert folder_size(folder / "edgerec") < 1_000_000


def test_the_code_of_its_readme_runs(folder):
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(blocks) == 3
    printed = run(folder, "\n".join(blocks))
    assert "the old version stays in use: /media/usb/shop-v2: no bundle here" in printed


def test_a_damaged_bundle_and_a_folder_in_use_are_refused(folder, toy_bundle, tmp_path):
    with pytest.raises(DataError, match="exists and is not empty"):
        embed_python(toy_bundle, folder)
    (toy_bundle / "weights.bin").write_bytes(b"")
    with pytest.raises(BundleError):
        embed_python(toy_bundle, tmp_path / "other")
    assert not (tmp_path / "other").exists()
