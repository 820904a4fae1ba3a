"""A trained student is calibrated in place."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec import metrics
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import scored_tasks
from edgerec.training.calibrate import _latest_fifth, calibrate
from edgerec.training.losses import listwise
from edgerec.training.predictions import network_log_probs, network_logits, network_rows


@pytest.fixture
def student(tiny_data) -> Student:
    """Untrained and far too sure of itself."""
    torch.manual_seed(0)
    model = Student(tiny_data.shape, tiny_data.features, 5, StudentSizes.of(8, 16, 2)).eval()
    with torch.no_grad():
        model.items.bias.weight.normal_(std=4)
    return model


def rows(student, data) -> np.ndarray:
    found = data.train.impressions
    return network_rows(student, data, found.requests, found.item, _latest_fifth(found.requests))


def test_probabilities_are_nearer_to_the_labels_and_in_the_same_order(tiny_data, student):
    found, latest = tiny_data.train.impressions, _latest_fifth(tiny_data.train.impressions.requests)
    before = rows(student, tiny_data)
    calibrate(student, tiny_data)
    after = rows(student, tiny_data)

    names = [t.name for t in scored_tasks(tiny_data.tasks)]
    for name in ("click", "liked"):
        label, i = found.labels[name][latest], names.index(name)
        assert metrics.logloss(label, np.exp(after[:, i])) < metrics.logloss(label, np.exp(before[:, i]))
        assert np.exp(after[:, i]).mean() == pytest.approx(label.mean(), abs=0.03)
    click = names.index("click")
    assert np.array_equal(np.argsort(after[:, click]), np.argsort(before[:, click]))


def test_rankings_are_likelier_and_in_the_same_order(tiny_data, student):
    sessions = tiny_data.train.sessions
    latest = _latest_fifth(sessions.requests)
    truth = sessions.truth["next"].take(latest)

    def shares() -> torch.Tensor:
        return torch.from_numpy(network_log_probs([student], tiny_data, sessions.requests, latest)[:, 0])

    def loss(log_p: torch.Tensor) -> float:
        return listwise(log_p, torch.from_numpy(truth.owner()), torch.from_numpy(truth.values)).item()

    before = shares()
    calibrate(student, tiny_data)
    after = shares()

    assert loss(after) < loss(before)
    assert torch.equal(after.argsort(dim=1)[:, -5:], before.argsort(dim=1)[:, -5:])


def test_regression_targets_get_an_expectation_and_keep_their_logits(tiny_data, student):
    found, watch = tiny_data.train.impressions, [t.name for t in scored_tasks(tiny_data.tasks)].index("watch")
    every = np.arange(len(found.item))
    before = network_logits(student, tiny_data, found.requests, found.item, every)[:, watch]

    assert calibrate(student, tiny_data).keys() == {"watch"}
    assert np.array_equal(network_logits(student, tiny_data, found.requests, found.item, every)[:, watch], before)


@pytest.mark.parametrize("few", [False, True])
def test_a_few_held_out_outcomes_do_not_calibrate_a_task(tiny_data, student, few):
    """Two requests would give a temperature of anything, and five clicks an odd probability."""
    rows = tiny_data.train.impressions.take(np.arange(900))
    if few:
        rows = replace(rows, labels=rows.labels | {"click": (np.arange(900) < 5).astype(np.float32)})
    without = copy.deepcopy(student)
    calibrate(student, tiny_data, tiny_data.train.sessions.take(np.arange(2 if few else 100)), rows)
    calibrate(without, tiny_data)

    with torch.no_grad():
        one, other = (torch.cat([s.items.bias.weight, s.items.prior.last.bias[None]]) for s in (student, without))
    alike = {task.name: torch.equal(one[:, i], other[:, i]) for i, task in enumerate(scored_tasks(tiny_data.tasks))}
    assert (alike["click"], alike["next"]) == (few, few)
