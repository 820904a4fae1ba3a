"""A commit is checked as CI checks it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_hooks_are_the_commands_of_ci():
    hooks = re.findall(r"^ +entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"), re.MULTILINE)
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()

    assert hooks == [line for line in lines if line.startswith(".venv/bin/") and "pytest" not in line]
