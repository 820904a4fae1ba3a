"""The page of threats names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tools" / "site" / "pages" / "concepts" / "threats.md"


def test_every_protection_names_a_test_that_there_is():
    if not PAGE.exists():
        pytest.skip("the pages are only in a checkout")
    text = PAGE.read_text("utf-8")
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    tests = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}

    assert set(re.findall(r"`(test_\w+)`", text)) <= tests
    rows = [line for line in text.splitlines() if line.startswith("|") and "`test_" not in line]
    unshown = [row for row in rows if row.count("|") == 4 and "---" not in row and "shown by" not in row]
    who = text[text.index("## Who may write where") : text.index("## The updater")]
    assert [row for row in unshown if row not in who and "tools/benchmark faults" not in row] == []
