"""No bytes make a reader raise anything but one line of ours."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra sign is not installed")

from tests.fuzz.targets import FOUND, TARGETS, check, seeds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_answers_valid_damaged_and_once_wrong_inputs_with_one_line_at_most(name):
    choose = random.Random(0)
    for seed in seeds(name):
        check(name, seed)
        for _ in range(30):
            content = bytearray(seed)
            for _ in range(choose.randrange(1, 4)):
                at = choose.randrange(len(content))
                content[at : at + choose.choice((0, 1, 1, 9))] = choose.randbytes(choose.choice((0, 1, 1, 9)))
            check(name, bytes(content))
    check(name, b"")


def test_what_was_found_belongs_to_a_target():
    assert not FOUND.exists() or {path.name for path in FOUND.iterdir()} <= set(TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_twenty_seconds_guided_by_coverage_find_nothing(name, tmp_path):
    pytest.importorskip("atheris", reason="not to be had for this system")
    found = tmp_path / "found"
    command = [sys.executable, "-m", "tests.fuzz", name, "20", str(found), "1"]  # a test fails each time or never
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert not re.findall("^FOUND .*", run.stderr, re.MULTILINE)
    assert run.returncode == 0 and not any(path.is_file() for path in found.rglob("*")), run.stderr[-3000:]
    assert "stat::number_of_executed_units" in run.stderr
