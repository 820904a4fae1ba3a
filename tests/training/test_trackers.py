"""What training writes of itself: TensorBoard always, other trackers by setting."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from edgerec.config.stages import TrainingConfig
from edgerec.errors import MissingExtraError
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Silent
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.loop import fit
from edgerec.training.updates import learning_rate_factor

BATCHES = BatchSettings(sessions=64, impressions=256, sessions_per_epoch=1_000, history_dropout=0.0, lag=0)
LOOP = LoopSettings(epochs=2, learning_rate=3e-3, weight_decay=0.1, patience=None)


def train(data, folder, **training):
    torch.manual_seed(0)
    model = Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2))
    valid = JointBatches(data.evaluation, BATCHES, 0, train=False)
    loop = replace(LOOP, training=TrainingConfig(accelerator="cpu", **training))
    batches = JointBatches(data.train, BATCHES, 7)
    return fit(TrainingJob(model, batches, valid, loop, folder / "work", Silent(), "model"))


def test_tensorboard_shows_each_loss_the_gradient_the_learning_rate_and_the_validation(tiny_data, tmp_path):
    fitted = train(tiny_data, tmp_path)
    events = EventAccumulator(str(tmp_path / "work-log"))
    events.Reload()

    names = {t.name for t in tiny_data.tasks}
    train_tags = {f"train/{name}" for name in names} | {"train/gradient_norm", "train/learning_rate"}
    assert train_tags | {f"valid/{name}" for name in [*names, "loss"]} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("train/learning_rate")][:2] == [0, 20]
    assert events.Scalars("train/learning_rate")[0].value == pytest.approx(3e-3 * learning_rate_factor(0))
    assert min(e.value for e in events.Scalars("valid/loss")) == pytest.approx(fitted.valid["loss"])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_line_before_any_step(tiny_data, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtraError) as caught:
        train(tiny_data, tmp_path, **{name: "shop"})

    line = f"[training] {name} is set, but {name} is not installed: pip install {name}"
    assert str(caught.value) == line
    assert not (tmp_path / "work").exists()


class FakeWandb:
    """Records what is logged."""

    def __init__(self):
        self.calls, self.finished = [], False

    def init(self, **facts):
        self.facts = facts
        return self

    def log(self, values, step):
        self.calls.append((step, values))

    def finish(self):
        self.finished = True


def test_weights_and_biases_is_told_all_that_tensorboard_is(tiny_data, tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train(tiny_data, tmp_path, wandb="shop")

    assert (wandb.facts["project"], wandb.facts["name"]) == ("shop", "model")
    assert (wandb.facts["config"]["seed"], wandb.facts["config"]["learning_rate"]) == (7, 3e-3)
    steps = [step for step, _ in wandb.calls]
    assert steps == sorted(steps)
    assert {"train/click", "train/gradient_norm", "valid/loss"} <= {
        name for _, values in wandb.calls for name in values
    }
    assert wandb.finished


class FakeMlflow:
    """A client that records what is logged."""

    def __init__(self, tracking_uri):
        self.address, self.parameters, self.metrics, self.ended = tracking_uri, {}, {}, False

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"number of {name}"

    def create_run(self, experiment, run_name):
        self.run = (experiment, run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id="run"))

    def log_param(self, run, name, value):
        self.parameters[name] = value

    def log_metric(self, run, name, value, step):
        self.metrics.setdefault(name, []).append((step, value))

    def set_terminated(self, run):
        self.ended = True


def test_mlflow_is_told_all_that_tensorboard_is(tiny_data, tmp_path, monkeypatch):
    clients = []
    client = SimpleNamespace(MlflowClient=lambda tracking_uri: clients.append(FakeMlflow(tracking_uri)) or clients[-1])
    monkeypatch.setitem(sys.modules, "mlflow", client)
    train(tiny_data, tmp_path, mlflow="folder")

    (found,) = clients
    assert (found.address, found.run) == ("folder", ("number of edgerec", "model"))
    assert found.parameters["seed"] == 7
    assert len(found.metrics["valid/loss"]) == 2
    assert found.ended
