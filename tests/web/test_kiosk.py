"""The kiosk page in a real Chromium, with and without its server; pictures go to the folder EDGEREC_PICTURES names."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.errors import ConfigError, DataError
from edgerec.runtime import Recommender
from edgerec.ship import web
from edgerec.ship.web import embed_web
from tests import toy
from tests.web.conftest import CHROMIUM, WEB, write


def test_a_bundle_without_a_catalogue_for_browsers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no catalog.json.*set web = true in \[quantization\]"):
        embed_web(toy.write(tmp_path), tmp_path / "app", None, "en", None)
    assert not (tmp_path / "app").exists()


def test_without_a_built_engine_it_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SOURCES", (tmp_path,))
    with pytest.raises(ConfigError, match=r"engine for browsers is not built .* run tools/native wasm wasm-simd"):
        embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)
    assert not (tmp_path / "app").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not empty"):
        embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)


def test_the_worker_keeps_what_the_page_reads_and_nothing_else(tmp_path):
    embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)
    kept = json.loads((tmp_path / "app" / "files.json").read_text())["files"]
    assert {"./", "index.html", "bundle/student.bin", "edgerec/wasm/simd.js", "edgerec/wasm/scalar.js"} <= set(kept)
    assert not [name for name in kept if name.endswith((".onnx", ".sqlite", "weights.bin", "onnx.js", "node.js"))]
    assert all((tmp_path / "app" / name).exists() for name in kept)
    page = (tmp_path / "app" / "index.html").read_text()
    assert "script-src 'self' 'wasm-unsafe-eval'" in page and "unsafe-eval" not in page.replace("wasm-unsafe-eval", "")


@pytest.fixture(scope="module")
def seen(node, tmp_path_factory):
    """What a walk through the page saw; its bundle is signed, and the page pins the key."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    pytest.importorskip("cryptography")
    home = tmp_path_factory.mktemp("kiosk")
    make_keys(home / "k", home / "k.pub")
    first, newer, unsigned = write(home / "1", 60), write(home / "2", 61, version=2), write(home / "3", 61, version=2)
    for bundle in (first, newer):
        sign_bundle(bundle, home / "k")
    embed_web(first, home / "app", "Toy shop", "en", home / "k.pub")
    settings = json.loads((home / "app" / "kiosk.json").read_text()) | {"idle_s": 2, "diversity": 0}
    (home / "app" / "kiosk.json").write_text(json.dumps(settings))
    pictures = Path(os.environ.get("EDGEREC_PICTURES", home))
    command = [node, "test/kiosk.mjs", home / "app", newer, unsigned, pictures, CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    assert "failed" not in printed, printed["failed"]
    with Recommender.of(first) as rec:
        printed["popular"] = [row.title for row in rec.recommend(30)]
    return printed


slow = pytest.mark.slow


@slow
def test_it_recommends_and_a_click_changes_the_list_with_its_reason(seen):
    assert seen["first"][:3] == seen["popular"][:3] and len(seen["first"]) == 24
    assert seen["afterClick"] != seen["first"] and seen["eventsAfterClick"] == 1
    assert any(seen["first"][2] in reason or "you looked at it" in reason for reason in seen["reasons"])
    assert len(seen["related"]) == 6
    assert seen["matches"] and seen["errors"] == []


@slow
def test_nothing_of_a_visitor_is_left_when_the_page_stood_idle(seen):
    assert seen["eventsAfterIdle"] == 0 and seen["afterIdle"] == seen["first"]


@slow
def test_it_opens_with_the_server_stopped_and_asks_nobody_else(seen):
    assert seen["offline"] == seen["first"]
    assert seen["outside"] == []


@slow
def test_its_engine_runs_under_its_content_security_policy(seen):
    assert seen["strict"] == seen["first"] and not seen["strictNotice"]


@slow
def test_an_unsigned_update_is_refused_and_a_signed_one_is_taken_and_kept(seen):
    assert seen["badUpdate"].startswith("An update was refused: manifest.sig")
    assert seen["afterBadUpdate"] == seen["first"]
    assert seen["update"] == "Newer recommendations are in use"
    assert len(seen["afterUpdateOffline"]) == 24


@slow
def test_a_damaged_bundle_shows_what_is_popular_and_says_so(seen):
    assert seen["broken"] == seen["popular"]
    assert "do not work at the moment" in seen["brokenNotice"]


@slow
def test_it_is_accessible_and_fits_a_phone(seen):
    assert seen["violations"] == seen["dialogViolations"] == seen["phoneViolations"] == []
    assert not seen["phoneOverflow"] and seen["focus"] == "done"
