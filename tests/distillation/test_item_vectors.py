"""Item vectors that a student starts from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.distillation import item_vectors as module
from edgerec.distillation.item_vectors import LENGTH, item_vectors, start_items
from edgerec.examples.held_out import HeldOut
from edgerec.examples.requests import FOREVER
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import scored_tasks
from tests.made_logs import log_of


@pytest.fixture
def two_tastes(tiny_data):
    """Users of whom each has items of one of two tastes, 0 to 3 or 4 to 7."""
    rng = np.random.default_rng(0)
    log = log_of([list(rng.choice(np.arange(4) + 4 * (user % 2), 3, replace=False)) for user in range(40)])
    tasks = [replace(task, label=None) for task in tiny_data.tasks if task.kind == "retrieval"]
    return replace(tiny_data, train_log=log, train=replace(tiny_data.train, tasks=tuple(tasks)))


def nobody(data):
    return HeldOut(np.full(len(data.train_log.offsets) - 1, FOREVER))


def started(data, factor):
    torch.manual_seed(0)
    student = Student(data.shape, data.features, len(scored_tasks(data.tasks)), StudentSizes.of(8, 16, 2, factor))
    start_items(student, data, nobody(data))
    return student.eval()


def test_items_that_the_same_users_consume_have_like_vectors(two_tastes):
    vectors = item_vectors(two_tastes, 4, nobody(two_tastes))
    likeness = vectors @ vectors.T

    assert likeness[:4, :4].min() > likeness[:4, 4:8].max()
    assert np.sqrt((vectors**2).sum(axis=1).mean()) == pytest.approx(LENGTH, rel=0.2)


def test_vectors_know_nothing_of_what_is_held_out(two_tastes):
    everything = HeldOut(np.zeros(40, np.int64))

    assert not item_vectors(two_tastes, 4, everything).any()


@pytest.mark.parametrize("factor", [0, 6, 12])
def test_a_student_ranks_by_them_before_it_has_learned(two_tastes, factor):
    silent = Student(two_tastes.shape, two_tastes.features, 2, StudentSizes.of(8, 16, 2, factor)).eval()
    for name, weights in silent.named_parameters():
        if "fold" not in name:
            torch.nn.init.zeros_(weights)
    start_items(silent, two_tastes, nobody(two_tastes))
    batch = two_tastes.evaluation.sessions.requests.batch(np.arange(4))
    batch = replace(batch, item=torch.full_like(batch.item, 5))
    with torch.inference_mode():
        logits = silent.score_catalog(batch, silent.encode_items(two_tastes.as_of(-1)), [0])[:, 0]

    assert logits[:, [4, 6, 7]].min() > logits[:, :4].max() + 0.05


@pytest.mark.parametrize("dense", [0, 1_000_000])
def test_users_of_one_item_each_give_the_same_vectors_each_time(tiny_data, dense, monkeypatch):
    monkeypatch.setattr(module, "DENSE", dense)
    log = log_of([[user % tiny_data.train.n_seen] for user in range(300)])
    data = replace(tiny_data, train_log=log, train=replace(tiny_data.train, tasks=()))
    first, again = (item_vectors(data, 8, nobody(data)) for _ in range(2))

    assert np.isfinite(first).all() and np.array_equal(first, again)


def test_a_student_that_ranks_nothing_starts_at_random(tiny_data):
    tasks = tuple(task for task in tiny_data.tasks if task.kind == "binary")
    data = replace(tiny_data, train=replace(tiny_data.train, tasks=tasks))

    assert float(started(data, 0).items.identity.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
