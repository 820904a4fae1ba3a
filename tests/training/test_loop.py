"""The training loop: it learns, stops, goes on, and refuses what is not a number."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgerec.config.stages import TrainingConfig
from edgerec.errors import EdgerecError
from edgerec.examples.batches import BatchSettings, JointBatch, JointBatches
from edgerec.examples.soft_lists import SoftBatch, SoftLabels
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Silent
from edgerec.training import losses
from edgerec.training.group_loss import precision_of
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.joint import JointTraining, Terms, exclude_history, joined
from edgerec.training.loop import _Loop, fit

BATCHES = BatchSettings(sessions=64, impressions=256, sessions_per_epoch=1_000, history_dropout=0.1, lag=0)
LOOP = LoopSettings(epochs=3, learning_rate=3e-3, weight_decay=0.1, patience=None)


def student(data):
    torch.manual_seed(0)
    return Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2))


def train(data, folder, progress=None, model=None, loop=LOOP, evaluation=None):
    model = model or student(data)
    batches = JointBatches(data.train, BATCHES, seed=0)
    valid = JointBatches(evaluation, BATCHES, 0, train=False) if evaluation is not None else None
    return model, fit(TrainingJob(model, batches, valid, loop, folder / "work", progress or Silent(), "model"))


class Stops(Silent):
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch, self.said = epoch, []

    def say(self, line):
        self.said.append(line)
        if len(self.said) == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def stopped(tiny_data, tmp_path):
    """A folder in which training of three epochs was stopped in the middle."""
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # and not Lightning's exit
        train(tiny_data, tmp_path, Stops(2))
    assert signal.getsignal(signal.SIGINT) is handler  # the next Ctrl-C counts too
    return tmp_path


def test_training_that_was_stopped_goes_on_and_counts_each_epoch_once(tiny_data, stopped):
    progress = Stops(None)
    model, fitted = train(tiny_data, stopped, progress)

    assert fitted.epochs == 3
    assert progress.said == ["model: goes on at epoch 3 of 3", "model: epoch 3 of 3"]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_an_epoch_that_is_no_better_on_valid_is_kept_for_a_resume_too(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(_Loop, "_validate", lambda self, valid: {"loss": float(self.at.epoch)})
    _, fitted = train(tiny_data, tmp_path, evaluation=tiny_data.evaluation)
    last = torch.load(tmp_path / "work" / "last.ckpt", weights_only=True)

    assert fitted.epochs == 1
    assert last["at"]["epoch"] == 3


@pytest.mark.parametrize("size", [0, 1_000])
def test_a_damaged_checkpoint_is_told_and_training_starts_anew(tiny_data, stopped, size):
    last = stopped / "work" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:size])
    progress = Stops(None)
    _, fitted = train(tiny_data, stopped, progress)

    assert progress.said[:2] == [f"{last}: damaged, so training starts anew", "model: epoch 1 of 3"]
    assert fitted.epochs == 3


def test_training_is_the_same_for_the_same_seed(tiny_data, tmp_path):
    loop = replace(LOOP, stop_after=1)
    first, _ = train(tiny_data, tmp_path / "a", loop=loop)
    second, _ = train(tiny_data, tmp_path / "b", loop=loop)

    assert all(torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())


def test_the_best_epoch_on_valid_is_kept(tiny_data, tmp_path):
    progress = Stops(None)
    exact = replace(LOOP, training=TrainingConfig(precision="32"))  # on a GPU too
    model, fitted = train(tiny_data, tmp_path, progress, evaluation=tiny_data.evaluation, loop=exact)

    module = JointTraining(model.eval(), tiny_data.tasks, tiny_data.train.n_seen)
    found = {}
    with torch.no_grad():
        for batch in JointBatches(tiny_data.evaluation, BATCHES, 0, train=False):
            for name, value in module.losses(batch).items():
                found.setdefault(name, []).append(value.item())
    for name, values in found.items():
        assert sum(values) / len(values) == pytest.approx(fitted.valid[name], rel=1e-4)
    assert len(progress.said) == 3


def test_a_loss_that_is_not_a_number_stops_in_one_line_and_its_batch_is_kept(tiny_data, tmp_path):
    model = student(tiny_data)
    with torch.no_grad():
        model.relation.weight.fill_(math.nan)
    path = tmp_path / "work" / "bad-batch.safetensors"

    with pytest.raises(EdgerecError) as caught:
        train(tiny_data, tmp_path, model=model)

    line = f"model: the loss of related is not a number at step 0; lower learning_rate, .* {path}"
    assert re.fullmatch(line, str(caught.value))
    first = next(b for b in JointBatches(tiny_data.train, BATCHES, seed=0) if b.sessions is not None)
    assert load_file(path)["sessions.related.query"].equal(first.sessions.related.query)


def test_a_gradient_that_is_not_a_number_stops_before_a_checkpoint_of_what_it_made(tiny_data, tmp_path):
    model, calls = student(tiny_data), []

    def spoil(gradient):
        calls.append(gradient)
        return gradient * (math.nan if len(calls) == 3 else 1.0)

    model.relation.weight.register_hook(spoil)
    often = replace(LOOP, training=TrainingConfig(checkpoint_minutes=1e-9))
    with pytest.raises(EdgerecError, match="the gradient is not a number at step"):
        train(tiny_data, tmp_path, model=model, loop=often)

    kept = torch.load(tmp_path / "work" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept["model"].values())
    assert kept["at"]["updates"] >= 2


def test_a_compiler_that_fails_is_one_line(tiny_data, tmp_path, monkeypatch):
    failure = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})

    def fails(self, batch):
        raise failure("no working C++ compiler\nand a page more")

    monkeypatch.setattr(JointTraining, "forward", fails)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    line = r"\[training\] compile: no working C\+\+ compiler; set compile = false"
    with pytest.raises(EdgerecError, match=line) as caught:
        train(tiny_data, tmp_path, loop=replace(LOOP, training=TrainingConfig(compile=True)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
        MemoryError(),
    ],
)
def test_short_memory_is_one_line_with_the_settings_to_lower(tiny_data, tmp_path, monkeypatch, error):
    def fails(self, batch):
        raise error

    monkeypatch.setattr(JointTraining, "forward", fails)
    with pytest.raises(EdgerecError) as caught:
        train(tiny_data, tmp_path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert str(caught.value) == (
        f"model: out of memory on {device} with 64 sessions and 256 impressions a step; lower [teacher] sessions and "
        'impressions, and raise [training] accumulate to keep the sum, or set [training] precision = "bf16"'
    )


def test_another_error_of_a_step_is_not_taken_for_short_memory(tiny_data, tmp_path, monkeypatch):
    def fails(self, batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(JointTraining, "forward", fails)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tiny_data, tmp_path)


def test_two_accumulated_halves_make_the_step_of_one_batch(tiny_data, tmp_path):
    # A batch without a gradient of almost zero: Adam would divide by it, and show the rounding of its sum.
    with_impressions = (b for b in JointBatches(tiny_data.train, BATCHES, seed=2) if b.impressions is not None)
    batch = next(b for b in with_impressions if len(b.impressions.candidate) % 2 == 0)
    halves = [JointBatch(None, batch.impressions.part(number, 2)) for number in (0, 1)]

    def after(batches, accumulate):
        source = Given(tiny_data.train, batches)
        loop = replace(LOOP, epochs=1, training=TrainingConfig(accumulate=accumulate, accelerator="cpu"))
        model = student(tiny_data)
        fit(TrainingJob(model, source, None, loop, tmp_path / f"work{accumulate}", Silent(), "model"))
        return model.state_dict()

    whole, two = after([JointBatch(None, batch.impressions)], 1), after(halves, 2)
    for name, value in whole.items():
        assert torch.allclose(two[name], value, atol=1e-6), name


class Given(JointBatches):
    """Batches that are given."""

    def __init__(self, examples, batches):
        super().__init__(examples, BATCHES, 0)
        self.given = batches

    def steps(self):
        return len(self.given)

    def pass_from(self, start):
        return iter(self.given[start:])


@pytest.mark.parametrize(
    ("setting", "device", "bf16", "found"),
    [
        ("auto", "cpu", True, None),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("32", "cuda", True, None),
        ("bf16", "cpu", False, torch.bfloat16),
        ("fp16", "cuda", True, torch.float16),
    ],
)
def test_precision_follows_the_card_unless_it_is_set(monkeypatch, setting, device, bf16, found):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)

    assert precision_of(setting, torch.device(device)) is found


def test_sixteen_bits_learn_nearly_what_thirty_two_do(tiny_data, tmp_path):
    losses = {}
    for precision in ("32", "bf16", "fp16"):
        loop = replace(LOOP, training=TrainingConfig(precision=precision, accelerator="cpu"))
        losses[precision] = train(tiny_data, tmp_path / precision, loop=loop, evaluation=tiny_data.evaluation)[1].valid[
            "loss"
        ]

    assert losses["bf16"] == pytest.approx(losses["32"], rel=0.02)
    assert losses["fp16"] == pytest.approx(losses["32"], rel=0.02)


COMPILED = """
import sys
from dataclasses import replace
from pathlib import Path
from safetensors.torch import save_file
from edgerec.config.stages import TrainingConfig
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tests import tiny
from tests.training.test_loop import LOOP, train

