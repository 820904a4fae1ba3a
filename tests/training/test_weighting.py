"""Weightings of tasks, by arithmetic on two or three parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgerec.training.weighting import WEIGHTINGS, GradNorm, PcGrad, UncertaintyWeights, projected_weights

EVEN = {"a": 1.0, "b": 1.0}


def point(*values):
    return nn.Parameter(torch.tensor(values))


def line(p, gradient, value=0.0):
    """A loss with this value and gradient at p = 0."""
    return p @ torch.tensor(gradient) + value


def run(scale=1.0):
    """Goes backward as the loop does, which scales losses when gradients have 16 bits."""
    return lambda loss, retain=False: (scale * loss).backward(retain_graph=retain)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "gradnorm"])
def test_at_first_each_loss_counts_its_task_s_weight(weighting):
    p = point(0.0, 0.0)
    losses = {"a": line(p, [1.0, 0.0]), "b": line(p, [0.0, 1.0])}
    WEIGHTINGS[weighting]({"a": 2.0, "b": 3.0}).backward(losses, [p], run())

    assert p.grad.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_gradients_are_added_to_those_of_earlier_batches(weighting):
    p = point(0.0, 0.0)
    p.grad = torch.tensor([10.0, 20.0])
    losses = {"a": line(p, [1.0, 0.0]), "b": line(p, [0.0, 1.0])}
    WEIGHTINGS[weighting](EVEN).backward(losses, [p], run())

    assert p.grad.tolist() == [11.0, 21.0]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_step_without_examples_of_a_task_has_the_others_only(weighting):
    p, weights = point(0.0), {"a": 1.0, "absent": 1.0}
    weighting = WEIGHTINGS[weighting](weights)
    weighting.backward({"a": line(p, [3.0])}, [p], run())

    assert p.grad.tolist() == [3.0]


def test_at_its_best_variance_a_task_counts_half_over_its_loss():
    losses = {"a": torch.tensor(0.1), "b": torch.tensor(4.0)}
    weighting = UncertaintyWeights(EVEN)
    optimizer = torch.optim.SGD(weighting.parameters(), 0.5)
    for _ in range(200):
        optimizer.zero_grad()
        weighting(losses, []).backward()
        optimizer.step()

    assert torch.exp(-weighting.log_variance).tolist() == pytest.approx([1 / (2 * 0.1), 1 / (2 * 4.0)], rel=1e-3)


def norms_after(first, later, gradients, steps=400):
    """The weighted norms of two tasks whose losses go from `first` to `later` while their gradients stay."""
    weighting, p = GradNorm(EVEN), point(0.0, 0.0)
    for step in range(steps):
        values = later if step else first
        losses = {n: line(p, g, v) for n, g, v in zip("ab", gradients, values, strict=True)}
        weighting.backward(losses, [p], run(1024.0))
    return (weighting.weight * torch.tensor(gradients).norm(dim=1)).tolist(), weighting.weight.sum().item()


def test_tasks_that_go_at_one_pace_get_gradients_of_one_length():
    (a, b), total = norms_after((1.0, 5.0), (0.5, 2.5), [[1.0, 0.0], [0.0, 10.0]])

    assert a == pytest.approx(b, rel=0.06)  # each step moves a weight by 2.5 %
    assert total == pytest.approx(2.0)


def test_a_task_that_lags_gets_longer_gradients():
    (slow, fast), _ = norms_after((1.0, 1.0), (1.0, 0.25), [[1.0, 0.0], [0.0, 1.0]])

    assert fast == pytest.approx((0.25 / 0.625) ** 1.5, rel=0.06)  # 1/4 of the loss is left, in the mean 5/8
    assert slow == pytest.approx(2.0 - fast, rel=1e-3)


def test_what_points_against_another_task_is_left_out():
    p = point(0.0, 0.0)
    losses = {"a": line(p, [1.0, 0.0]), "b": line(p, [-1.0, 1.0])}
    PcGrad(EVEN).backward(losses, [p], run())

    # a: (1, 0) + 1/2 (-1, 1) = (1/2, 1/2); b: (-1, 1) + (1, 0) = (0, 1)
    assert p.grad.tolist() == [0.5, 1.5]


def test_tasks_that_agree_are_added():
    p = point(0.0, 0.0)
    losses = {"a": line(p, [2.0, 1.0]), "b": line(p, [1.0, 0.0])}
    PcGrad(EVEN).backward(losses, [p], run())

    assert p.grad.tolist() == [3.0, 1.0]


def test_parameters_of_one_task_alone_are_not_compared():
    p, own = point(0.0, 0.0), point(0.0)
    losses = {"a": line(p, [1.0, 0.0]), "b": line(p, [-1.0, 1.0]) + line(own, [100.0])}
    PcGrad(EVEN).backward(losses, [p, own], run())

    assert p.grad.tolist() == [0.5, 1.5]
    assert own.grad.tolist() == [100.0]


def test_each_projection_starts_from_what_the_one_before_left():
    torch.manual_seed(0)
    g = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [-1.0, -3.0]], dtype=torch.float64)
    sums = {tuple(round(x, 6) for x in (projected_weights(g @ g.T) @ g).tolist()) for _ in range(50)}

    def projected(i, order):
        v = g[i]
        for j in order:
            v = v - min(float(v @ g[j]), 0.0) / (g[j] @ g[j]) * g[j]
        return v

    orders = [[(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)]]
    possible = {
        tuple(round(x, 6) for x in (projected(0, a) + projected(1, b) + projected(2, c)).tolist())
        for a in orders[0]
        for b in orders[1]
        for c in orders[2]
    }
    assert sums == possible
