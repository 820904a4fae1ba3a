"""The documentation in Chromium, from file://: its search answers, its code is whole, and it asks no other host."""

import json
import subprocess

import pytest

from tests.web.conftest import CHROMIUM, WEB

docs = pytest.importorskip("tools.docs", reason="the tools are only in a checkout")


@pytest.mark.slow
def test_the_site_works_from_a_folder_at_both_sizes(node, tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install edgerec[docs]")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    home = docs.build()
    command = [node, "test/docs.mjs", home, tmp_path, CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    for seen in json.loads(run.stdout):
        assert seen["outside"] == [] and seen["errors"] == []
        assert seen["cut"] == [], "code is cut off"
        assert seen["pages"] == len(list(home.rglob("*.html"))) - 1  # but the page of status 404
        assert seen["first"] == "questions.html#what-about-the-gdpr"
        assert seen["opened"] == "What about the GDPR?"
        assert seen["slash"] and seen["closed"]
