"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import toy


@pytest.fixture
def toy_bundle(tmp_path: Path) -> Path:
    """A fresh toy bundle of 8 items, which the test may damage; see tests/toy.py."""
    return toy.write(tmp_path)
