"""A store that is damaged, full, read-only, locked or gone: the recommender opens, goes on, and says what was lost."""

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from edgerec.errors import DataError
from edgerec.runtime import Recommender
from edgerec.runtime import database as module
from edgerec.runtime.store import EventStore
from tests import toy

NOW = toy.NOW_MS
KEY = bytes(range(32))
MANY = 400


def filled(path, key=None, n=MANY):
    store = EventStore(path, key=key)
    store._database.connection.execute("PRAGMA synchronous = OFF")  # a test that need not survive a power cut
    for i in range(n):
        store.events.append(f"i{i % 8}", "click", NOW + i, {"tab": "secret-tab"}, profile=("", "anna")[i % 2])
    store.close()
    return path


def flipped(path, at, bit=0):
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def events(store, profile=""):
    return store.events.read(("click",), profile).item


def test_a_damaged_page_in_the_middle_loses_its_own_rows_only(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    content = bytearray(path.read_bytes())
    leaf = content.index(b"secret-tab", len(content) // 2) // 4096 * 4096
    content[leaf : leaf + 4096] = os.urandom(4096)
    path.write_bytes(content)
    store = EventStore(path)
    left = len(events(store)) + len(events(store, "anna"))
    assert 0.5 * MANY < left < MANY
    assert store.size()["damaged"] == 1 and store.trouble is None
    assert (tmp_path / "s.sqlite.damaged").read_bytes() == content
    assert store.events.append("new", "click", NOW, {}) and events(store)[-1] == "new"


def test_a_first_page_of_other_bytes_is_damage_and_random_bytes_alone_are_a_foreign_file(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    content = path.read_bytes()
    path.write_bytes(os.urandom(4096) + content[4096:])
    store = EventStore(path)

    assert store.trouble is None and "set aside" in store.damage
    assert store.events.append("new", "click", NOW, {}) and events(store)[-1] == "new"

    foreign = os.urandom(len(content))
    (tmp_path / "f.sqlite").write_bytes(foreign)
    with pytest.raises(DataError, match="cannot be used as an event log"):
        EventStore(tmp_path / "f.sqlite")
    assert (tmp_path / "f.sqlite").read_bytes() == foreign


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_whatever_bit_is_flipped_the_recommender_opens_and_forgets(toy_bundle, tmp_path, key):
    if key is not None:
        pytest.importorskip("sqlcipher3", reason="the extra encrypt is not installed")
    whole = filled(tmp_path / "whole.sqlite", key, 60)
    size, choose = whole.stat().st_size, random.Random(0)
    places = [*range(0, 100, 9), *(choose.randrange(100, size) for _ in range(25))]
    path = tmp_path / "s.sqlite"
    for at in places:
        shutil.copyfile(whole, path)
        flipped(path, at, choose.randrange(8))
        with Recommender.open(toy_bundle, store=path, store_key=key, engine="numpy") as rec:
            assert rec.observe("i1", time=NOW), at
            assert len(rec.recommend(k=3, now=NOW)) == 3
            assert rec.health()["trouble"] is None
            rec.forget()
            assert not (tmp_path / "s.sqlite.damaged").exists()


def test_forgetting_deletes_what_was_set_aside(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
    store = EventStore(path)
    assert (tmp_path / "s.sqlite.damaged").exists()
    store.forget("anna")
    assert [p.name for p in tmp_path.iterdir() if b"secret-tab" in p.read_bytes()] == []
    assert not (tmp_path / "s.sqlite.damaged").exists()


def test_damage_under_a_running_app_is_noticed_when_it_writes(tmp_path):
    path = filled(tmp_path / "s.sqlite", n=2000)
    store = EventStore(path)
    with path.open("r+b") as file:  # a worn flash: every second page but the first
        for at in range(8192, path.stat().st_size, 8192):
            file.seek(at)
            file.write(os.urandom(4096))
    for i in range(200):
        assert store.events.append("new", "click", NOW + i, {})
    assert events(store)[-1] == "new" and store.size()["damaged"] <= 1
    store.forget()
    assert events(store) == [] and not (tmp_path / "s.sqlite.damaged").exists()


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes everywhere")
def test_a_read_only_store_is_read_and_events_are_in_memory(toy_bundle, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    filled(place / "s.sqlite", n=8)
    code = (
        "import sys; from edgerec.runtime import Recommender\n"
        "with Recommender.open(sys.argv[1], store=sys.argv[2], updates=sys.argv[3]) as rec:\n"
        f"    before = len(rec.arrays.history(None).items)\n    stored = rec.observe('i1', time={NOW})\n"
        "    health = rec.health()\n"
        "    print(before, stored, len(rec.arrays.history(None).items), health['lost'], health['trouble'])\n"
        "    try: rec.forget()\n    except ValueError as error: print(error)\n"
    )
    (place / "s.sqlite").chmod(0o444)
    place.chmod(0o555)
    command = [sys.executable, "-c", code, str(toy_bundle), str(place / "s.sqlite"), str(tmp_path / "u")]
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            with_x = folder.stat().st_mode | 0o055
            if folder != folder.parent and folder.owner() == "root" and "pytest" in str(folder):
                folder.chmod(with_x)
        command = ["setpriv", "--reuid=65534", "--clear-groups", *command]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    place.chmod(0o755)
    assert run.returncode == 0, run.stderr
    first, forgotten = run.stdout.splitlines()
    assert first.startswith("4 False 5 1 ") and "events are in memory only" in first
    assert "erased from memory, but the file cannot be written" in forgotten


def full_disk(path, code):
    """Run code with a file size limit just above the store's size: the nearest to a full disk without being root."""
    most = max(path.stat().st_size if path.exists() else 0, 1)
    run = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom pathlib import Path\npath = Path(sys.argv[1])\n{code}", str(path)],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_a_full_disk_at_the_start_is_no_reason_not_to_open(tmp_path):
    code = (
        "from edgerec.runtime.store import EventStore\nstore = EventStore(path)\n"
        "try: print(store.events.append('a', 'click', 5, {}))\nexcept ValueError as e: print(e)\n"
        "print(store.events.read(('click',)).item, store.lost, store.trouble)"
    )
    refused, kept = full_disk(tmp_path / "s.sqlite", code)
    assert "events are in memory only" in refused
    assert kept.startswith("['a'] 1 ") and "in memory only" in kept


def test_on_a_full_disk_a_user_can_still_be_forgotten(tmp_path):
    path = filled(tmp_path / "s.sqlite")
    code = (
        "from edgerec.runtime.store import EventStore\nstore = EventStore(path)\n"
        "store.forget('anna')\nprint(len(store.events.read(('click',)).item), store.profiles(), store.trouble)"
    )
    path.with_name("s.sqlite-wal").unlink(missing_ok=True)
    (said,) = full_disk(path, code)
    assert said == f"{MANY // 2} [''] None"


def test_the_disk_is_used_again_once_it_can_be(tmp_path, monkeypatch):
    path = filled(tmp_path / "s.sqlite", n=4)
    opened = module.Database._open

    def full(self, where):
        if where is not None:
            raise sqlite3.OperationalError("database or disk is full")
        return opened(self, where)

    monkeypatch.setattr(module.Database, "_open", full)
    store = EventStore(path)
    with pytest.raises(DataError, match="in memory only"):
        store.events.append("kept", "click", NOW, {})
    assert events(store) == ["i0", "i2", "kept"] and "disk is full" in store.trouble
    monkeypatch.undo()
    store._database._retry_s = 0
    assert store.events.append("later", "click", NOW, {})
    store.close()
    assert events(EventStore(path)) == ["i0", "i2", "kept", "later"]


def test_a_locked_store_holds_an_event_up_for_a_fifth_of_a_second_and_loses_nothing(toy_bundle, tmp_path):
    path = tmp_path / "s.sqlite"
    with Recommender.open(toy_bundle, store=path) as rec:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        assert not rec.observe("i1", time=NOW)
        assert time.monotonic() - start < 0.5
        assert rec.health()["waiting"] == 1 and rec.health()["lost"] == 0
        assert list(rec.arrays.history(None).items) == [1]  # it counts at once
        other.execute("COMMIT")
        other.close()
        assert rec.observe("i2", time=NOW)
        assert rec.health()["waiting"] == 0 and list(rec.arrays.history(None).items) == [1, 2]
    with Recommender.open(toy_bundle, store=path) as rec:
        assert rec.health()["events"] == 2


def test_what_waits_when_it_is_closed_is_written_or_counted(tmp_path):
    path = tmp_path / "s.sqlite"
    store, other = EventStore(path), sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(DataError, match="waits in memory"):
            store.events.append("a", "click", 5, {}, profile="anna")
    store.events.drop_waiting("bob")
    assert store.events.waiting == 2
    store.close()
    assert store.lost == 2
    other.close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_gone_under_a_running_app_is_made_anew(tmp_path, how):
    path, fresh = tmp_path / "s.sqlite", tmp_path / "other.sqlite"
    store = EventStore(path)
    store.events.append("before", "click", 5, {})
    if how == "deleted":
        for file in tmp_path.iterdir():
            file.unlink()
    else:
        EventStore(fresh).close()
        fresh.replace(path)
    assert store.events.append("after", "click", 6, {})
    store.close()
    assert events(EventStore(path)) == ["after"]


@pytest.mark.parametrize("damage", ["lacks a row", "names another row"])
def test_an_index_that_is_damaged_keeps_no_row_of_a_forgotten_user(tmp_path, damage):
    path = tmp_path / "s.sqlite"
    store = EventStore(path)
    for number in range(40):
        store.events.append(f"i{number}", "click", number, {}, profile=("anna", "bob")[number % 2])
    store.close()
    other = "WHERE item <> 'i21'" if damage == "lacks a row" else ""
    column = "profile" if damage == "lacks a row" else "CASE id WHEN 22 THEN 'bcb' ELSE profile END"
    with closing(sqlite3.connect(path)) as db:  # as a flipped bit in a page of the index leaves it
        db.execute("DROP INDEX events_of")
        db.execute(f"CREATE INDEX events_of ON events({column}, id) {other}")
        db.execute("PRAGMA writable_schema = ON")
        sql = "CREATE INDEX events_of ON events(profile, id)"
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'events_of'", (sql,))
        db.commit()
    store = EventStore(path)
    store.forget("bob")
    assert not len(store.events.read((), "bob").item) and len(store.events.read((), "anna").item) == 20
    store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM events NOT INDEXED WHERE profile = 'bob'").fetchone() == (0,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_only_its_owner_reads_the_store(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    store.events.append("a", "click", 5, {})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


def test_no_page_of_others_keeps_bytes_of_a_forgotten_user(tmp_path):
    path = tmp_path / "s.sqlite"
    store = EventStore(path)
    store._database.connection.execute("PRAGMA synchronous = OFF")
    choose = random.Random(1)
    for i in range(600):
        who = choose.choice(["anna", "bob"])
        item = f"{who}-secret-{'x' * choose.randrange(200)}"
        store.events.append(item, "click", i, {}, profile=who, event_id=f"{who}-{i}")
    for _ in range(3):
        store.forget("anna")
        assert b"anna" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())
        for i in range(50):
            store.events.append(f"anna-{i}-{'y' * choose.randrange(300)}", "click", i, {}, profile="anna")
    assert b"bob" in path.read_bytes()


def test_a_store_whose_head_is_zeros_is_set_aside_and_a_foreign_file_is_not(tmp_path):
    path = filled(tmp_path / "s.sqlite", n=10)
    content = path.read_bytes()
    path.write_bytes(bytes(4096) + content[4096:])
    store = EventStore(path)
    assert store.size()["damaged"] == 1
    store.close()
    path.write_bytes(b"PK\3\4" + os.urandom(9000))
    with pytest.raises(DataError, match="cannot be used as an event log"):
        EventStore(path)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """The content of an encrypted store."""
    pytest.importorskip("sqlcipher3", reason="the extra encrypt is not installed")
    return filled(tmp_path_factory.mktemp("locked") / "s.sqlite", KEY, 40).read_bytes()


def test_a_damaged_salt_of_an_encrypted_store_loses_nothing(tmp_path, locked):
    path = tmp_path / "s.sqlite"
    for damage in (bytes([locked[0] ^ 1]), bytes(byte ^ 0x11 for byte in locked[:4]), bytes(16), os.urandom(16)):
        path.write_bytes(damage + locked[len(damage) :])
        store = EventStore(path, key=KEY)
        assert len(events(store)) == 20 and store.size()["damaged"] == 0
        store.events.append("new", "click", NOW, {})
        store.close()


@pytest.mark.parametrize(
    "damage",
    [lambda c: os.urandom(4096) + c[4096:], lambda c: bytes(4096) + c[4096:], lambda c: c[:16] + os.urandom(4080),
     lambda c: c[:16] + os.urandom(len(c) - 16), lambda c: c[:100], lambda c: c[:9], lambda c: bytes(len(c))],
)  # fmt: skip
def test_a_damaged_head_of_an_encrypted_store_is_set_aside(toy_bundle, tmp_path, locked, damage):
    path = tmp_path / "s.sqlite"
    path.write_bytes(damage(locked))
    with Recommender.open(toy_bundle, store=path, store_key=KEY, engine="numpy") as rec:
        assert rec.observe("i1", time=NOW) and len(rec.recommend(k=3, now=NOW)) == 3
        assert rec.health()["damaged"] == 1 and rec.health()["damage"].endswith("set aside as s.sqlite.damaged")
        rec.forget()
        assert not (tmp_path / "s.sqlite.damaged").exists()


def old_store(path):
    """As an earlier version wrote it: with a salt of its own."""
    import sqlcipher3.dbapi2

    db = sqlcipher3.dbapi2.connect(path, isolation_level=None)
    db.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    for statement in filter(str.strip, module._TABLES.split(";")):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {module.SCHEMA}")
    db.execute("INSERT INTO events(item, kind, time_ms) VALUES ('old', 'click', 5)")
    db.close()


def test_an_encrypted_store_with_a_salt_of_its_own_is_read_and_its_salt_is_not_known(tmp_path):
    pytest.importorskip("sqlcipher3", reason="the extra encrypt is not installed")
    path = tmp_path / "s.sqlite"
    old_store(path)
    store = EventStore(path, key=KEY)
    assert events(store) == ["old"]
    store.close()
    flipped(path, 3)
    content = path.read_bytes()
    with pytest.raises(DataError, match="damage to its salt looks like a wrong key") as caught:
        EventStore(path, key=KEY)
    assert "\n" not in str(caught.value) and path.read_bytes() == content


def test_a_table_whose_name_is_no_text_is_damage(tmp_path):
    path = filled(tmp_path / "s.sqlite", n=4)
    path.write_bytes(path.read_bytes().replace(b"tablelearnedlearned", b"tablelear\xffedlear\xffed"))
    store = EventStore(path)
    assert store.events.append("new", "click", NOW, {}) and events(store)[-1] == "new"


def test_a_store_that_the_disk_does_not_give_is_no_reason_not_to_open(tmp_path, monkeypatch):
    path = filled(tmp_path / "s.sqlite", n=4)
    path.write_bytes(path.read_bytes()[:4096])

    def failing(*_):
        raise OSError("Input/output error")

    monkeypatch.setattr(module, "looks_like_ours", failing)
    store = EventStore(path)
    assert "in memory only" in store.trouble
    with pytest.raises(DataError, match="in memory only"):
        store.events.append("new", "click", NOW, {})
    assert events(store) == ["new"] and store.lost == 1
