"""How tasks share a network: all but the last layer, experts weighed by each task, or shared and own experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgerec.models.blocks import Mlp

OWN_EXPERTS = 1
"""Experts of each task alone, in each layer of `ProgressiveLayeredExtraction`."""


class SharedBottom(nn.Module):
    """One network for all tasks, as wide inside as all experts together, and a layer for each task on top.

    Source: Caruana, Machine Learning 28, 1997.
    """

    def __init__(self, n_in: int, hidden: int, experts: int, tasks: int, dropout: float) -> None:
        super().__init__()
        self.bottom = nn.Sequential(
            nn.Linear(n_in, experts * hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(experts * hidden, hidden)
        )
        self.towers = nn.Linear(hidden, tasks * hidden)
        self.tasks, self.hidden = tasks, hidden

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in) -> (B, tasks, hidden)."""
        return torch.relu(self.towers(torch.relu(self.bottom(x)))).view(-1, self.tasks, self.hidden)


class MixtureOfExperts(nn.Module):
    """Multi-gate mixture of experts: each task weighs the same experts by its own gate.

    Source: Ma et al., KDD 2018.
    """

    def __init__(self, n_in: int, hidden: int, experts: int, tasks: int, dropout: float) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Mlp(n_in, hidden, hidden, dropout) for _ in range(experts))
        self.gates = nn.Linear(n_in, tasks * experts)
        self.tasks = tasks

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in) -> (B, tasks, hidden)."""
        outputs = _outputs(self.experts, x)
        gates = self.gates(x).unflatten(1, (self.tasks, len(self.experts))).softmax(dim=2)
        return torch.einsum("bte,beh->bth", gates, outputs)


class ProgressiveLayeredExtraction(nn.Module):
    """Two layers of experts that all tasks share and experts of each task; a task hears its own and the shared ones.

    Only the shared experts of the second layer hear all experts of the first. So other tasks reach a task's own
    experts in the first layer, through what is shared, and never in the second.
    Source: Tang et al., RecSys 2020.
    """

    def __init__(self, n_in: int, hidden: int, experts: int, tasks: int, dropout: float) -> None:
        super().__init__()
        self.first = _Extraction(n_in, hidden, experts, tasks, dropout)
        self.all_of_first = nn.Linear(n_in, experts + tasks * OWN_EXPERTS)
        self.second = _Extraction(hidden, hidden, experts, tasks, dropout)
        self.tasks = tasks

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in) -> (B, tasks, hidden)."""
        shared, own = self.first.outputs([x] * self.tasks, x)
        of_tasks = self.first.weighed([x] * self.tasks, shared, own)
        of_all = _weighed(self.all_of_first(x), torch.cat([shared, *own], dim=1))
        return torch.stack(self.second.weighed(of_tasks, *self.second.outputs(of_tasks, of_all)), dim=1)


class _Extraction(nn.Module):
    """Shared experts, experts of each task, and each task's gate over both."""

    def __init__(self, n_in: int, hidden: int, experts: int, tasks: int, dropout: float) -> None:
        super().__init__()
        self.shared = nn.ModuleList(Mlp(n_in, hidden, hidden, dropout) for _ in range(experts))
        self.own = nn.ModuleList(
            nn.ModuleList(Mlp(n_in, hidden, hidden, dropout) for _ in range(OWN_EXPERTS)) for _ in range(tasks)
        )
        self.gates = nn.ModuleList(nn.Linear(n_in, experts + OWN_EXPERTS) for _ in range(tasks))

    def outputs(self, of_tasks: Sequence[Tensor], of_all: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the experts make of the tasks' inputs and the shared one, each (B, n_in).

        Returns:
            Of the shared experts (B, experts, hidden), and of each task's own (B, OWN_EXPERTS, hidden).
        """
        own = [_outputs(experts, x) for experts, x in zip(self.own, of_tasks, strict=True)]
        return _outputs(self.shared, of_all), own

    def weighed(self, of_tasks: Sequence[Tensor], shared: Tensor, own: Sequence[Tensor]) -> list[Tensor]:
        """The mean that each task's gate makes of the shared experts and its own, (B, hidden)."""
        return [
            _weighed(gate(x), torch.cat([shared, outputs], dim=1))
            for gate, x, outputs in zip(self.gates, of_tasks, own, strict=True)
        ]


def _outputs(experts: nn.Module, x: Tensor) -> Tensor:
    """(B, n_in) -> (B, experts, hidden)."""
    return torch.stack([torch.relu(expert(x)) for expert in experts.children()], dim=1)


def _weighed(gate: Tensor, outputs: Tensor) -> Tensor:
    """Logits (B, E) and outputs (B, E, hidden) -> their mean (B, hidden)."""
    return torch.einsum("be,beh->bh", gate.softmax(dim=1), outputs)


SHARING: dict[str, Callable[[int, int, int, int, float], nn.Module]] = {
    "shared-bottom": SharedBottom,
    "mmoe": MixtureOfExperts,
    "ple": ProgressiveLayeredExtraction,
}
"""By the name in [teacher] sharing."""


def sharing_network(kind: str, n_in: int, hidden: int, experts: int, tasks: int, dropout: float) -> nn.Module:
    """The network `kind`, of `SHARING`, that makes a state for each task: (B, n_in) -> (B, tasks, hidden)."""
    return SHARING[kind](n_in, hidden, experts, tasks, dropout)
