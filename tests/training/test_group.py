"""Several processes that share each batch learn what one learns."""

from __future__ import annotations

import pytest
import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from edgerec.config.stages import TrainingConfig
from edgerec.errors import ConfigError, EdgerecError
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Silent
from edgerec.training.group import _ours, in_group
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.loop import fit

BATCHES = BatchSettings(sessions=32, impressions=256, sessions_per_epoch=1_000, history_dropout=0.2, lag=0)
ALONE = TrainingConfig(accelerator="cpu")
TWO = TrainingConfig(accelerator="cpu", devices=2, strategy="ddp")


def train(data, folder, training):
    """Without dropout in the model, whose draws are each process's own."""
    torch.manual_seed(0)
    model = Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2))
    settings = LoopSettings(1, 3e-3, 0.1, 2, training=training)
    batches, valid = JointBatches(data.train, BATCHES, 0), JointBatches(data.evaluation, BATCHES, 0, train=False)
    fitted = fit(TrainingJob(model, batches, valid, settings, folder / "work", Silent(), "model"))
    return model.state_dict(), fitted


@pytest.mark.slow
def test_two_processes_learn_the_weights_of_one(tiny_data, tmp_path):
    one, alone = train(tiny_data, tmp_path / "one", ALONE)
    two, shared = train(tiny_data, tmp_path / "two", TWO)

    # The same bias of all items is nothing to a softmax over them: its gradient is rounding, which Adam makes steps of.
    free, scored = "items.prior.last.bias", [2, 3, 4]  # click, liked, watch
    one[free], two[free] = one[free][scored], two[free][scored]
    for name, value in one.items():
        assert torch.allclose(two[name], value, atol=1e-5), name
    assert shared.epochs == alone.epochs
    assert shared.valid == pytest.approx(alone.valid, rel=1e-5)
    logs = list((tmp_path / "two" / "work-log").iterdir())
    assert len(logs) == 1  # one process writes


def test_parts_of_a_batch_hold_every_example_once(tiny_data):
    for whole in JointBatches(tiny_data.train, BATCHES, 0):
        parts = [whole.part(number, 3) for number in range(3)]
        impressions = [p.impressions for p in parts if p.impressions is not None]
        sessions = [p.sessions for p in parts if p.sessions is not None]

        if whole.impressions is not None:
            assert torch.cat([r.candidate for r in impressions]).equal(whole.impressions.candidate)
            assert torch.cat([r.requests.item for r in impressions]).equal(whole.impressions.requests.item)
        if whole.sessions is not None:
            assert torch.cat([v.item[0] for v in sessions]).equal(whole.sessions.item[0])
            starts = torch.tensor([0, *(len(v.requests.item) for v in sessions)]).cumsum(0)
            owner = torch.cat([v.owner[0] + start for v, start in zip(sessions, starts, strict=False)])
            assert owner.equal(whole.sessions.owner[0])
            assert torch.cat([v.related.item for v in sessions]).equal(whole.sessions.related.item)


@pytest.mark.parametrize(
    ("training", "line"),
    [
        ({"strategy": "fsdp"}, r'\[training\] strategy = "fsdp": expected "auto", "ddp" or "ddp_spawn"'),
        ({"accelerator": "abacus"}, r'\[training\] accelerator = "abacus": expected "auto"'),
        ({"accelerator": "cuda", "devices": 2}, r"\[training\] accelerator, devices: "),
    ],
)
def test_what_the_machine_cannot_do_is_one_line(training, line):
    if training.get("accelerator") == "cuda" and torch.cuda.device_count() > 1:
        pytest.skip("this machine can")
    with pytest.raises(ConfigError, match=line) as caught:
        in_group(TrainingConfig(**training), lambda group: None)
    assert "\n" not in str(caught.value)


def test_an_error_of_another_process_is_the_same_line_here():
    text = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File ...\n"
    ours = _ours(ProcessRaisedException(text + "edgerec.errors.EdgerecError: out of memory: lower rows", 1, 2))
    other = ProcessRaisedException(text + "ValueError: a mistake", 1, 2)

    assert (type(ours), str(ours)) == (EdgerecError, "out of memory: lower rows")
    assert _ours(other) is other
