"""The tiny log, as if it were split by user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgerec.data.splits import Boundaries


@pytest.fixture(scope="session")
def split_by_user(tiny_data):
    """The same data, as if the last event of each user were the evaluation split."""
    meta = tiny_data.dataset.meta
    dataset = replace(tiny_data.dataset, meta=replace(meta, boundaries_ms=Boundaries(None, None, None)))
    return replace(tiny_data, dataset=dataset)
