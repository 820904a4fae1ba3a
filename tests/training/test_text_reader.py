"""A language model that learns along with the network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from edgerec.data import prepare
from edgerec.errors import ConfigError
from edgerec.examples.batches import JointBatches
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.stages.train import text_reader
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.joint import JointTraining
from edgerec.training.loop import _Loop, fit
from edgerec.training.teacher import batch_settings, build_teacher
from tests import tiny
from tests.models.test_text import make_model

LOOP = LoopSettings(epochs=2, learning_rate=3e-3, weight_decay=0.1, patience=None)


@pytest.fixture(scope="module", params=["lora", "full"])
def joint(tmp_path_factory, request):
    """Settings and data of a tiny log whose items are named by their camp's colour, read eight at a time."""
    folder = tmp_path_factory.mktemp("joint")
    log = tiny.rows()
    log["shelf"] = [{"x": "tea", "y": "cup", "z": "red"}[shelf] for shelf in log["shelf"]]  # words that it knows
    tiny.write(folder, log)
    config = tiny.config(
        folder,
        data=tiny.settings()["data"] | {"items": {"text": ["shelf"]}},
        teacher={"text_model": make_model(folder / "model"), "text_tuning": request.param, "text_joint": 8},
    )
    prepare(config, folder / "run")
    return config, Run(config, folder / "run", Silent()).learning_data("valid")


def train(joint, folder, loop=LOOP):
    config, data = joint
    model, reader = build_teacher(config.teacher, config.seed, data), text_reader(data)
    batches = JointBatches(data.train, batch_settings(config.teacher, data), seed=0)
    fit(TrainingJob(model, batches, None, loop, folder / "work", Silent(), "model", reader=reader))
    return model, reader


def test_it_starts_where_tuning_ended(joint):
    _, data = joint
    reader = text_reader(data)

    assert torch.allclose(reader.all(), data.features.text, atol=1e-4)
    items, vectors = reader.fresh(torch.tensor([3, 5, 3]))
    assert sorted(items.tolist()) == [3, 5]
    assert torch.allclose(vectors, data.features.text[items], atol=1e-4)


def test_it_reads_no_more_texts_than_it_is_told_to(joint):
    _, data = joint
    reader = text_reader(data)

    assert len(reader.fresh(torch.arange(30))[0]) == 8
    assert reader.fresh(torch.zeros(0, dtype=torch.int64)) is None


def test_the_joint_loss_reaches_the_language_model(joint):
    config, data = joint
    module = JointTraining(
        build_teacher(config.teacher, config.seed, data), data.tasks, data.train.n_seen, reader=text_reader(data)
    )
    batch = next(iter(JointBatches(data.train, batch_settings(config.teacher, data), seed=0)))
    module.train()
    module.total(module.losses(batch)).backward()

    reached = [p.grad.abs().sum() > 0 for p in module.reader.parameters() if p.requires_grad and p.grad is not None]
    assert any(reached)
    assert not module.reader.encoder.training
    module.eval()
    before = module.model.items.text.clone()
    module.losses(batch)
    assert torch.equal(before, module.model.items.text)


def test_what_it_learned_is_kept_with_the_network(joint, tmp_path):
    _, data = joint
    model, reader = train(joint, tmp_path)
    text = model.state_dict()["items.text"]

    assert not torch.allclose(text, data.features.text, atol=1e-4)
    assert torch.allclose(text, reader.all(), atol=1e-4)


def test_a_network_takes_texts_that_were_read_in_half_precision(joint):
    config, data = joint
    tower = build_teacher(config.teacher, config.seed, data).items
    exact = data.features.text[:2] + 1.0
    found = []
    for vectors in (exact.bfloat16(), exact):  # as a GPU reads, and as a CPU does
        tower.fresh = torch.arange(2), vectors
        found.append(tower(torch.from_numpy(data.statistics.values[-1]))[0])

    assert torch.allclose(*found, atol=0.05)


def test_training_that_was_stopped_ends_with_the_same_weights(joint, tmp_path, monkeypatch):
    whole, _ = train(joint, tmp_path / "whole")
    update, done = _Loop._update, []

    def stops(self, added):
        if len(done) == 3:
            self._save()
            raise KeyboardInterrupt
        done.append(added)
        update(self, added)

    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "_update", stops)
        with pytest.raises(KeyboardInterrupt):
            train(joint, tmp_path / "stopped")
    again, _ = train(joint, tmp_path / "stopped")

    assert all(torch.equal(v, again.state_dict()[n]) for n, v in whole.state_dict().items())


def test_several_processes_are_refused_in_one_line(joint, tmp_path):
    config, _ = joint
    loop = replace(LOOP, training=config.training.model_copy(update={"devices": 2}))

    with pytest.raises(ConfigError, match=r"text_joint needs \[training\] devices and num_nodes = 1"):
        train(joint, tmp_path, loop)


def test_a_frozen_text_model_cannot_learn_along(tmp_path):
    with pytest.raises(ConfigError, match='set text_tuning = "lora" or "full"'):
        tiny.config(tmp_path, teacher={"text_joint": 8})


def test_the_kept_weights_hold_no_language_model(joint, tmp_path):
    from edgerec.training.checkpoint import save_weights

    model, _ = train(joint, tmp_path, replace(LOOP, epochs=1))
    save_weights(model, tmp_path / "w.safetensors")

    assert "items.text" in load_file(tmp_path / "w.safetensors")
    assert not [n for n in load_file(tmp_path / "w.safetensors") if "encoder" in n]
