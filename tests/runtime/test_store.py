import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.bundle.policy import Bounds
from edgerec.errors import DataError
from edgerec.runtime.events import Clock, kind_mask
from edgerec.runtime.logged_lists import LoggedList
from edgerec.runtime.store import EventStore
from edgerec.tasks.units import MS_PER_DAY

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
    store.events.append("a", "click", 5, {"tab": "home"})
    store.close()

    events = EventStore(tmp_path / "s.sqlite").events.read(KINDS)
    assert (list(events.item), events.kind.tolist(), events.time_ms.tolist()) == (["a"], [1], [5])


def test_a_kind_of_an_older_bundle_is_an_event_without_it():
    store = EventStore(None)
    store.events.append("a", "click+share", 5, {})
    store.events.append("b", "share", 6, {})
    assert store.events.read(("like", "click")).kind.tolist() == [2, 0]


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
        store.events.append(item, kind, time_ms, {})
    events = store.events.read(KINDS)

    kept = appended[-bound:]
    assert list(events.item) == [item for item, _, _ in kept]
    assert events.kind.tolist() == [kind_mask(kind, KINDS) for _, kind, _ in kept]
    assert events.time_ms.tolist() == [time_ms for _, _, time_ms in kept]


def test_forgotten_events_are_in_no_byte_of_the_files(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    for _ in range(100):
        store.events.append("secret-item", "click", 5, {"tab": "secret-tab"})
    store.forget()

    assert len(store.events.read(KINDS).time_ms) == 0
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_acknowledged_events_survive_a_kill(tmp_path):
    code = (
        "import sys; from pathlib import Path; from edgerec.runtime.store import EventStore\n"
        "store = EventStore(Path(sys.argv[1]))\n"
        "for i in range(10_000):\n"
        "    store.events.append(str(i), 'event', i, {})\n"
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

    times = EventStore(tmp_path / "s.sqlite").events.read(KINDS).time_ms.tolist()
    assert times[: acknowledged + 1] == list(range(acknowledged + 1))


def test_a_file_that_is_no_log_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes" * 100)
    with pytest.raises(DataError, match="cannot be used as an event log"):
        EventStore(path)
    assert path.read_text() == "my notes" * 100


def test_a_full_disk_loses_no_older_event(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.events.append("a", "event", 1, {})
    pages = store._database.connection.execute("PRAGMA page_count").fetchone()[0]
    store._database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DataError, match="the event was not stored"):
        store.events.append("x" * 10_000, "event", 2, {})

    assert store.events.read(KINDS).item == ["a"]
    with sqlite3.connect(tmp_path / "s.sqlite") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def logged(name, items=("a", "b"), time_ms=5):
    n = len(items)
    return LoggedList(name, time_ms, "toy 1", tuple(items), (1.0,) * n, (0.5,) * n, 9, {"tab": "home"})


def test_an_event_told_again_with_its_id_is_one_event():
    store = EventStore(None)
    assert store.events.append("a", "click", 5, {}, event_id="x1")
    assert not store.events.append("a", "click", 6, {}, event_id="x1")
    assert store.events.append("a", "click", 6, {}, event_id="x1", profile="bob")
    assert store.events.read(KINDS).time_ms.tolist() == [5]


def test_profiles_have_pasts_of_their_own_and_are_forgotten_alone(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.events.append("secret-of-anna", "click", 1, {}, profile="anna")
    store.events.append("b", "click", 2, {}, profile="bob")
    store.lists.append(logged("l1", ["secret-of-anna"]), profile="anna")
    store.learned.put("x", b"secret-of-anna", profile="anna")
    assert store.profiles() == ["anna", "bob"]
    store.forget("anna")

    assert store.profiles() == ["bob"]
    assert store.events.read(KINDS, "bob").item == ["b"]
    assert not any(b"secret-of-anna" in path.read_bytes() for path in tmp_path.iterdir())


def test_lists_come_back_as_they_were_logged_with_their_answers():
    store = EventStore(None)
    store.lists.append(logged("l1", time_ms=5))
    store.lists.append(logged("l2", ["b", "c"], time_ms=9))
    store.events.append("b", "click", 6, {}, list_name="l1")
    store.events.append("b", "like", 7, {}, list_name="l1")

    assert store.lists.read() == [logged("l1", time_ms=5), logged("l2", ["b", "c"], time_ms=9)]
    assert store.lists.read(newest=1) == [logged("l2", ["b", "c"], time_ms=9)]
    assert store.lists.how_often(0) == {"a": 1, "b": 2, "c": 1}
    assert store.lists.how_often(6) == {"b": 1, "c": 1}
    assert store.events.answers("l1") == {"b": "click+like"}


def test_a_clock_that_ran_ahead_is_set_back_by_the_next_event():
    store = EventStore(None)
    for time_ms in (100, 9_000_000, 200, 300):
        store.events.append(str(time_ms), "event", time_ms, {}, by_clock=True)
    store.events.append("told", "event", 50, {})  # a time that the app gave is its own
    assert store.events.read(KINDS).time_ms.tolist() == [100, 200, 200, 300, 50]


def observe_on(store, *days, profile="", time_ms=None):
    """An event on each of these days by the device's clock."""
    for day in days:
        clock = Clock(int(day * MS_PER_DAY))
        store.events.append(
            "x", "event", clock.now_ms if time_ms is None else time_ms, {}, profile=profile, clock=clock
        )


def days_of(store, profile=""):
    return [time_ms // MS_PER_DAY for time_ms in store.events.read(KINDS, profile).time_ms]


def test_old_events_are_erased_by_age():
    store = EventStore(None, Bounds(days=10))
    store.lists.append(logged("old", time_ms=0))
    observe_on(store, *range(20_000, 20_130))
    # The clock is believed about yesterday: it has run on since.
    assert days_of(store) == list(range(20_128 - 10, 20_130))
    assert store.lists.read() == []


def test_the_age_of_others_is_judged_too_whoever_comes():
    store = EventStore(None, Bounds(days=10))
    observe_on(store, 20_000, profile="anna")
    observe_on(store, *range(20_000, 20_013), profile="bob")
    assert days_of(store, "anna") == []


@pytest.mark.parametrize("future", [253_402_300_799_000, 2**62])
def test_an_event_from_the_future_makes_no_other_old(future):
    store = EventStore(None, Bounds(days=400))
    observe_on(store, 20_000, 20_001, profile="anna")
    observe_on(store, *[20_002] * 130, time_ms=future)
    observe_on(store, 20_003, 20_004)
    assert days_of(store, "anna") == [20_000, 20_001]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 70), st.integers(1, 70)), max_size=6))
