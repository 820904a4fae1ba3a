"""How a process shares the cores with others."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from edgerec.threads import ahead, cores, each_ahead, share_cores, with_threads


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    share_cores()

    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert os.environ["KMP_BLOCKTIME"] == "200"
    monkeypatch.delenv("OMP_WAIT_POLICY")


@pytest.mark.skipif(sys.platform != "linux", reason="of GNU's malloc")
def test_blocks_of_a_step_are_kept_by_malloc_unless_the_user_says_otherwise(monkeypatch):
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    share_cores()

    largest, kept = (int(os.environ[name]) for name in names)
    # A bound on what is kept alone would make every block of some size new, and a step take twice as long.
    assert 2**24 <= largest < kept
    assert os.environ["MALLOC_ARENA_MAX"] == "7"


def test_the_number_of_threads_is_a_limit_of_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert cores() >= 1


@pytest.mark.parametrize("before", [None, "3"])
def test_only_processes_started_within_get_other_numbers_of_threads(monkeypatch, before):
    monkeypatch.delenv("OMP_NUM_THREADS") if before is None else monkeypatch.setenv("OMP_NUM_THREADS", before)
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    with with_threads(2):
        within = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert within.strip() == "2"
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_the_command_line_sets_it_before_anything_heavy_is_loaded():
    code = """
import os, sys
os.environ.pop("OMP_WAIT_POLICY", None)
from typer.testing import CliRunner
from edgerec.cli.main import app
CliRunner().invoke(app, ["devices"])
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["passive", "False"]


def test_what_is_made_ahead_comes_in_order_and_an_error_after_what_was_made_before_it(monkeypatch):
    monkeypatch.setattr("edgerec.threads.cores", lambda: 2)

    def numbers():
        yield from range(3)
        raise ValueError("no more")

    made = []
    with pytest.raises(ValueError, match="no more"):
        made.extend(ahead(numbers()))
    some = ahead(iter(range(10)))
    assert made == [0, 1, 2] and next(some) == 0
    some.close()


def test_each_is_made_ahead_in_order_by_one_thread_of_torch_and_the_first_alone(monkeypatch):
    import torch

    monkeypatch.setattr("edgerec.threads.cores", lambda: 2)
    before, running, most = torch.get_num_threads(), [], []

    def square(value):
        running.append(value)
        within = list(each_ahead(lambda v: v + 1, [1, 2, 3, 4]))  # here nothing more is started
        time.sleep(0.02)
        most.append((value, len(running), torch.get_num_threads(), within))
        running.remove(value)
        return value**2

    torch.set_num_threads(2)
    try:
        assert list(each_ahead(square, range(8))) == [v**2 for v in range(8)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert most[0][:2] == (0, 1) and max(n for _, n, *_ in most) == 2
    assert {threads for value, _, threads, _ in most if value} == {1}
    assert all(within == [2, 3, 4, 5] for *_, within in most)


def test_an_error_of_one_is_raised_when_it_is_due(monkeypatch):
    monkeypatch.setattr("edgerec.threads.cores", lambda: 2)
    inverses = each_ahead(lambda value: 1 / value, [1, 2, 0, 4])

    assert [next(inverses), next(inverses)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(inverses)


def test_the_tests_use_the_threads_that_their_environment_says():
    """Models trained by other numbers of threads differ in the last digits, here and in processes that tests start."""
    import torch

    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
