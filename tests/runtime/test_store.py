import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError
from edgerec.runtime.store import EventStore, kind_mask

KINDS = ("click", "like", "watch")


def test_kinds_are_bits_in_task_order():
    assert kind_mask("event", KINDS) == 0
    assert kind_mask("click", KINDS) == 1
    assert kind_mask("click+watch", KINDS) == 5


@pytest.mark.parametrize("kind", ["", "buy", "click+", "click+event", "Click"])
def test_an_unknown_kind_is_answered_with_the_known(kind):
    with pytest.raises(DataError, match="this bundle knows: event, click, like, watch"):
        kind_mask(kind, KINDS)


def test_events_survive_closing(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.append("a", "click", 5, {"tab": "home"})
    store.close()

    events = EventStore(tmp_path / "s.sqlite").events(KINDS)
    assert (list(events.item), events.kind.tolist(), events.time_ms.tolist()) == (["a"], [1], [5])


def test_a_kind_of_an_older_bundle_is_an_event_without_it():
    store = EventStore(None)
    store.append("a", "click+share", 5, {})
    store.append("b", "share", 6, {})
    assert store.events(("like", "click")).kind.tolist() == [2, 0]


@given(
    appended=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
            st.sampled_from(["event", "click", "click+like"]),
            st.integers(-(2**62), 2**62),
        ),
        max_size=30,
    ),
    bound=st.integers(1, 10),
)
def test_the_newest_events_are_kept_in_order_up_to_the_bound(appended, bound):
    store = EventStore(None, Bounds(rows=bound))
    for item, kind, time_ms in appended:
        store.append(item, kind, time_ms, {})
    events = store.events(KINDS)

    kept = appended[-bound:]
    assert list(events.item) == [item for item, _, _ in kept]
    assert events.kind.tolist() == [kind_mask(kind, KINDS) for _, kind, _ in kept]
    assert events.time_ms.tolist() == [time_ms for _, _, time_ms in kept]


def test_forgotten_events_are_in_no_byte_of_the_files(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    for _ in range(100):
        store.append("secret-item", "click", 5, {"tab": "secret-tab"})
    store.forget()

    assert len(store.events(KINDS).time_ms) == 0
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_acknowledged_events_survive_a_kill(tmp_path):
    code = (
        "import sys; from pathlib import Path; from edgerec.runtime.store import EventStore\n"
        "store = EventStore(Path(sys.argv[1]))\n"
        "for i in range(10_000):\n"
        "    store.append(str(i), 'event', i, {})\n"
        "    print(i, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 50:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged = max([50, *map(int, process.stdout.read().split())])

    times = EventStore(tmp_path / "s.sqlite").events(KINDS).time_ms.tolist()
    assert times[: acknowledged + 1] == list(range(acknowledged + 1))


def test_a_file_that_is_no_log_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes" * 100)
    with pytest.raises(DataError, match="cannot be used as an event log"):
        EventStore(path)
    assert path.read_text() == "my notes" * 100


def test_a_full_disk_loses_no_older_event(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.append("a", "event", 1, {})
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DataError, match="the event was not stored"):
        store.append("x" * 10_000, "event", 2, {})

    assert store.events(KINDS).item == ["a"]
    with sqlite3.connect(tmp_path / "s.sqlite") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
