"""Times of the runtime beside those of its onnxruntime session, with a made-up user."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from edgerec.runtime import Recommender
from edgerec.runtime.sessions import onnxruntime
from edgerec.tasks.units import MS_PER_DAY

EVENTS = 50
"""Events of the made-up user, on items spread over the catalogue, a day apart."""
NOW_MS = 1_700_000_000_000
Call = Callable[[], object]


@contextmanager
def recording() -> Iterator[list[Call]]:
    """Lists the calls of the onnxruntime sessions that are opened inside, so that a call can be repeated."""
    calls: list[Call] = []
    ort = onnxruntime()

    class Recording(ort.InferenceSession):  # type: ignore[name-defined,misc]
        def run(self, *arguments: object) -> object:
            run = super().run
            calls.append(lambda: run(*arguments))
            return run(*arguments)

    with patch.object(ort, "InferenceSession", Recording):
        yield calls


def observe_made_up_user(recommender: Recommender) -> None:
    """The events of a user who has used the app for `EVENTS` days."""
    n_items = recommender.bundle.manifest.n_items
    for event in range(EVENTS):
        item, _ = recommender.arrays.named(event * n_items // EVENTS)
        recommender.observe(item, time=NOW_MS - (EVENTS - event) * MS_PER_DAY)


def timed_in_turn(call: Call, calls: list[Call], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of `call`, and of the first session's call that it makes, which `recording` lists in `calls`."""
    whole_ms, session_ms = [], []
    for _ in range(times):
        calls.clear()
        whole_ms.append(timed_ms(call))
        session_ms.append(timed_ms(calls[0]))
    return whole_ms, session_ms


def timed_ms(call: Call) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6
