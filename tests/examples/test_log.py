"""The earlier events of a request are those that a filter over the whole log finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.examples.log import earlier_events, load_log
from edgerec.examples.scratch import Scratch
from edgerec.tasks import RequestEncoder, encode_history, summarize_past
from tests.tiny import log_of

ENCODER = RequestEncoder(binary=("click",), rates=(0.2,), max_history=3)
HOUR_MS = 3_600_000
hours = st.integers(0, 20).map(lambda h: h * HOUR_MS)
events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), hours, st.integers(0, 1)), max_size=30)
requests = st.lists(st.tuples(st.integers(0, 3), hours), min_size=1, max_size=8)


def by_filter(log, user, cut_ms):
    """The history and the sums of one request."""
    mine = (log.user == user) & (log.time_ms < cut_ms)
    zeros = np.zeros(int(mine.sum()), np.int64)
    item, kind, time_ms = log.item[mine], log.kind[mine], log.time_ms[mine]
    return encode_history(zeros, item, kind, time_ms, 1, 3), summarize_past(zeros, kind, time_ms, 1, 1)


@given(events, requests, st.sampled_from([3, 1_000]))
def test_earlier_events_are_those_of_the_user_strictly_before_the_cut(found, asked, at_once):
    log = log_of(found)
    user, cut_ms = np.array(asked, np.int64).T
    history, past = earlier_events(log, ENCODER, user, cut_ms, at_once)  # in one piece, and in many

    assert len(history.offsets) == len(asked) + 1
    for r, (u, cut) in enumerate(asked):
        part = slice(history.offsets[r], history.offsets[r + 1])
        one, sums = by_filter(log, u, cut)
        for name in ("item", "kind", "count", "last_ms", "interval_h"):
            assert getattr(history, name)[part].tolist() == getattr(one, name).tolist()
        for name in ("events", "sessions", "first_ms", "last_ms"):
            assert getattr(past, name)[r] == getattr(sums, name)[0]
        assert past.positives[r].tolist() == sums.positives[0].tolist()


def test_a_cut_far_outside_the_log_finds_nothing_or_everything():
    log = log_of([(0, 1, 10, 0), (0, 2, 20, 0), (1, 3, 15, 0)])
    forever = np.iinfo(np.int64).max // 2

    start, end = log.range_before(np.array([0, 0, 1, 3]), np.array([-forever, forever, forever, forever]))

    assert (end - start).tolist() == [0, 2, 1, 0]


def test_a_visit_ends_with_its_session_and_with_its_user(tiny_data):
    log = tiny_data.train_log
    starts = log.session_starts()

    assert np.diff(starts).tolist() == [5] * (len(starts) - 1)  # every session of the tiny log shows five items
    assert len({(int(log.user[s]), int(log.session[s])) for s in starts}) == len(starts)


def test_a_loaded_log_holds_the_rows_of_its_source_sorted_by_user_then_time(tiny_data, tiny_config):
    import polars as pl

    dataset, log = tiny_data.dataset, tiny_data.train_log
    source = pl.read_csv(tiny_config.resolve("log.csv"))[log.row.tolist()]

    assert (np.diff(log.user) >= 0).all()
    assert (np.diff(log.time_ms)[np.diff(log.user) == 0] >= 0).all()
    assert dataset.items()["id"][log.item.tolist()].to_list() == source["item"].to_list()
    assert log.time_ms.tolist() == source["time"].to_list()
    assert log.kind.tolist() == (source["click"] + 2 * source["liked"]).to_list()
    country = [c.name for c in tiny_data.encoder.categorical].index("country")
    values = tiny_data.encoder.categorical[country].values
    assert [values[i - 1] for i in log.categorical[:, country]] == source["country"].to_list()


def test_the_encoders_rates_are_those_of_the_rows_before_the_part(tiny_data, tmp_path):
    # Four of five impressions are clicked, and one of these is the favourite.
    assert tiny_data.encoder.rates == pytest.approx((0.8, 0.2))
    train = tiny_data.dataset.part("train")
    assert len(load_log(tiny_data.dataset, train, tiny_data.encoder, Scratch(tmp_path))) == 25 * 30
