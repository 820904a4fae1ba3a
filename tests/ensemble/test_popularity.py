"""Popularity as members: that before each request, whatever the order of the requests."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.ensemble.popularity import HALF_LIVES, PopularityMembers
from edgerec.metrics import Popularity, popularity_before


@pytest.mark.parametrize("name", ["popularity.1h", "popularity.240h"])
def test_a_member_is_the_popularity_before_each_request_in_any_order(tiny_data, name):
    requests, log = tiny_data.train.sessions.requests, tiny_data.train_log
    chosen = np.random.default_rng(0).permutation(len(requests))[:60]
    scores = PopularityMembers(tiny_data).scores(name, requests, chosen)

    clicked = log.labels["click"] > 0
    events = Popularity(log.item[clicked], log.time_ms[clicked], tiny_data.n_items)
    order = np.argsort(requests.time_ms[chosen], kind="stable")
    at_ms = requests.time_ms[chosen[order]]
    for places, (counts,) in popularity_before(events, at_ms, [HALF_LIVES[name]]):
        expected = np.log(counts / max(counts.mean(), 1e-9) + 0.05)
        for row in order[places]:
            assert scores[row] == pytest.approx(expected, abs=1e-4)
