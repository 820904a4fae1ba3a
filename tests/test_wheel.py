"""The light install as a stranger gets it: a wheel from the tree, no extras, an empty environment."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from edgerec import __version__

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
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


def test_the_light_install_recommends_from_a_bundle(python, toy_bundle, tmp_path):
    code = f"""
import json
from edgerec.runtime import Recommender
with Recommender.open({str(toy_bundle)!r}) as recommender:
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
