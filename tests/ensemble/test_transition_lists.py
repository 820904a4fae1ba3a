"""Item transition lists from the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgerec.ensemble.transition_lists import transition_lists
from edgerec.examples.held_out import HeldOut
from edgerec.examples.requests import FOREVER


def test_the_item_that_always_comes_next_is_first_and_empty_places_hold_the_item_itself(tiny_data):
    pasts = [[0, 1, 2]] * 5 + [[0, 1, 3]] * 2
    n = tiny_data.train.n_seen
    log = replace(
        tiny_data.train_log,
        user=np.repeat(np.arange(7), 3),
        item=np.concatenate(pasts).astype(np.int64),
        session=np.arange(21),
        time_ms=np.arange(21) * 1000,
        offsets=np.arange(0, 24, 3),
    )
    item, weight = transition_lists(replace(tiny_data, train_log=log), 4, HeldOut(np.full(7, FOREVER)))

    assert item.shape == weight.shape == (tiny_data.n_items, 4)
    assert item[0, 0] == 1 and weight[0, 0] == 1
    assert item[1, :2].tolist() == [2, 3] and 0 < weight[1, 1] < 1
    assert (item[n - 1] == n - 1).all() and (weight[n - 1] == 0).all()


def test_no_item_follows_itself(tiny_data):
    item, weight = transition_lists(tiny_data, 5, HeldOut.of(tiny_data, 0))
    own = np.arange(len(item))[:, None] == item.numpy()

    assert (weight.numpy()[own] == 0).all()
    assert (weight > 0).any()


def test_what_is_held_out_is_not_in_the_lists(tiny_data):
    nobody = np.full(len(tiny_data.train_log.offsets) - 1, FOREVER)
    _, weight = transition_lists(tiny_data, 5, HeldOut(np.zeros_like(nobody)))

    assert (weight == 0).all() and (transition_lists(tiny_data, 5, HeldOut(nobody))[1] > 0).any()
