"""The report in a real Chromium with the network off; pictures go to the folder EDGEREC_PICTURES names."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.web.conftest import CHROMIUM, WEB


@pytest.mark.slow
def test_a_report_needs_no_network_fits_a_phone_and_paper_and_is_accessible(node, tiny_chain, tmp_path):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    report = Path(os.environ.get("EDGEREC_REPORT", tiny_chain / "run" / "report" / "report.html"))
    assert report.stat().st_size <= 3_000_000
    pictures = os.environ.get("EDGEREC_PICTURES", tmp_path)
    command = [node, "test/report.mjs", report, pictures, CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    for seen in json.loads(run.stdout):
        assert seen["asked"] == 1 and seen["errors"] == []
        assert not seen["overflow"] and seen["plots"] >= 3
        assert seen["violations"] == []
        answers = dict(seen["answers"])
        assert len(answers) == 4 and next(iter(answers)) == "Better than the best simple baseline?"
        assert all(answers.values()), "an answer is below the first screen"
        assert len(seen["budget"]) == 3 and seen["links"] == 0
        printed = seen["printed"]
        assert printed["cut"] == printed["empty"] == 0 and printed["bars"] > 250