def test_a_clock_that_is_years_ahead_for_a_while_erases_nobody(wrong):
    store = EventStore(None, Bounds(days=400))
    today = 20_000
    observe_on(store, today, profile="anna")
    for years, events in wrong:
        observe_on(store, *[today + years * 365] * events)
        observe_on(store, today)
        today += 1
    assert days_of(store, "anna") == [20_000]


def test_a_clock_that_jumps_from_year_to_year_is_never_believed():
    store = EventStore(None, Bounds(days=400))
    observe_on(store, 20_000, profile="anna")
    observe_on(store, *range(20_000, 40_000, 500))
    assert days_of(store, "anna") == [20_000]


def test_a_clock_is_believed_again_after_a_long_pause():
    store = EventStore(None, Bounds(days=400))
    observe_on(store, 20_000)
    observe_on(store, 21_000, 21_000.5, 21_001)
    assert days_of(store) == [21_000, 21_000, 21_001]


def test_what_is_older_than_the_bundle_by_the_age_is_erased_whatever_the_clock_says():
    store = EventStore(None, Bounds(days=10))
    store.events.append("x", "event", 0, {}, clock=Clock(5))
    store.events.append("y", "event", 20_000 * MS_PER_DAY, {}, clock=Clock(5, built_ms=20_000 * MS_PER_DAY))
    assert store.events.read(KINDS).item == ["y"]


