"""The light install as a stranger gets it: a wheel from the tree, no extras, an empty environment."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from edgerec import __version__
from tools import native_builds

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    native_builds.main([name for name, build in native_builds.BUILDS.items() if build.python])
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    return python


def said_by(python: Path, *arguments: str, cwd: Path) -> str:
    """Standard output of the installed package, away from the tree."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run([python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_wheel_brings_the_version_and_the_command(python, tmp_path):
    assert said_by(python, python.with_name("edgerec"), "--version", cwd=tmp_path) == f"edgerec {__version__}\n"
    assert "recommend" in said_by(python, python.with_name("edgerec"), "--help", cwd=tmp_path)


def test_the_wheel_brings_the_device_profiles(python, tmp_path):
    code = "from edgerec.devices import list_profiles; print(*(p.name for p in list_profiles()))"
    names = said_by(python, "-c", code, cwd=tmp_path).split()

    assert names == sorted(path.stem for path in (ROOT / "devices").glob("*.toml"))
    assert names


def test_the_wheel_brings_the_native_engine_for_each_system_in_less_than_a_quarter_megabyte(wheel):
    with zipfile.ZipFile(wheel) as packed:
        libraries = [entry for entry in packed.infolist() if "/runtime/libraries/" in entry.filename]

    assert {Path(entry.filename).name for entry in libraries} >= {
        native_builds.library_name(*system)
        for system in (("linux", "x86_64"), ("linux", "arm64"), ("darwin", "arm64"), ("win32", "AMD64"))
    }
    assert sum(entry.compress_size for entry in libraries) < 250_000


def test_the_wheel_has_no_data_and_is_small(wheel):
    with zipfile.ZipFile(wheel) as packed:
        large = {entry.filename: entry.compress_size for entry in packed.infolist() if entry.compress_size > 40_000}
        samples = {Path(name).name for name in packed.namelist() if "/samples/" in name}

    assert not large
    assert "edgerec.toml" in samples and not [name for name in samples if name.endswith(".parquet")]
    assert wheel.stat().st_size < 1_200_000  # of which Python's sources, that of the training too, are 0.75


def test_the_demo_of_an_installed_package_says_where_its_data_are(python, tmp_path):
    edgerec = python.with_name("edgerec")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [python, edgerec, "demo", "retail"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "give the folder edgerec/samples/retail of the source with --data" in run.stderr


def test_the_light_install_says_how_to_use_a_bundle_without_the_native_engines_file(python, toy_bundle, tmp_path):
    code = f"from edgerec.runtime import Recommender; Recommender.open({str(toy_bundle)!r})"
    run = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.stderr.splitlines()[-1].endswith(
        'its graphs need onnxruntime, or numpy at least: pip install "edgerec[onnx]"'
    )


def test_the_light_install_recommends_from_a_bundle(python, tiny_chain, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_chain / "run" / "bundle", bundle)
    code = f"""
import json, sys
from edgerec.runtime import Recommender
with Recommender.open({str(bundle)!r}) as recommender:
    assert recommender.health()["engine"] == "native" and {{"numpy", "onnxruntime"}}.isdisjoint(sys.modules)
    item, _ = recommender.arrays.named(3)
    recommender.observe(item)
    print(json.dumps([r.item for r in recommender.recommend(k=3, explain=True)]))
"""
    assert len(json.loads(said_by(python, "-c", code, cwd=tmp_path))) == 3


def test_the_light_install_says_which_extra_is_missing(python, tmp_path):
    (tmp_path / "edgerec.toml").write_text(
        'name = "shop"\n[data]\ninteractions = "log.csv"\nuser = "u"\nitem = "i"\ntime = "t"\n'
        '[[task]]\nname = "next"\nkind = "retrieval"\n'
    )
    edgerec = python.with_name("edgerec")
    run = subprocess.run([python, edgerec, "run"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert 'which is not installed: pip install "edgerec[train]"' in run.stderr
