"""The history of a request against a few lines of plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgerec.tasks import encode_history
from edgerec.tasks.units import MS_PER_HOUR

HOURS_MS = range(0, 7 * MS_PER_HOUR, MS_PER_HOUR)


def encode(events, n_requests=1, max_items=10):
    """`events`: (request, item, kind, time_ms)."""
    columns = np.array(events, np.int64).reshape(-1, 4).T
    return encode_history(*columns, n_requests, max_items)


def plain(events, n_requests, max_items):
    """For each request: (item, kind, count, last_ms, interval_h), by last event, then item."""
    pasts = []
    for request in range(n_requests):
        times, kinds = defaultdict(list), defaultdict(int)
        for owner, item, kind, time in events:
            if owner == request:
                times[item].append(time)
                kinds[item] |= kind
        rows = sorted((max(ts), item) for item, ts in times.items())[-max_items:]
        pasts.append(
            [
                (i, kinds[i], len(times[i]), last, (last - min(times[i])) / MS_PER_HOUR / max(len(times[i]) - 1, 1))
                for last, i in rows
            ]
        )
    return pasts


def rows_of(history, request):
    part = slice(history.offsets[request], history.offsets[request + 1])
    columns = (history.item, history.kind, history.count, history.last_ms, history.interval_h)
    return [tuple(row) for row in zip(*(c[part].tolist() for c in columns), strict=True)]


events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 7), st.sampled_from(HOURS_MS)),
    max_size=40,
)


@given(events, st.integers(1, 7), st.randoms(use_true_random=False))
def test_distinct_items_with_counts_kinds_times_and_intervals_as_in_plain_python(log, max_items, random):
    wanted = plain(log, 4, max_items)
    random.shuffle(log)  # the order of the log must not matter

    history = encode(log, 4, max_items)

    assert len(history.offsets) == 5
    for request in range(4):
        assert [(*r[:4], round(r[4], 4)) for r in rows_of(history, request)] == [
            (*r[:4], round(r[4], 4)) for r in wanted[request]
        ]


def test_an_interval_is_the_mean_of_the_gaps_between_events():
    history = encode([(0, 7, 0, 0), (0, 7, 0, 2 * MS_PER_HOUR), (0, 7, 0, 8 * MS_PER_HOUR)])

    assert history.count.tolist() == [3.0]
    assert history.interval_h.tolist() == [(2 + 6) / 2]


def test_the_kinds_of_all_events_of_an_item_come_together():
    assert encode([(0, 7, 0b001, 0), (0, 7, 0b100, 1)]).kind.tolist() == [0b101]


def test_the_latest_items_are_kept_oldest_first():
    assert encode([(0, 1, 0, 30), (0, 2, 0, 10), (0, 3, 0, 20)], max_items=2).item.tolist() == [3, 1]


def test_items_of_one_moment_stand_in_the_order_of_their_index_whatever_the_logs():
    log = [(0, item, 0, 5) for item in (4, 2, 9)]

    assert encode(log).item.tolist() == encode(log[::-1]).item.tolist() == [2, 4, 9]


def test_age_is_in_hours_and_never_negative():
    history = encode([(0, 1, 0, 0), (0, 2, 0, 5 * MS_PER_HOUR), (1, 3, 0, 2 * MS_PER_HOUR)], n_requests=2)

    assert history.age_h(np.array([3 * MS_PER_HOUR, 4 * MS_PER_HOUR])).tolist() == [3.0, 0.0, 2.0]


def test_no_event_is_an_empty_history():
    history = encode([], n_requests=2)

    assert (history.offsets.tolist(), history.item.tolist()) == ([0, 0, 0], [])
    assert history.age_h(np.array([0, 0])).shape == (0,)