def test_the_file_stays_inside_its_bytes_and_keeps_the_newest(tmp_path):
    bounds = Bounds(rows=1_000_000, bytes=1 << 18)
    store = EventStore(tmp_path / "s.sqlite", bounds)
    for i in range(4000):
        store.events.append(f"item-{i}-{'x' * 80}", "event", i, {})
        if i % 500 == 0:
            store.lists.append(logged(f"l{i}", ["a" * 200]))
    assert store.size()["bytes"] <= bounds.bytes + 64_000  # the shared-memory file is SQLite's own
    assert store.lost == 0
    times = store.events.read(KINDS).time_ms.tolist()
    assert times[-1] == 3999 and 500 < len(times) < 4000
    assert times == list(range(times[0], 4000))


def test_a_log_of_the_first_schema_is_taken_over(tmp_path):
    with sqlite3.connect(tmp_path / "s.sqlite") as old:
        old.execute("CREATE TABLE events(id INTEGER PRIMARY KEY, item TEXT NOT NULL, kind TEXT NOT NULL, "
                    "time_ms INTEGER NOT NULL, context TEXT)")  # fmt: skip
        old.execute("INSERT INTO events VALUES (1, 'a', 'click', 5, NULL)")
    old.close()
    store = EventStore(tmp_path / "s.sqlite")
    store.events.append("b", "like", 6, {}, event_id="e")
    assert store.events.read(KINDS).item == ["a", "b"]


def test_a_damaged_log_of_ours_is_set_aside_and_the_device_goes_on(tmp_path):
    path = tmp_path / "s.sqlite"
    store = EventStore(path)
    for i in range(500):
        store.events.append(f"item {i}", "event", i, {})
    store.close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)

    store = EventStore(path)
    store.events.append("new", "event", 1, {})
    assert store.events.read(KINDS).item == ["new"]
    assert store.size()["damaged"] == 1
    assert (tmp_path / "s.sqlite.damaged").read_bytes() == content


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE orders(id)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="database of another program"):
        EventStore(path)
    assert path.read_bytes() == before


def test_a_log_with_a_trigger_is_refused(tmp_path):
    EventStore(tmp_path / "s.sqlite").close()
    with sqlite3.connect(tmp_path / "s.sqlite") as db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END")
    db.close()
    with pytest.raises(DataError, match="views or triggers"):
        EventStore(tmp_path / "s.sqlite")


def test_an_encrypted_log_needs_its_key_and_shows_nothing(tmp_path):
    pytest.importorskip("sqlcipher3", reason="the extra encrypt is not installed")
    key = bytes(range(32))
    store = EventStore(tmp_path / "s.sqlite", key=key)
    store.events.append("secret", "click", 5, {})
    store.close()

    assert not any(b"secret" in p.read_bytes() or b"SQLite" in p.read_bytes() for p in tmp_path.iterdir())
    assert EventStore(tmp_path / "s.sqlite", key=key).events.read(KINDS).item == ["secret"]
    for wrong in (None, bytes(32)):
        with pytest.raises(DataError, match="cannot be used"):
            EventStore(tmp_path / "s.sqlite", key=wrong)
    with pytest.raises(DataError, match="32 bytes"):
        EventStore(tmp_path / "t.sqlite", key=b"short")


def test_a_loss_is_counted_and_outlives_a_restart(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.events.append("a", "event", 1, {})
    store._database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(DataError):
        store.events.append("b", "event", 2, {})
    assert not store.lists.append(logged("l"))
    store._database.connection.execute("PRAGMA query_only = OFF")
    with pytest.raises(DataError):
        store.events.append("c", "event", 2**70, {})
    store.close()
    assert store.lost == 3
    assert EventStore(tmp_path / "s.sqlite").lost == 3


def test_a_list_whose_row_is_damaged_is_none():
    store = EventStore(None)
    store.lists.append(logged("l1"))
    store.lists.append(logged("l2"))
    store._database.connection.execute("UPDATE lists SET content = '{' WHERE name = 'l1'")
    assert [stored.name for stored in store.lists.read()] == ["l2"]