log, run, work = map(Path, sys.argv[1:])
data = Run(tiny.config(log), run, Silent()).learning_data("test")
for name, compile in (("plain", False), ("compiled", True)):
    loop = replace(LOOP, epochs=1, training=TrainingConfig(compile=compile, accelerator="cpu"))
    model, _ = train(data, work / name, loop=loop)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, work / f"{name}.safetensors")
"""


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(tiny_config, tiny_run, tmp_path):
    # In a process of its own, with two threads: see `compiled`.
    command = [sys.executable, "-c", COMPILED, tiny_config.resolve("."), str(tiny_run), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "2"}
    subprocess.run(command, env=environment, check=True, timeout=600)
    plain, compiled = (load_file(tmp_path / f"{name}.safetensors") for name in ("plain", "compiled"))

    assert set(compiled) == set(plain)
    free = "items.prior.last.bias"  # nothing to a softmax: its gradient is rounding
    for name, value in plain.items():
        if name != free:
            assert torch.allclose(compiled[name], value, atol=1e-4), name


@pytest.mark.parametrize("regression", ["median", "ordinal"])
def test_regression_targets_are_learned_by_the_loss_of_the_settings(tiny_data, tmp_path, regression):
    def learned(name):
        loop = replace(LOOP, regression=name, stop_after=1)
        return train(tiny_data, tmp_path / name, loop=loop, evaluation=tiny_data.evaluation)[1].valid

    huber, other = learned("huber"), learned(regression)
    assert abs(other["watch"] - huber["watch"]) > 0.05  # in another unit
    assert other["click"] == pytest.approx(huber["click"], abs=0.1)


def test_the_total_weighs_each_task_and_ranking_by_the_log_of_the_catalogue(tiny_data):
    tasks = [replace(t, weight=2.0) if t.name == "click" else t for t in tiny_data.tasks]
    module = JointTraining(student(tiny_data), tasks, n_seen=40)

    total = module.total({"next": torch.tensor(5.0), "click": torch.tensor(0.3)})

    assert total.item() == pytest.approx(5.0 / math.log(40) + 2.0 * 0.3)


def test_each_term_of_a_ranking_has_the_weight_of_its_setting(tiny_data):
    terms = Terms(hard=0.25, listwise=3.0, top_list=0.5)
    module = JointTraining(student(tiny_data), tiny_data.tasks, 40, terms)
    logits, scores = torch.randn(2, 40), torch.randn(2, 40)

    at = torch.tensor([0, 1])
    parts = module._listwise(tiny_data.tasks[0], logits, at, at, SoftBatch(scores))

    expected = 0.25 * losses.listwise(logits, at, at) + 0.5 * losses.top_list(logits, scores)
    assert joined(parts)["next"].item() == pytest.approx(
        (expected + 3 * losses.listwise_soft(logits, scores, 1.0)).item()
    )


def test_without_labels_of_a_teacher_the_log_counts_whole(tiny_data):
    module = JointTraining(student(tiny_data), tiny_data.tasks, 40, Terms(hard=0.25, listwise=3.0))
    at = torch.tensor([0, 1])

    (part,) = module._listwise(tiny_data.tasks[0], torch.randn(2, 40), at, at, None)

    assert (part.labels, part.weight) == ("hard", 1.0)


def test_items_of_the_history_are_no_candidates_and_padding_excludes_nothing(tiny_data):
    requests = tiny_data.train.sessions.requests
    short, long = requests.lengths().argsort()[[0, -1]]
    batch = requests.batch(requests.lengths().argsort()[[0, -1]])
    logits = exclude_history(torch.zeros(2, 40), batch)

    assert requests.lengths()[short] == 0
    assert (logits[0] == 0).all()
    assert (logits[1] == losses.NEVER).sum() == requests.lengths()[long]


@pytest.mark.parametrize("most", [1, 40 * 2 * 20])
def test_a_large_catalogue_is_scored_in_parts_with_the_same_loss_and_gradient(tiny_data, most):
    def learned(most_logits: int):
        module = JointTraining(student(tiny_data), tiny_data.tasks, 40, most_logits=most_logits)
        found = module.losses(next(b for b in JointBatches(tiny_data.train, BATCHES, 0) if b.sessions is not None))
        module.total(found).backward()
        return found, torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])

    (whole, gradient), (parts, other) = learned(2**26), learned(most)
    assert parts.keys() == whole.keys()
    for name, loss in whole.items():
        assert parts[name].item() == pytest.approx(loss.item(), rel=1e-4)
    assert torch.allclose(other, gradient, atol=1e-5)


def test_every_term_on_vectors_learns_and_goes_on_after_a_stop(tiny_data, tmp_path):
    vectors = torch.nn.functional.normalize(torch.randn(40, 6)).numpy()
    data = replace(tiny_data, train=replace(tiny_data.train, soft=SoftLabels(vectors=vectors)))
    loop = replace(LOOP, terms=Terms(neighbours=1.0, alignment=1.0, qat=0.5))
    train(data, tmp_path / "whole", loop=loop)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "parts", Stops(1), loop=loop)
    train(data, tmp_path / "parts", loop=loop)

    whole, parts = (torch.load(tmp_path / name / "work" / "last.ckpt") for name in ("whole", "parts"))
    assert torch.equal(whole["projection"]["weight"], parts["projection"]["weight"])
    assert all(torch.equal(whole["model"][n], parts["model"][n]) for n in whole["model"])
    assert whole["model"]["step"].abs().max() > 0  # rounding was learned at the end


def test_alignment_fades_and_rounding_comes_at_the_end(tiny_data):
    module = JointTraining(
        student(tiny_data), tiny_data.tasks, 40, Terms(alignment=1.0, qat=0.25), vectors=torch.eye(40).numpy()
    )
    seen = {}
    for done in (0.0, 0.3, 0.7, 0.8):
        module.at(done)
        seen[done] = (round(float(module.fading), 6), module.model.qat)

    assert seen == {0.0: (1, False), 0.3: (0.5, False), 0.7: (0, False), 0.8: (0, True)}
