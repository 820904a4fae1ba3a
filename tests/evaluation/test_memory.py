"""What some work adds to this process's memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgerec.evaluation.memory import added

MB = 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="begins a peak anew by /proc")
def test_what_is_held_inside_counts_though_it_is_free_at_the_end():
    with added() as large:
        np.ones(80 * MB // 8).sum()
    with added() as small:
        np.ones(8 * MB // 8).sum()

    assert large.mb == pytest.approx(80, abs=8)
    assert small.mb == pytest.approx(8, abs=4)


def test_where_the_system_does_not_tell_it_is_unknown(monkeypatch):
    monkeypatch.setattr("edgerec.evaluation.memory.peak_mb", lambda: None)
    with added() as found:
        pass
    assert found.mb is None
