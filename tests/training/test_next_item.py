"""The transformer alone: it finds what follows, the same for the same seed, and stops when it gets no better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.examples.windows import Windows
from edgerec.models.sequence import NextItem
from edgerec.progress import Silent
from edgerec.training import next_item
from edgerec.training.next_item import NextItemTraining, fit_next_item, start_items
from tests.made_logs import log_of, walks

ITEMS = 24


@pytest.fixture
def windows():
    log = log_of(walks(80, ITEMS, 8))
    return Windows.of(log, np.ones(len(log), bool), 10, np.ones(80, bool))


def trained(windows, seed=0, epochs=12, judge=None):
    torch.manual_seed(0)
    model = NextItem(1, torch.zeros(ITEMS, 0), ITEMS, 16, 2, 1, 10, 0.1)
    start_items(model, windows, seed)
    taken = fit_next_item(model, windows, NextItemTraining(epochs, 10_000, 0.02), seed, Silent(), judge)
    return model.eval(), taken


def found(model, windows):
    """Of all events, how often the item that follows ranks first."""
    latest, target = windows.batch(np.arange(len(windows)))
    with torch.inference_mode():
        table = model.table()
        best = (model(latest, table) @ table.T).argmax(dim=2)
    return float((best == target)[target >= 0].float().mean())


@pytest.mark.parametrize("full", [next_item.FULL_SOFTMAX, 0])
def test_it_finds_what_follows_with_the_whole_catalogue_and_with_a_drawn_part(windows, full, monkeypatch):
    monkeypatch.setattr(next_item, "FULL_SOFTMAX", full)
    monkeypatch.setattr(next_item, "NEGATIVES", 8)
    model, taken = trained(windows)

    assert found(model, windows) > 0.95
    assert taken == 12


def test_the_same_seed_gives_the_same_weights(windows):
    first, again, other = (trained(windows, seed, 2)[0].state_dict() for seed in (0, 0, 1))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_ends_when_the_ranking_rises_no_more_and_the_best_weights_stay(windows):
    values, seen = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.9]), []

    def judge(model):
        seen.append(model.ids.detach().clone())
        return next(values)

    model, taken = trained(windows, judge=judge)

    assert taken == 2
    assert len(seen) == 2 + next_item.PATIENCE
    assert torch.equal(model.ids, seen[1])  # which is a mean of the latest steps


def test_items_that_follow_each_other_start_near_each_other(windows):
    torch.manual_seed(0)
    model = NextItem(1, torch.zeros(ITEMS, 0), ITEMS, 16, 2, 1, 10, 0.1)
    start_items(model, windows, 0)
    near = windows.near(ITEMS).to_dense() > 0
    with torch.inference_mode():
        cosine = torch.nn.functional.normalize(model.ids) @ torch.nn.functional.normalize(model.ids).T

    assert cosine[near].mean() > cosine[~near & ~torch.eye(ITEMS, dtype=torch.bool)].mean() + 0.1


def test_a_catalogue_of_fewer_items_than_dimensions_starts_too(windows):
    model = NextItem(1, torch.zeros(ITEMS, 0), ITEMS, 32, 2, 1, 10, 0.1)
    start_items(model, windows, 0)

    assert (model.ids.norm(dim=1) > 0).all()
