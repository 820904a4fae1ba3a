"""Training that is killed at any time and started again ends with the weights of training that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgerec.config.stages import TrainingConfig
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.models.student import Student, StudentSizes
from edgerec.models.teacher import Teacher
from edgerec.progress import Silent
from edgerec.tasks import scored_tasks
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.loop import _Loop, fit
from edgerec.training.resume import load_checkpoint, save_checkpoint
from tests import tiny

BATCHES = BatchSettings(sessions=16, impressions=128, sessions_per_epoch=1_000, history_dropout=0.2, lag=2)
EACH_STEP = TrainingConfig(checkpoint_minutes=1e-9, accelerator="cpu")
LOOP = LoopSettings(epochs=2, learning_rate=3e-3, weight_decay=0.1, patience=2, training=EACH_STEP)


def student(data):
    torch.manual_seed(0)
    return Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2), dropout=0.3)


def teacher(data):
    torch.manual_seed(0)
    pointwise = [t.kind != "retrieval" for t in scored_tasks(data.tasks)]
    return Teacher(data.shape, data.features, pointwise, 8, 16, 2, 2, 0.3)


def train(data, folder, make=student, settings=LOOP):
    """Weights after training, in the program of the killed processes too."""
    torch.rand(random.randrange(100))  # whatever was drawn before
    model = make(data)
    train_batches = JointBatches(data.train, BATCHES, seed=5)
    valid = JointBatches(data.evaluation, BATCHES, 0, train=False)
    fitted = fit(TrainingJob(model, train_batches, valid, settings, folder / "work", Silent(), "model"))
    return {**model.state_dict(), "epochs": torch.tensor(fitted.epochs)}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


class Stop(Exception):
    """Instead of a kill, where one process is enough."""


@pytest.fixture
def stop_at(monkeypatch):
    """Ends training at its n-th batch from then on."""

    def arm(step, end=Stop):
        learn, seen = _Loop._learn, []

        def counted(self, batch, number):
            seen.append(number)
            if len(seen) == step:
                monkeypatch.setattr(_Loop, "_learn", learn)
                raise end
            learn(self, batch, number)

        monkeypatch.setattr(_Loop, "_learn", counted)

    return arm


@pytest.fixture(scope="module")
def unbroken(tiny_data, tmp_path_factory):
    return train(tiny_data, tmp_path_factory.mktemp("unbroken"))


def stopped_twice(data, folder, stop_at, first, second, **kwargs):
    for step in (first, second):
        stop_at(step)
        with pytest.raises(Stop):
            train(data, folder, **kwargs)
    return train(data, folder, **kwargs)


@pytest.mark.parametrize(("first", "second"), [(1, 9), (14, 2)])
def test_training_stopped_anywhere_ends_with_the_same_weights(tiny_data, tmp_path, stop_at, unbroken, first, second):
    assert same(stopped_twice(tiny_data, tmp_path, stop_at, first, second), unbroken)


@pytest.mark.parametrize("settings", ["accumulate", "fp16", "teacher", "rare checkpoints"])
def test_training_goes_on_exactly_with_any_setting(tiny_data, tmp_path, stop_at, settings):
    change = {"accumulate": {"accumulate": 3}, "teacher": {}, "rare checkpoints": {"checkpoint_minutes": 5.0}}
    training = EACH_STEP.model_copy(update=change.get(settings, {"precision": settings}))
    kwargs = {
        "settings": replace(LOOP, training=training),
        "make": teacher if settings == "teacher" else student,
    }

    stopped = stopped_twice(tiny_data, tmp_path / "stopped", stop_at, 9, 6, **kwargs)

    assert same(stopped, train(tiny_data, tmp_path / "unbroken", **kwargs))


def test_a_checkpoint_within_an_epoch_is_gone_on_from_there(tiny_data, tmp_path, stop_at):
    stop_at(6)
    with pytest.raises(Stop):
        train(tiny_data, tmp_path)

    assert load_checkpoint(tmp_path / "work" / "last.ckpt")["at"] == {"epoch": 0, "batch": 5, "updates": 5}


PROGRAM = """
import os, signal, sys
from pathlib import Path
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.training import resume
from tests import tiny
from tests.training.test_resume import train

log, run, work = map(Path, sys.argv[1:])
save, calls = resume.torch.save, []

def killed(state, file):
    calls.append(state)
    if len(calls) == 16:
        file.write(b"PK" * 100)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, file)

resume.torch.save = killed
train(Run(tiny.config(log), run, Silent()).learning_data("test"), work)
"""


def test_a_process_killed_while_it_writes_a_checkpoint_within_an_epoch_is_gone_on_with(
    tiny_config, tiny_run, tiny_data, tmp_path, unbroken
):
    command = [sys.executable, "-c", PROGRAM, tiny_config.resolve("."), str(tiny_run), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    assert subprocess.run(command, env=environment, timeout=300).returncode == -signal.SIGKILL
    assert (tmp_path / "work" / "last.ckpt.part").stat().st_size == 200
    assert load_checkpoint(tmp_path / "work" / "last.ckpt")["at"] == {"epoch": 0, "batch": 15, "updates": 15}
    assert same(train(tiny_data, tmp_path), unbroken)


def test_a_checkpoint_holds_no_code(tiny_data, tmp_path, unbroken):
    save_checkpoint(tmp_path / "last.ckpt", {"at": {"epoch": 1}})

    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"format": 1, "at": {"epoch": 1}}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]  # and no half file beside it


def stage(folder, name="train"):
    """`edgerec NAME` in a process of its own."""
    code = "import sys; from edgerec.cli.main import app; sys.argv[0] = 'edgerec'; app()"
    command = [sys.executable, "-c", code, name, "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def prepared(folder, **training):
    """A folder whose log is ready for `edgerec train`."""
    tiny.write(folder)
    sections = {"teacher": {"epochs": 4}, "training": {"checkpoint_minutes": 0.001, **training}}
    (folder / "edgerec.toml").write_text(tiny.toml(tiny.settings(**sections)))
    assert stage(folder, "prepare").wait(300) == 0
    return folder


def networks(folder):
    return {path.name: load_file(path) for path in sorted((folder / "run" / "teacher").glob("*.safetensors"))}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder whose teacher was trained without a break, and how long that took, in seconds."""
    folder, start = prepared(tmp_path_factory.mktemp("trained")), time.monotonic()
    assert stage(folder).wait(900) == 0
    return folder, time.monotonic() - start


@pytest.mark.slow
def test_a_stage_killed_at_random_times_makes_the_same_teacher(trained, tmp_path):
    folder, seconds = trained
    killed, rng = prepared(tmp_path), random.Random(0)
    for _ in range(6):
        process = stage(killed)
        time.sleep(rng.uniform(0.1, 1.0) * seconds)
        process.kill()
        process.communicate()
    last = stage(killed)
    assert last.communicate(timeout=900)[0] is None
    assert last.returncode == 0

    wanted, found = networks(folder), networks(killed)
    assert wanted.keys() == found.keys()
    assert all(same(found[name], wanted[name]) for name in wanted)
    assert not list((killed / "run" / "work").glob("teacher-*"))


@pytest.mark.slow
def test_a_stage_trains_in_two_processes(tmp_path):
    folder = prepared(tmp_path, devices=2, strategy="ddp", accelerator="cpu")
    process = stage(folder)
    _, said = process.communicate(timeout=900)

    assert process.returncode == 0, said
    assert said.count("network on valid: epoch 1 of 4") == 1  # one of them speaks
    assert networks(folder).keys() == {f"{kind}-{fold}.safetensors" for kind in ("early", "fold") for fold in (0, 1)}
