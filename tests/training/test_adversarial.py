"""Adversarial training: how far and where items move, that the loss is higher there, and that it is learned from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgerec.config.stages import TrainingConfig
from edgerec.errors import ConfigError
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.models.experts import ProgressiveLayeredExtraction
from edgerec.models.teacher import Teacher
from edgerec.progress import Silent
from edgerec.training import teacher as teacher_module
from edgerec.training.adversarial import Adversary, spread, worst_move
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.joint import JointTraining
from edgerec.training.loop import fit

BATCHES = BatchSettings(sessions=64, impressions=256, sessions_per_epoch=60, history_dropout=0.0, lag=0)
LOOP = LoopSettings(epochs=1, learning_rate=3e-3, weight_decay=0.1, patience=None)


def teacher(data):
    torch.manual_seed(0)
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, 0.0)


def train(data, folder, **changes):
    model = teacher(data)
    loop = replace(LOOP, **changes)
    fit(TrainingJob(model, JointBatches(data.train, BATCHES, 0), None, loop, folder, Silent(), "model"))
    return model.state_dict()


def test_the_spread_is_the_root_mean_squared_distance_from_the_mean():
    table = torch.tensor([[3.0, 5.0], [3.0, 5.0], [6.0, 9.0], [0.0, 1.0]])  # distances 0, 0, 5, 5

    assert spread(table).item() == pytest.approx(math.sqrt(50 / 4))


def test_each_row_moves_by_one_length_along_its_gradient():
    gradient = torch.tensor([[3.0, 4.0], [0.0, -1e-30], [0.0, 0.0], [math.inf, 1.0]])
    moved = worst_move(gradient, torch.tensor(2.0))

    assert moved[0].tolist() == pytest.approx([1.2, 1.6])
    assert moved[1].tolist() == [0.0, -2.0]
    assert moved[2].tolist() == [0.0, 0.0]
    assert torch.isfinite(moved).all()


def test_losses_are_higher_for_the_items_that_were_moved_and_as_ever_afterwards(tiny_data):
    module, adversary = JointTraining(teacher(tiny_data), tiny_data.tasks, tiny_data.train.n_seen), Adversary(0.1)
    (batch, *_) = JointBatches(tiny_data.train, BATCHES, 0)
    before = module.total(module.losses(batch)).item()
    with adversary.watched(module):
        watched = module.total(module.losses(batch))
        watched.backward()
    with adversary.attacked(module):
        attacked = module.total(module.losses(batch)).item()

    assert watched.item() == before
    assert attacked > before
    assert module.total(module.losses(batch)).item() == before


def test_the_gradient_of_both_losses_is_learned_from(tiny_data, tmp_path):
    plain, adversarial = (train(tiny_data, tmp_path / str(x), adversarial=x) for x in (0.0, 0.5))

    assert any(not torch.equal(v, adversarial[n]) for n, v in plain.items())
    assert all(torch.isfinite(v).all() for v in adversarial.values())


@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm", "pcgrad"])
def test_training_that_was_stopped_ends_with_the_same_weights_by_each_weighting(weighting, tiny_data, tmp_path):
    settings = {"loss_weights": weighting, "adversarial": 0.5, "epochs": 2}
    unbroken = train(tiny_data, tmp_path / "a", **settings)
    train(tiny_data, tmp_path / "b", stop_after=1, **settings)
    stopped = train(tiny_data, tmp_path / "b", **settings)

    assert all(torch.equal(v, stopped[n]) for n, v in unbroken.items())


def test_the_settings_of_the_teacher_reach_the_model_the_batches_and_the_loop(tiny_config, tiny_data, monkeypatch):
    keys = {"sharing": "ple", "loss_weights": "pcgrad", "adversarial": 0.3, "item_dropout": 0.4}
    settings, jobs = tiny_config.teacher.model_copy(update=keys), []
    monkeypatch.setattr(teacher_module, "fit", jobs.append)
    teacher_module.fit_on_valid(settings, TrainingConfig(), 0, tiny_data, Path("nowhere"), Silent(), "model")
    (job,) = jobs

    assert isinstance(job.model.request_experts, ProgressiveLayeredExtraction)
    assert (job.train.settings.history_dropout, job.train.train, job.valid.train) == (0.4, True, False)
    assert (job.settings.loss_weights, job.settings.adversarial) == ("pcgrad", 0.3)


@pytest.mark.parametrize("setting", [{"adversarial": 1.0}, {"loss_weights": "pcgrad"}, {"loss_weights": "gradnorm"}])
@pytest.mark.parametrize("training", [{"devices": 2, "accelerator": "cpu"}, {"compile": True}])
def test_what_goes_backward_more_than_once_excludes_other_settings(setting, training, tiny_data, tmp_path):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))}.* needs"):
        train(tiny_data, tmp_path, training=TrainingConfig(**training), **setting)
