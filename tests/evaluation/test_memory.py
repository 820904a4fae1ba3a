"""By how much work raises the peak memory of this process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgerec.evaluation.memory import peak_growth

MB = 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="resets the peak by /proc")
def test_what_is_held_inside_counts_though_it_is_free_at_the_end():
    with peak_growth() as large:
        np.ones(80 * MB // 8).sum()
    with peak_growth() as small:
        np.ones(8 * MB // 8).sum()

    assert large.mb == pytest.approx(80, abs=8)
    assert small.mb == pytest.approx(8, abs=4)


def test_where_the_system_does_not_report_it_is_unknown(monkeypatch):
    monkeypatch.setattr("edgerec.evaluation.memory.peak_mb", lambda: None)
    with peak_growth() as growth:
        pass
    assert growth.mb is None
