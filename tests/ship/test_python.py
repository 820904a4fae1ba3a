"""The folder for a Python app runs without edgerec, and its README is true."""

import re
import subprocess
import sys

import pytest

from edgerec.errors import BundleError, DataError
from edgerec.ship.python import DEPENDENCIES, embed_python

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


def test_the_lock_names_what_was_tested(folder):
    lock = (folder / "requirements.lock").read_text().splitlines()[1:]
    assert [re.sub("==.*", "", line) for line in lock] == list(DEPENDENCIES)
    assert all(re.fullmatch(r"[a-z]+==\d[\w.]*", line) for line in lock)


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
