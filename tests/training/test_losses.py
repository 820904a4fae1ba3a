"""Losses against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgerec.tasks import Task
from edgerec.training import losses


def tensor(*values):
    return torch.tensor(values)


# ---------------------------------------------------------------------------- ranking


def test_listwise_is_the_mean_over_requests_of_the_mean_over_their_items():
    logits = torch.log(tensor([0.5, 0.25, 0.25], [0.1, 0.2, 0.7]))  # a softmax gives these back
    owner, item = tensor(0, 0, 1), tensor(0, 1, 2)

    first, second = (math.log(2) + math.log(4)) / 2, -math.log(0.7)
    assert losses.listwise(logits, owner, item).item() == pytest.approx((first + second) / 2)


def test_a_request_without_a_consumed_item_does_not_count():
    logits = tensor([0.0, 0.0], [5.0, -5.0])

    assert losses.listwise(logits, tensor(0), tensor(1)).item() == pytest.approx(math.log(2))


def test_no_consumed_item_at_all_is_a_loss_of_zero_with_a_gradient():
    logits = torch.ones(2, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    loss = losses.listwise(logits, none, none)
    loss.backward()

    assert loss.item() == 0.0
    assert logits.grad.abs().sum() == 0.0


def test_soft_labels_equal_to_the_own_logits_cost_nothing():
    logits = tensor([1.0, -2.0, 0.5], [0.0, 3.0, 1.0])

    assert losses.listwise_soft(logits, logits + 7.0, 2.0).item() == pytest.approx(0.0, abs=1e-6)


def test_soft_labels_cost_their_kl_divergence_times_the_squared_temperature():
    own, teacher = torch.log(tensor([0.5, 0.5])), torch.log(tensor([0.8, 0.2]))  # (1, 2)
    kl = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)

    assert losses.listwise_soft(own, teacher, 1.0).item() == pytest.approx(kl)
    assert losses.listwise_soft(3 * own, 3 * teacher, 3.0).item() == pytest.approx(9 * kl)


def test_soft_labels_of_no_request_cost_nothing():
    assert losses.listwise_soft(torch.zeros(0, 3), torch.zeros(0, 3), 1.0).item() == 0.0


def test_the_order_of_the_best_costs_least_where_it_is_the_teachers():
    teacher = torch.arange(30.0).flip(0)[None]
    swapped = teacher.clone()
    swapped[0, :2] = teacher[0, [1, 0]]

    assert losses.top_list(teacher, teacher) < losses.top_list(swapped, teacher) < losses.top_list(-teacher, teacher)


def test_the_first_place_of_a_list_costs_its_cross_entropy(monkeypatch):
    monkeypatch.setattr(losses, "TOP_LIST", 1)
    logits, teacher = torch.randn(2, 5), tensor([0.0, 9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0, 0.0])

    expected = -torch.log_softmax(logits, 1)[[0, 1], [1, 3]].mean()
    assert losses.top_list(logits, teacher).item() == pytest.approx(expected.item())


def test_a_teacher_that_knows_nothing_has_no_weight():
    found = losses.confidence(tensor([0.0, 0.0, 0.0], [50.0, 0.0, 0.0]), 1.0)

    assert found.tolist() == pytest.approx([0, 2])


def test_barred_items_make_no_teacher_surer():
    found = losses.confidence(tensor([0.0, 0.0, losses.NEVER], [50.0, 0.0, losses.NEVER]), 1.0)

    assert found.tolist() == pytest.approx([0, 2])


def test_neighbours_of_the_teachers_own_vectors_cost_nothing_at_any_length():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4))
    item = torch.tensor([0, 3])

    assert losses.neighbours(2 * vectors[item], 3 * vectors, vectors, item).item() == pytest.approx(0, abs=1e-5)
    assert losses.neighbours(vectors[item], vectors, vectors.flip(0), item).item() > 0.01


def test_alignment_is_one_less_the_cosine():
    assert losses.alignment(tensor([2.0, 0.0], [0.0, 1.0]), tensor([1.0, 0.0], [1.0, 0.0])).item() == 0.5
    assert losses.alignment(torch.zeros(0, 2), torch.zeros(0, 2)).item() == 0


# ---------------------------------------------------------------------------- impressions

CONDITIONAL = [
    Task("next", "retrieval"),
    Task("click", "binary", "click"),
    Task("cart", "binary", "cart", after="click"),
    Task("buy", "binary", "buy", after="cart"),
    Task("watch", "regression", "ms"),
]


def test_probabilities_along_a_chain_are_products():
    p = tensor(0.9, 0.5, 0.4)
    logits = torch.cat([tensor(3.0), torch.logit(p), tensor(-1.5)])[None]

    found = losses.conditional_log_probs(logits, CONDITIONAL)[0]

    assert found[[0, 4]].tolist() == [3.0, -1.5]  # not binary: as given
    assert torch.exp(found[1:4]).tolist() == pytest.approx([0.9, 0.9 * 0.5, 0.9 * 0.5 * 0.4])


def test_the_last_of_a_chain_teaches_all_before_it_over_every_row():
    logits = torch.zeros(1, len(CONDITIONAL), requires_grad=True)
    losses.binary(losses.conditional_log_probs(logits, CONDITIONAL)[:, 3], tensor(1.0)).backward()

    # -log of three probabilities of 1/2: each logit has the derivative -(1 - 1/2)
    assert logits.grad[0].tolist() == pytest.approx([0.0, -0.5, -0.5, -0.5, 0.0])


def test_binary_is_the_cross_entropy_for_hard_and_soft_targets():
    log_p, target = torch.log(tensor(0.8, 0.3)), tensor(1.0, 0.25)
    second = -(0.25 * math.log(0.3) + 0.75 * math.log(0.7))

    assert losses.binary(log_p, target).item() == pytest.approx((-math.log(0.8) + second) / 2)


def test_a_certain_probability_costs_a_finite_amount_with_a_finite_gradient():
    log_p = tensor(0.0, -100.0).requires_grad_()
    loss = losses.binary(log_p, tensor(0.0, 1.0))
    loss.backward()

    assert torch.isfinite(loss)
    assert torch.isfinite(log_p.grad).all()


def test_regression_is_squared_near_the_target_and_straight_far_from_it():
    assert losses.regression(tensor(0.5), tensor(0.0)).item() == pytest.approx(0.5**2 / 2)
    assert losses.regression(tensor(3.0), tensor(0.0)).item() == pytest.approx(3.0 - 0.5)


def test_a_sampled_softmax_has_the_sum_of_the_full_one_in_the_mean():
    torch.manual_seed(0)
    table, state, target = torch.randn(30, 4), torch.randn(1, 4), torch.tensor([3])
    whole = functional.cross_entropy(state @ table.T, target)
    sums = []
    for _ in range(3000):
        drawn, log_q = losses.draw_items(torch.tensor([3, 3, 7, 9]), 30, 16)
        sums.append(losses.sampled_softmax(state, target, table, drawn, log_q).exp())

    assert log_q.exp().sum() == pytest.approx(1)
    assert log_q[7].exp() == pytest.approx(0.5 / 4 + 0.5 / 30)
    assert float(torch.stack(sums).mean()) == pytest.approx(float(whole.exp()), rel=0.02)


def test_the_items_that_follow_are_sampled_only_in_a_large_catalogue(monkeypatch):
    torch.manual_seed(0)
    table, states, target = torch.randn(30, 4), torch.randn(6, 4), torch.randint(30, (6,))
    full = losses.next_items(states, target, table)
    monkeypatch.setattr(losses, "FULL_SOFTMAX", 29)
    sampled = losses.next_items(states, target, table)

    assert full == pytest.approx(float(functional.cross_entropy(states @ table.T, target)))
    assert sampled != full
    assert sampled == pytest.approx(float(full), abs=0.1)


def test_no_event_that_follows_loses_nothing():
    assert losses.next_items(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(5, 4)) == 0


def test_the_median_loss_is_the_distance():
    assert losses.median(tensor(0.5), tensor(0.0)).item() == pytest.approx(0.5)
    assert losses.median(tensor(3.0), tensor(0.0)).item() == pytest.approx(3.0)


def test_the_ordinal_loss_is_least_where_half_of_the_targets_are_above():
    thresholds, target = torch.linspace(-2, 2, 9), tensor(-1.0, 0.2, 0.3, 4.0, 9.0)
    places = np.linspace(-3, 3, 61)
    found = [losses.ordinal(torch.full((5,), p), target, thresholds).item() for p in places]

    assert places[np.argmin(found)] == pytest.approx(0.5, abs=0.5)
    one = losses.ordinal(tensor(0.25), tensor(1.0), tensor(0.0)).item()
    assert one == pytest.approx(np.log(1 + np.exp(-0.25 / losses.SPREAD)))


def test_the_ordinal_loss_does_not_mind_how_far_above_the_last_threshold_a_target_is():
    prediction, thresholds = tensor(0.3, 0.3), tensor(-1.0, 1.0)

    near, far = (losses.ordinal(prediction, tensor(0.0, t), thresholds) for t in (1.5, 1e6))
    assert near == far
