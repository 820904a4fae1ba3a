"""Signals of a snapshot, and the pools that are drawn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerec.ensemble import signals
from edgerec.ensemble.closed_form import counts, graph
from edgerec.ensemble.histories import FlatHistories, session_rank
from edgerec.ensemble.signals import Snapshot, best_first, pools
from edgerec.tasks.units import MS_PER_DAY
from tests import tiny


def fit(data, text=None, **options):
    text = np.zeros((data.n_items, 0), np.float32) if text is None else text
    return Snapshot.fit(data.train_log, np.arange(len(data.train_log)), data.n_items, text, seed=0, **options)


@pytest.fixture(scope="module")
def snapshot(tiny_data):
    """All signals, also that of a graph, which larger catalogues have in place of EASE."""
    small = fit(tiny_data, np.random.default_rng(0).normal(size=(tiny_data.n_items, 3)).astype(np.float32))
    log = tiny_data.train_log
    by_user = counts(log.user, log.item, len(log.offsets) - 1, tiny_data.n_items)
    by_user.data[:] = 1
    return replace(small, graph=graph(by_user, signals.NEIGHBOURS))


def item_camps(data):
    """0 or 1 of each item index."""
    return np.array([tiny.camp(int(i.removeprefix("i"))) for i in data.dataset.items()["id"].to_list()])[: data.n_items]


def test_session_rank_counts_the_later_sessions_of_the_same_request():
    row, last_ms = np.array([0, 0, 0, 2, 2]), np.array([1, 5, 5, 3, 4])

    assert session_rank(row, last_ms).tolist() == [1, 0, 0, 1, 0]
    assert session_rank(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_equal_times_of_two_requests_are_two_sessions():
    assert session_rank(np.array([0, 1]), np.array([7, 7])).tolist() == [0, 0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_pool_holds_the_history_first_and_then_the_best_ranks_of_any_signal(data):
    rows, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8))
    size, lists = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 3))
    order = st.permutations(range(n))
    given_signals = np.array([[data.draw(order) for _ in range(rows)] for _ in range(lists)], np.float32)
    own = np.array([[data.draw(st.booleans()) for _ in range(n)] for _ in range(rows)], np.float32)

    pooled = pools([best_first(signal, size) for signal in given_signals], own)

    assert pooled.shape == (rows, min(size, n))
    for r in range(rows):
        pool = pooled[r].tolist()
        assert len(set(pool)) == len(pool)
        # 0 is the best place; -1 is the history, before all.
        place = np.where(own[r] > 0, -1, (n - 1 - given_signals[:, r]).min(axis=0))
        places = place[pool].tolist()
        assert places == sorted(places)
        assert places[-1] <= min(np.delete(place, pool), default=n)


def test_a_snapshot_read_again_scores_the_same(tiny_data, snapshot, tmp_path):
    snapshot.save(tmp_path / "snapshot.safetensors")
    again = Snapshot.load(tmp_path / "snapshot.safetensors")
    requests, chosen = tiny_data.evaluation.sessions.requests, np.arange(8)

    before, after = snapshot.signals(requests, chosen), again.signals(requests, chosen)
    assert list(before) == list(after) == again.names() == snapshot.names() == list(signals.SIGNALS)
    for name, scores in before.items():
        assert scores.shape == (8, tiny_data.n_items)
        assert np.array_equal(scores, after[name]), name
    assert [p.name for p in tmp_path.iterdir()] == ["snapshot.safetensors"]


@pytest.mark.parametrize("name", ["ease", "ease_recent", "als", "graph", "transitions", "cosine"])
def test_signals_prefer_the_own_camp(tiny_data, snapshot, name):
    requests = tiny_data.evaluation.sessions.requests
    scores = snapshot.signals(requests, np.arange(len(requests)))[name]
    users = [int(u.removeprefix("u")) for u in tiny_data.dataset.users()["id"].to_list()]
    own = tiny.camp(np.array(users))[requests.user][:, None] == item_camps(tiny_data)

    better = np.where(own, scores, np.nan), np.where(own, np.nan, scores)
    assert (np.nanmean(better[0], axis=1) > np.nanmean(better[1], axis=1)).mean() > 0.95


@pytest.mark.parametrize(
    ("most_pairs", "members", "of_users"), [(9, ["reranker"], True), (8, ["reranker"], False), (9, [], False)]
)
def test_for_a_reranker_the_cosine_is_of_users_where_each_session_holds_one_item(
    tiny_data, monkeypatch, most_pairs, members, of_users
):
    """Users 0 and 1 have items 0 and 1, user 2 has item 1: 2 / sqrt(2 + 1) / sqrt(3 + 1), and 9 pairs. With fewer, only
    the latest item of each counts, which is item 1.
    """
    log = replace(
        tiny_data.train_log,
        **{name: np.array(v) for name, v in {"user": [0, 0, 1, 1, 2], "item": [0, 1, 0, 1, 1]}.items()},
        time_ms=np.arange(5),
        session=np.arange(5),
    )
    monkeypatch.setattr(signals, "MOST_PAIRS", most_pairs)
    cosine = Snapshot.fit(log, np.arange(5), 2, np.zeros((2, 0), np.float32), 0, members).cosine.toarray()

    assert cosine[0, 1] == pytest.approx(2 / 12**0.5 if of_users else 0)


@pytest.mark.parametrize("most, members", [(1, ("ease", "als")), (20_000, ("own",))])
def test_ease_and_als_are_left_out_of_a_large_catalogue_and_where_they_are_no_members(
    tiny_data, tmp_path, monkeypatch, most, members
):
    monkeypatch.setattr("edgerec.ensemble.signals.MAX_DENSE_ITEMS", most)
    fit(tiny_data, members=members).save(tmp_path / "s.safetensors")
    snapshot = Snapshot.load(tmp_path / "s.safetensors")

    assert snapshot.ease is None and snapshot.als is None
    scores = snapshot.signals(tiny_data.evaluation.sessions.requests, np.arange(3))
    assert list(scores) == snapshot.names() == ["transitions", "cosine"]


@pytest.mark.parametrize("most_pairs", [10**9, 1_000])
def test_a_large_catalogue_has_a_graph_in_place_of_ease_of_the_latest_items_of_users_with_many(
    tiny_data, tmp_path, monkeypatch, most_pairs
):
    """What is fitted may not depend on how long a part of the log is, or scores of one part mean nothing in another."""
    monkeypatch.setattr(signals, "MAX_DENSE_ITEMS", 1)
    monkeypatch.setattr(signals, "MOST_GRAPH_PAIRS", most_pairs)
    fit(tiny_data, members=("ease", "graph")).save(tmp_path / "s.safetensors")

    assert Snapshot.load(tmp_path / "s.safetensors").names() == ["graph", "transitions", "cosine"]
    monkeypatch.setattr(signals, "MAX_DENSE_ITEMS", 20_000)
    assert fit(tiny_data, members=("ease", "graph")).graph is None


@given(st.lists(st.lists(st.integers(0, 8), max_size=8), min_size=1, max_size=6), st.integers(0, 60))
def test_of_users_with_many_items_the_latest_are_kept_as_many_as_the_pairs_allow(users, most):
    user = np.repeat(np.arange(len(users)), [len(items) for items in users])
    item = np.array([i for items in users for i in items], np.int64)
    binary = counts(user, item, len(users), 9)
    binary.data[:] = 1
    kept = signals._latest(binary, user, item, most).toarray()

    def of_latest(k: int) -> np.ndarray:
        rows = np.zeros((len(users), 9))
        for u, items in enumerate(users):
            rows[u, items[len(items) - min(k, len(items)) :]] = 1
        return rows

    if (binary.toarray().sum(axis=1) ** 2).sum() <= most:
        assert np.array_equal(kept, binary.toarray())
    else:
        fits = [k for k in range(2, 9) if sum(min(len(items), k) ** 2 for items in users) <= most]
        assert np.array_equal(kept, of_latest(max(fits, default=1)))


def test_a_request_without_a_past_has_no_signals(tiny_data, snapshot):
    requests = tiny_data.train.sessions.requests
    new = np.flatnonzero(requests.lengths() == 0)
    assert len(new)

    for name, scores in snapshot.signals(requests, new).items():
        assert not scores.any(), name


def test_a_snapshot_of_no_rows_has_no_signals(tiny_data):
    nothing = Snapshot.fit(
        tiny_data.train_log, np.zeros(0, np.int64), tiny_data.n_items, np.zeros((tiny_data.n_items, 0), np.float32), 0
    )

    for name, scores in nothing.signals(tiny_data.evaluation.sessions.requests, np.arange(3)).items():
        assert np.isfinite(scores).all(), name
        assert name == "als" or not scores.any(), name


def test_the_history_of_each_request_is_its_own(tiny_data):
    requests = tiny_data.evaluation.sessions.requests
    flat = FlatHistories.of(requests, np.array([5, 2]))

    for place, request in enumerate([5, 2]):
        history, which = requests.histories(np.array([request]))
        start, end = history.offsets[which[0] :][:2]
        assert flat.item[flat.row == place].tolist() == history.item[start:end].tolist()
    older = replace(requests, time_ms=requests.time_ms + MS_PER_DAY)
    assert FlatHistories.of(older, np.array([5, 2])).age_days == pytest.approx(flat.age_days + 1)


def test_nearest_is_the_largest_similarity_to_another_item_of_the_history(tiny_data, snapshot):
    requests, chosen = tiny_data.evaluation.sessions.requests, np.arange(6)
    item = np.repeat(np.arange(tiny_data.n_items)[None], len(chosen), axis=0)
    nearest = snapshot.nearest(requests, chosen, item)
    flat, cosine = FlatHistories.of(requests, chosen), snapshot.cosine.toarray()

    for r in range(len(chosen)):
        owned = flat.item[flat.row == r]
        similarity = snapshot.text[owned] @ snapshot.text.T
        similarity[owned[:, None] == np.arange(tiny_data.n_items)] = 0
        assert nearest[r, :, 0] == pytest.approx(cosine[owned].max(axis=0))
        assert nearest[r, :, 1] == pytest.approx(similarity.max(axis=0), abs=1e-6)


def test_nothing_is_near_an_empty_history(tiny_data, snapshot):
    requests = tiny_data.train.sessions.requests
    nobody = np.flatnonzero(requests.lengths() == 0)
    assert len(nobody)
    item = np.zeros((len(nobody), 2), np.int64)

    assert not snapshot.nearest(requests, nobody, item).any()
