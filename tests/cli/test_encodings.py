"""What Windows does to text: an output of 256 characters, and settings that begin with a byte order mark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.bundle import write_bundle, write_catalog
from edgerec.config import Config
from edgerec.devices import load_profile
from tests import tiny, toy

TITLES = ["Чайник", "茶壶", "🫖 teapot", "Tasse Café"]


@pytest.fixture
def foreign(tmp_path):
    """The toy bundle with titles that no encoding of 256 characters has."""
    files = toy.files(tmp_path, 4, 4)
    items = [{**item, "title": title} for item, title in zip(toy.items(4), TITLES, strict=True)]
    write_catalog(tmp_path / "c.sqlite", items, ["price", "colour"])
    write_bundle(tmp_path / "b", {**files, "catalog.sqlite": tmp_path / "c.sqlite"}, toy.manifest(4, 4))
    return tmp_path / "b"


def run(*arguments):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "edgerec", "recommend", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_table_replaces_what_the_output_cannot_show(foreign):
    assert "Tasse Café" in run(foreign, "--k", 4).decode("cp1252")


def test_json_is_whole_in_any_encoding(foreign):
    assert {item["title"] for item in json.loads(run(foreign, "--k", 4, "--json"))["items"]} == set(TITLES)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    tiny.write(tmp_path)
    path = tmp_path / "edgerec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + tiny.toml(tiny.settings()).encode())
    assert Config.load(path).name
    profile = (Path(__file__).parents[2] / "devices" / "kiosk-x86.toml").read_bytes()
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + profile)
    assert load_profile(tmp_path / "mine.toml").cores == load_profile("kiosk-x86").cores
