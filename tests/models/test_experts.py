"""Networks that tasks share: what they make, what a task's gradient reaches, and that teachers with them learn."""

from __future__ import annotations

import pytest
import torch

from edgerec.models.experts import SHARING, ProgressiveLayeredExtraction, sharing_network

TASKS, EXPERTS = 3, 2


def network(kind):
    torch.manual_seed(0)
    return sharing_network(kind, 5, 7, EXPERTS, TASKS, 0.0)


def reached(model, task):
    """Names of the parameters that the loss of one task reaches."""
    model.zero_grad()
    model(torch.randn(64, 5))[:, task].square().sum().backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}


@pytest.mark.parametrize("kind", SHARING)
@pytest.mark.parametrize("rows", [1, 4])
def test_each_task_gets_a_state_of_its_own(kind, rows):
    out = network(kind)(torch.randn(rows, 5))

    assert out.shape == (rows, TASKS, 7)
    assert not torch.equal(out[:, 0], out[:, 1])


@pytest.mark.parametrize("kind", SHARING)
def test_all_tasks_together_reach_all_parameters(kind):
    model = network(kind)

    assert set.union(*(reached(model, task) for task in range(TASKS))) == {n for n, _ in model.named_parameters()}


def test_a_bottom_and_experts_are_reached_by_every_task():
    for kind, shared in [("shared-bottom", "bottom."), ("mmoe", "experts.")]:
        model = network(kind)
        whole = {n for n, _ in model.named_parameters() if n.startswith(shared)}
        for task in range(TASKS):
            assert whole <= reached(model, task)


def test_the_last_own_experts_and_gate_of_a_task_are_reached_by_it_alone():
    model = network("ple")
    for task in range(TASKS):
        found = reached(model, task)
        for other in range(TASKS):
            for own in (f"second.own.{other}.", f"second.gates.{other}.", f"first.gates.{other}."):
                assert any(name.startswith(own) for name in found) == (task == other)


def test_other_tasks_reach_the_first_own_experts_through_the_shared_ones_only():
    model = network("ple")
    assert any(name.startswith("first.own.1.") for name in reached(model, 0))
    with torch.no_grad():  # shut the gate from the first layer's own experts to the shared path
        model.all_of_first.weight.zero_()
        model.all_of_first.bias.copy_(torch.tensor([0.0] * EXPERTS + [-1e4] * TASKS))

    assert not any(name.startswith("first.own.1.") for name in reached(model, 0))


def test_one_task_and_one_expert_are_enough():
    for kind in SHARING:
        assert sharing_network(kind, 5, 7, 1, 1, 0.0)(torch.randn(2, 5)).shape == (2, 1, 7)


def test_a_gate_gives_the_mean_of_its_experts():
    model = network("ple")
    assert isinstance(model, ProgressiveLayeredExtraction)
    x = torch.randn(4, 5)
    with torch.no_grad():
        for gate in model.first.gates:
            gate.weight.zero_()
            gate.bias.zero_()
    shared, own = model.first.outputs([x] * TASKS, x)

    of_task = model.first.weighed([x] * TASKS, shared, own)[1]
    assert torch.allclose(of_task, (shared.sum(1) + own[1].sum(1)) / (EXPERTS + 1), atol=1e-6)


def test_in_the_second_layer_own_experts_hear_what_their_task_heard_and_shared_ones_what_all_said():
    model, heard = network("ple"), {}
    for name, expert in {"own": model.second.own[1][0], "shared": model.second.shared[0]}.items():
        expert.register_forward_hook(lambda _, inputs, out, name=name: heard.update({name: inputs[0]}))
    x = torch.randn(4, 5)
    model(x)
    shared, own = model.first.outputs([x] * TASKS, x)
    share = model.all_of_first(x).softmax(1)

    assert torch.allclose(heard["own"], model.first.weighed([x] * TASKS, shared, own)[1])
    assert torch.allclose(heard["shared"], (share[:, :, None] * torch.cat([shared, *own], 1)).sum(1), atol=1e-6)
