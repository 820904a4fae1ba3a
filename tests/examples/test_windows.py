"""Windows of events: each event that follows another is a target once, and what is read ends before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.examples.windows import Windows
from tests.made_logs import log_of


@pytest.fixture
def log():
    """Three users with the items 0 1 2 3 4, then 5, then 6 7 8."""
    return log_of([[0, 1, 2, 3, 4], [5], [6, 7, 8]])


def windows(log, longest=2, counts=None, users=None):
    counts = np.ones(len(log), bool) if counts is None else counts
    return Windows.of(log, counts, longest, np.ones(3, bool) if users is None else np.array(users))


def targets(windows):
    """Pairs of an event and what follows it, of all windows."""
    pairs = []
    for latest, target in windows.epoch(4, 100, np.random.default_rng(0)):
        counts = target >= 0
        assert not (counts & ~latest.present).any()
        pairs += zip(latest.item[counts].tolist(), target[counts].tolist(), strict=True)
    return sorted(pairs)


@pytest.mark.parametrize("longest", [1, 2, 3, 50])
def test_each_event_but_a_users_first_is_a_target_once_after_the_event_before_it(log, longest):
    assert targets(windows(log, longest)) == [(0, 1), (1, 2), (2, 3), (3, 4), (6, 7), (7, 8)]
    assert windows(log, longest).targets() == 6


def test_windows_are_cut_from_the_latest_event_on_and_hold_no_target_of_their_own_before_it(log):
    cut = windows(log)

    assert list(zip(cut.start.tolist(), cut.end.tolist(), strict=True)) == [(2, 4), (0, 2), (6, 8)]
    latest, target = cut.batch(np.array([0, 2]))
    assert latest.item.tolist() == [[2, 3], [6, 7]]
    assert target.tolist() == [[3, 4], [7, 8]]
    assert latest.gap_h.tolist() == [[24, 24], [24, 24]]


def test_rows_that_do_not_count_are_read_but_are_no_targets(log):
    counts = log.item != 3

    assert targets(windows(log, 50, counts)) == [(0, 1), (1, 2), (3, 4), (6, 7), (7, 8)]
    assert len(windows(log, 1, log.item == 2)) == 1  # windows without a target are left out


def test_users_that_are_left_out_are_in_no_window(log):
    assert targets(windows(log, users=[False, True, True])) == [(6, 7), (7, 8)]


def test_an_epoch_reads_about_as_many_events_as_it_may(log):
    read = list(windows(log, 1).epoch(1, 3, np.random.default_rng(0)))

    assert len(read) == 3


def test_items_within_a_few_events_are_near_each_other_and_none_of_another_user(log):
    near = windows(log, 50).near(9).to_dense()
    sums = {6: 1 + 1 / 2, 7: 2, 8: 1 / 2 + 1}  # neighbours count 1, the item after the next one 1 / 2

    assert torch.equal(near, near.T)
    assert near[6, 7] == pytest.approx(1 / ((sums[6] + 1) * (sums[7] + 1)) ** 0.5)
    assert near[6, 8] == pytest.approx(0.5 / ((sums[6] + 1) * (sums[8] + 1)) ** 0.5)
    assert not near[:6, 6:].any()
    assert not near[5].any()


def test_users_of_one_event_each_have_no_window_and_no_near_items():
    few = windows(log_of([[0], [1], [2]]))
    assert len(few) == 0 and few.near(3).to_dense().sum() == 0
