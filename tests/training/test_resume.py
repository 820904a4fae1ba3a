"""Training that is killed at any moment and started again ends with the weights of training that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgerec.config.stages import TrainingConfig
from edgerec.models.student import Student, StudentSizes
from edgerec.models.teacher import Teacher
from edgerec.progress import Silent
from edgerec.tasks import scored_tasks
from edgerec.training.batches import BatchSettings, JointBatches
from edgerec.training.loop import LoopSettings, _Run, fit
from edgerec.training.resume import load_checkpoint, save_checkpoint

BATCHES = BatchSettings(visits=16, rows=128, visits_per_epoch=1_000, history_dropout=0.2, lag=2)
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
    train_batches = JointBatches(data.fit, BATCHES, seed=5)
    held = JointBatches(data.held, BATCHES, 0, train=False)
    fitted = fit(model, data.tasks, train_batches, held, settings, folder / "work", Silent(), "model")
    return {**model.state_dict(), "epochs": torch.tensor(fitted.epochs)}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


class Stop(Exception):
    """Instead of a kill, where one process is enough."""


@pytest.fixture
def stop_at(monkeypatch):
    """Ends training at its n-th batch from then on."""

    def arm(step, end=Stop):
        learn, seen = _Run._learn, []

        def counted(self, batch, number):
            seen.append(number)
            if len(seen) == step:
                monkeypatch.setattr(_Run, "_learn", learn)
                raise end
            learn(self, batch, number)

        monkeypatch.setattr(_Run, "_learn", counted)

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
from edgerec.training.load import load_learning_data
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
train(load_learning_data(tiny.config(log), run, "test", Silent()), work)
"""


def test_a_process_killed_while_it_writes_a_checkpoint_within_an_epoch_is_gone_on_with(
    tiny_config, tiny_run, tiny_data, tmp_path, unbroken
):
    command = [sys.executable, "-c", PROGRAM, tiny_config.resolve("."), str(tiny_run), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    assert subprocess.run(command, env=environment, timeout=300).returncode == -signal.SIGKILL
    assert (tmp_path / "work" / "last.ckpt.part").stat().st_size == 200
    assert load_checkpoint(tmp_path / "work" / "last.ckpt")["at"] == {"epoch": 1, "batch": 3, "updates": 14}
    assert same(train(tiny_data, tmp_path), unbroken)


def test_a_checkpoint_holds_no_code(tiny_data, tmp_path, unbroken):
    save_checkpoint(tmp_path / "last.ckpt", {"at": {"epoch": 1}})

    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"format": 1, "at": {"epoch": 1}}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]  # and no half file beside it
