"""Each class of faults, small: nothing is lost, nothing forged is accepted, nothing crashes, and nothing takes long."""

from __future__ import annotations

import json
import random

import pytest

pytest.importorskip("cryptography", reason="the extra sign is not installed")

from tests import toy
from tools.benchmarks import faults
from tools.benchmarks.injected import library
from tools.benchmarks.injected.recorded import SECTOR, Disk, Step, changes, surviving
from tools.benchmarks.injected.trial import Outcome, attempt

needs_injection = pytest.mark.skipif(library.compiler() is None, reason="needs Linux and a C compiler")


SHARES = {"kills": 0.01, "power-cuts": 0.02, "update-cuts": 0.05, "disk": 0.02, "damage": 0.015, "forgeries": 0.05,
          "processes": 0.02, "clocks": 0.05}  # fmt: skip


def no_harm(folder, name, share):
    """The tests may run beside much other work, so that only the benchmark judges seconds."""
    bundle = toy.write(folder, 60, 8)
    return faults.main([str(bundle), "--classes", name, "--share", str(share), "--seed", "1", "--max-s", "50"]) == 0


@needs_injection
@pytest.mark.parametrize("name", SHARES)
def test_a_class_of_faults_does_no_harm(name, tmp_path, capsys):
    assert no_harm(tmp_path, name, SHARES[name]), capsys.readouterr().out


@pytest.mark.slow
@needs_injection
@pytest.mark.parametrize("name", SHARES)
def test_ten_times_as_many_faults_do_no_harm(name, tmp_path, capsys):
    assert no_harm(tmp_path, name, 10 * SHARES[name]), capsys.readouterr().out


def test_an_odd_error_and_a_hang_are_crashes_and_cost_is_measured(monkeypatch):
    from tools.benchmarks.injected import trial

    monkeypatch.setattr(trial, "LIMIT_S", 1)

    def hang() -> Outcome:
        while True:
            pass

    def fat() -> Outcome:
        return Outcome(lost=len(bytes(100 << 20)) >> 20)

    assert attempt(lambda: 1 / 0).note.startswith("ZeroDivisionError at test_faults.py")
    assert attempt(hang).note == "ended by SIGALRM"
    outcome = attempt(fat)
    assert (outcome.lost, outcome.crashed) == (100, 0) and outcome.mebibytes > 100


def test_a_power_cut_keeps_what_was_flushed_and_loses_the_rest_in_whole_sectors():
    steps = [Step("C", "/a/s", 0), Step("W", "/a/s", 0, b"a" * 2000), Step("S", "/a", 0), Step("S", "/a/s", 0),
             Step("W", "/a/s", 2000, b"b" * 2000), Step("A", "", 1)]  # fmt: skip
    done = list(changes(steps, "/a", Disk()))
    kept = [surviving(done, random.Random(seed)) for seed in range(50)]

    assert all(done[1] in some for some in kept)
    parts = {len(change.content) for some in kept for change in some if change.place == 2000}
    assert 2000 in parts and len(parts) > 2
    assert all((2000 + size) % SECTOR == 0 or size in (0, 2000) for size in parts)
    assert {len(some) for some in kept} == {len(done), len(done) - 1}


def test_of_a_folder_that_is_not_flushed_the_first_entries_are_kept_however_many():
    steps = [Step("D", "/a/f", 0), Step("C", "/a/f/x", 0), Step("S", "/a/f", 0), Step("R", "/a/f", 0, b"/a/g"),
             Step("C", "/a/s", 0)]  # fmt: skip
    done = list(changes(steps, "/a", Disk()))
    kept = {
        tuple(change.names for change in surviving(done, random.Random(seed)) if change.names) for seed in range(50)
    }

    assert kept == {(("x",),), (("f",), ("x",)), (("f",), ("x",), ("f", "g")), (("f",), ("x",), ("f", "g"), ("s",))}


def test_what_is_replayed_is_what_was_written(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "here").write_bytes(b"here")
    disk = Disk.of(tmp_path / "old")
    steps = [Step("C", "/a/s", 0), Step("W", "/a/s", 2, b"xyz"), Step("T", "/a/s", 4), Step("C", "/a/t", 0),
             Step("U", "/a/t", 0), Step("D", "/a/f", 0), Step("R", "/a/here", 0, b"/a/f/there"),
             Step("W", "/a/t (deleted)", 0, b"gone")]  # fmt: skip
    assert len(list(changes(steps, "/a", disk))) == len(steps) - 1
    disk.write(tmp_path / "b")

    files = {path.name: path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert files == {"s": b"\0\0xy", "there": b"here"}


def test_a_count_fails_by_harm_by_memory_and_by_time_alone():
    for harm in ({"lost": 1}, {"accepted": 1}, {"crashed": 1}, {"mebibytes": 301.0}, {"seconds": 5.1}):
        count = faults.Count("x")
        count.add(Outcome())
        assert count.holds()
        count.add(Outcome(**harm))
        assert not count.holds() and count.trials == 2


def test_an_unknown_class_is_one_line(tmp_path, capsys):
    from tools.benchmarks.__main__ import main

    assert main(["faults", str(tmp_path), "--classes", "kills,fire"]) == 2
    assert "'fire' is not one of kills, power-cuts, update-cuts" in capsys.readouterr().err
    assert json.loads(json.dumps(faults.Count("x").row()))["trials"] == 0
