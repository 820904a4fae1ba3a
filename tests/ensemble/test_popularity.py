"""Popularity as members: that before each request, whatever the order of the requests, and within what a user likes."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.ensemble.popularity import HALF_LIVES, PopularityMembers
from edgerec.metrics import Popularity, popularity_before


@pytest.mark.parametrize("name", ["popularity.1h", "popularity.336h"])
def test_a_member_is_the_popularity_before_each_request_in_any_order(tiny_data, name):
    requests, log = tiny_data.train.sessions.requests, tiny_data.train_log
    chosen = np.random.default_rng(0).permutation(len(requests))[:60]
    scores = PopularityMembers(tiny_data).scores([name, "ease"], requests, chosen)
    assert list(scores) == [name]

    clicked = log.labels["click"] > 0
    events = Popularity(log.item[clicked], log.time_ms[clicked], tiny_data.n_items)
    order = np.argsort(requests.time_ms[chosen], kind="stable")
    at_ms = requests.time_ms[chosen[order]]
    for places, (counts,) in popularity_before(events, at_ms, [HALF_LIVES[name]]):
        expected = np.log(counts / max(counts.mean(), 1e-9) + 0.05)
        for row in order[places]:
            assert scores[name][row] == pytest.approx(expected, abs=1e-4)


def test_within_categories_it_is_the_popularity_times_the_share_that_the_category_has_of_the_users_past(tiny_data):
    requests = tiny_data.train.sessions.requests
    members = PopularityMembers(tiny_data)
    members.categories = {"a.b": np.arange(tiny_data.n_items) % 3}  # a column's name may hold dots; 0 is unknown
    row = int(np.argmax(requests.lengths()))
    past = requests.batch(np.array([row]))
    category = past.item[0].numpy() % 3
    counted = np.bincount(category, past.count[0].numpy() * (category > 0), 3)
    found = members.scores(["popularity.24h", "popularity.24h.a.b"], requests, np.array([row]))

    share = (counted / counted.sum())[np.arange(tiny_data.n_items) % 3]
    assert (found["popularity.24h.a.b"] - found["popularity.24h"])[0] == pytest.approx(np.log(share + 0.01), abs=1e-4)
    assert "popularity.24h.a.b" in members.names()


def test_a_user_without_a_past_likes_all_categories_alike(tiny_data):
    requests = tiny_data.train.sessions.requests
    first = np.flatnonzero(requests.lengths() == 0)[:1]
    members = PopularityMembers(tiny_data)
    members.categories = {"genre": np.arange(tiny_data.n_items) % 3}
    found = members.scores(["popularity.24h", "popularity.24h.genre"], requests, first)

    assert found["popularity.24h.genre"] == pytest.approx(found["popularity.24h"] + np.log(0.01), abs=1e-5)
