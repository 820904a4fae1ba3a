"""Training a log four times as long takes no more memory."""

import pytest

from tools.benchmarks.memory import measure


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    few, many = (measure(tmp_path / str(rows), rows, steps=3, at_once=20_000)["own_mib"] for rows in (60_000, 480_000))

    assert many < few + 60  # columns and histories in memory take 130 MiB more
