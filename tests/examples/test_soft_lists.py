"""A teacher's scores as they are kept: whole, or a top list and a stratified tail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.examples import soft_lists as lists
from edgerec.examples.soft_lists import SoftBatch, log_weights, shortened
from edgerec.training import losses


@pytest.fixture
def long(monkeypatch):
    """Catalogues of more than 100 items are shortened to 20 and 30."""
    monkeypatch.setattr(lists, "WHOLE", 100)
    monkeypatch.setattr(lists, "TOP", 20)
    monkeypatch.setattr(lists, "TAIL", 30)


def scores(n: int, rows: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, n)).astype(np.float32)


def test_a_small_catalogue_is_kept_whole_and_centred():
    given = scores(50) + 7
    found = shortened(given, np.random.default_rng(0))

    assert found.item is None and found.log_weight is None and found.scores.dtype == np.float16
    assert np.allclose(found.scores, given - given.mean(axis=1, keepdims=True), atol=2e-3)


def test_the_top_list_of_a_large_one_is_whole_and_each_stretch_of_the_rest_sends_one(long):
    given = scores(170)
    found = shortened(given, np.random.default_rng(0))
    order = np.argsort(-given, axis=1)

    assert np.array_equal(found.item[:, :20], order[:, :20])
    bounds = 20 + np.cumsum([0, *np.rint(np.exp(found.log_weight[20:])).astype(int)])
    for row, tail in zip(order, found.item[:, 20:], strict=True):
        ranks = [int(np.flatnonzero(row == item)[0]) for item in tail]
        assert np.all((bounds[:-1] <= ranks) & (ranks < bounds[1:]))


def test_the_stretches_of_a_very_large_catalogue_are_those_of_a_sample(long, monkeypatch):
    monkeypatch.setattr(lists, "RANKED", 2_000)
    given = scores(20_000)
    found = shortened(given, np.random.default_rng(0))
    rank = np.argsort(np.argsort(-given, axis=1), axis=1)
    ranks = np.take_along_axis(rank, found.item.astype(np.int64), axis=1)

    assert np.array_equal(ranks[:, :20], np.tile(np.arange(20), (4, 1)))
    assert (ranks[:, 20:] >= 20).all() and (np.diff(ranks[:, 25:]) > 0).all()
    assert ranks[:, -1].min() > 15_000


def test_the_places_of_a_shortened_list_stand_for_the_whole_catalogue(long):
    assert np.exp(log_weights(170)).sum() == pytest.approx(170)
    assert log_weights(100) is None


def test_the_softmax_of_a_shortened_list_is_nearly_that_of_the_catalogue(long):
    """The largest item's share, which the top list holds, against the estimated sum."""
    given = scores(5_000, rows=20)
    found = shortened(given, np.random.default_rng(1))
    share = torch.softmax(torch.from_numpy(found.scores.astype(np.float32) + found.log_weight), dim=1)[:, 0]

    assert share.numpy() == pytest.approx(torch.softmax(torch.from_numpy(given), 1).max(1).values.numpy(), rel=0.15)


def test_a_student_that_scores_like_the_teacher_loses_nothing_on_a_shortened_list(long):
    given = scores(170)
    batch = shortened(given, np.random.default_rng(0)).batch(np.array([2, 0]))
    own = batch.listed(torch.from_numpy(given[[2, 0]]))

    assert losses.listwise_soft(own, batch.scores, 1.0, batch.log_weight).item() == pytest.approx(0, abs=1e-5)
    assert losses.listwise_soft(-own, batch.scores, 1.0, batch.log_weight).item() > 0.1


def test_a_part_of_a_batch_keeps_its_items():
    batch = SoftBatch(torch.arange(6.0).view(3, 2), torch.tensor([[0, 1], [2, 3], [4, 5]]))
    part = batch.part(slice(1, 3))

    assert part.item.tolist() == [[2, 3], [4, 5]]
    assert part.listed(torch.arange(12.0).view(2, 6)).tolist() == [[2, 3], [10, 11]]
