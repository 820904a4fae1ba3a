"""Trainings side by side: results in files, lines passed on, errors and stops as in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgerec.errors import DataError, EdgerecError
from edgerec.progress import Progress, Silent
from edgerec.training.processes import Beside, side_by_side


class Heard(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@dataclass(frozen=True)
class Writes:
    """Leaves the number of its process in a file; `fails`: how it ends otherwise."""

    path: Path
    fails: str = ""

    def __call__(self, progress: Progress) -> None:
        with progress.track(1, "writing") as done:
            progress.say(f"writing {self.path.name}")
            if self.fails == "error":
                raise DataError("no data")
            if self.fails == "killed":
                os._exit(9)
            if self.fails == "stopped":  # by an operator or a batch system, not by this program
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            if self.fails == "defect":
                raise KeyError("graph")
            self.path.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")
            done.advance()


def test_each_has_a_process_of_its_own_and_is_heard(tmp_path):
    progress = Heard()
    side_by_side([Writes(tmp_path / str(i)) for i in range(3)], progress, "writing", workers=2)
    written = [(tmp_path / str(i)).read_text().split() for i in range(3)]

    assert len({process for process, _ in written} | {str(os.getpid())}) == 4
    assert {threads for _, threads in written} == {"1"}
    assert sorted(progress.lines) == ["writing 0", "writing 1", "writing 2"]


@dataclass(frozen=True)
class Describes:
    """Writes how many threads the process that it was forked from has, what is loaded, and a variable of now."""

    path: Path

    def __call__(self, progress: Progress) -> None:
        parent = Path(f"/proc/{os.getppid()}/status").read_text()
        threads = next(line.split()[1] for line in parent.splitlines() if line.startswith("Threads:"))
        self.path.write_text(f"{threads} {'torch' in sys.modules} {os.environ['SAID_NOW']}")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are spawned elsewhere")
def test_processes_are_forked_from_one_with_the_libraries_and_a_single_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("SAID_NOW", "after it was started")
    side_by_side([Describes(tmp_path / str(i)) for i in range(2)], Silent(), "describing", workers=2)

    assert {(tmp_path / str(i)).read_text() for i in range(2)} == {"1 True after it was started"}


def test_one_worker_is_this_process(tmp_path):
    side_by_side([Writes(tmp_path / "0"), Writes(tmp_path / "1")], Silent(), "writing", workers=1)

    assert (tmp_path / "1").read_text().split()[0] == str(os.getpid())


ENDS = [
    ("error", DataError, "no data"),
    ("killed", EdgerecError, "with 9; was memory short"),
    ("stopped", EdgerecError, "stopped from outside; the same command goes on"),
    ("defect", RuntimeError, r"(?s)in a process beside this one:.*KeyError: 'graph'"),
]


@pytest.mark.parametrize(("fails", "error", "said"), ENDS)
def test_what_one_of_them_raises_stops_all(tmp_path, fails, error, said):
    with pytest.raises(error, match=said):
        side_by_side([Writes(tmp_path / "0", fails), Writes(tmp_path / "1")], Silent(), "writing", workers=2)


@dataclass(frozen=True)
class Counts:
    """Says its process, and returns it; `fails`: how it ends otherwise."""

    fails: str = ""

    def __call__(self, progress: Progress) -> int:
        progress.say("counting")
        if self.fails:
            return Writes(Path("unused"), self.fails)(progress) or 0
        return os.getpid()


@pytest.mark.parametrize("alone", [False, True])
def test_what_was_done_beside_is_returned_and_heard(alone, monkeypatch):
    monkeypatch.setattr("edgerec.training.processes.cores", lambda: 2)
    progress = Heard()
    with Beside(Counts(), progress, alone) as counting:
        assert (counting.result() == os.getpid()) == alone

    assert progress.lines == ["counting"]


@pytest.mark.parametrize(("fails", "error", "said"), ENDS)
def test_an_error_beside_is_raised_when_the_result_is_asked_for(fails, error, said, monkeypatch):
    monkeypatch.setattr("edgerec.training.processes.cores", lambda: 2)
    with Beside(Counts(fails), Silent()) as counting, pytest.raises(error, match=said):
        counting.result()


@pytest.mark.parametrize(("alone", "within"), [(False, 1), (True, 2)])
def test_each_of_two_processes_has_half_of_the_threads_until_the_result_is_there(alone, within, monkeypatch):
    import torch  # not above: the processes import this file

    monkeypatch.setattr("edgerec.training.processes.cores", lambda: 2)
    before, threads = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        with Beside(Counts(), Silent(), alone) as counting:
            threads.append(torch.get_num_threads())
            counting.result()
            threads.append(torch.get_num_threads())
        with Beside(Counts("error"), Silent(), alone):
            threads.append(torch.get_num_threads())
        threads.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert threads == [within, 2, within, 2]


PROGRAM = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from edgerec.progress import Silent
from edgerec.training.processes import side_by_side

@dataclass(frozen=True)
class Waits:
    path: Path
    def __call__(self, progress):
        try:
            self.path.with_suffix(".begun").touch()
            time.sleep(60)
        finally:
            time.sleep(0.5)  # as long as a checkpoint takes
            self.path.touch()

if __name__ == "__main__":
    side_by_side([Waits(Path(sys.argv[1]) / str(i)) for i in range(2)], Silent(), "writing", workers=2)
"""


def test_ctrl_c_lets_each_of_them_write_its_checkpoint(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.begun"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)

    assert (tmp_path / "0").exists() and (tmp_path / "1").exists()
