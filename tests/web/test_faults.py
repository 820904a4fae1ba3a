"""The faults of tools/benchmark faults, small, in JavaScript: nothing is lost or accepted, and nothing crashes."""

import base64
import json
import subprocess

import pytest

from edgerec.bundle.sign import make_keys, public_key_of, sign_bundle
from tests.web.conftest import CHROMIUM, WEB, write

CLASSES = {"damagedBundles": 100, "forgedBundles": 130, "exchanged": 30, "kills": 90, "disks": 100,
           "damagedStores": 150, "clocks": 19, "noDatabase": 2}  # fmt: skip
"""By name, the least number of trials."""


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    home = tmp_path_factory.mktemp("faults")
    make_keys(home / "k", home / "k.pub")
    folder = write(home / "a", 12)
    sign_bundle(folder, home / "k")
    return folder, list(base64.b64decode(public_key_of(home / "k.pub")))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_faults_does_no_harm_in_javascript(node, signed, name):
    folder, key = signed
    job = json.dumps({"folder": str(folder), "key": key, "classes": [name]})
    run = subprocess.run(
        [node, "test/faults.mjs"], cwd=WEB, input=job, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    count = json.loads(run.stdout)[name]
    notes = "\n".join(count.pop("notes")[:8])
    assert count.pop("trials") >= CLASSES[name]
    assert count == {"lost": 0, "accepted": 0, "crashed": 0}, notes


@pytest.mark.slow
def test_a_database_of_a_page_may_be_cleared_full_or_odd_and_nothing_is_lost_or_doubled(node):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    command = [node, "test/store.mjs", CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout)
    assert seen["twice"] == [True, True] and seen["atOnce"] == ["a", "b", "c", "d"]
    assert seen["bounded"] == seen["odd"] == ["b", "c", "d", "e", "f"]
    assert seen["cleared"] == [[], True, ["g"], 0]
    assert seen["full"] == [False, False, ["g", "h"]] and seen["trouble"]
    assert seen["again"] == [True, ["g", "h", "i"], None] and seen["reopened"] == ["g", "h", "i"]
    assert seen["bad"] is False
    assert seen["forgotten"] == [[], True]
