"""Steps of the optimizer: along the mean gradient of several batches, summed over the processes that share them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgerec.training.group import Group
from edgerec.training.job import LoopSettings
from edgerec.training.joint import JointTraining
from edgerec.training.weighting import WEIGHTINGS

LARGEST_GRADIENT = 1.0
"""Norm to which longer gradients are cut."""


@dataclass(frozen=True)
class Update:
    """One step of the optimizer: the norm of its gradient, a scalar, and its learning rate."""

    norm: Tensor
    learning_rate: float


class ParameterUpdates:
    """The optimizer of a model and the weighting of its tasks.

    Args:
        total: steps of the whole schedule.
        precision: type of the activations; float16 needs scaled gradients.
    """

    def __init__(
        self, group: Group, module: JointTraining, settings: LoopSettings, total: int, precision: torch.dtype | None
    ) -> None:
        self.group, self.settings, self.total = group, settings, total
        self.weighting = WEIGHTINGS[settings.loss_weights](module.weights).to(group.device)
        self.shared = module.shared()
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=precision == torch.float16)
        self.optimizer = _optimizer(module, self.weighting, settings)
        self.parameters = [p for p in module.parameters() if p.requires_grad]

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradients of a batch's losses."""
        self.weighting.backward(losses, self.shared, self._backward)

    def step(self, number: int, batches: int) -> Update:
        """Step `number` of the schedule, along the mean gradient of `batches`."""
        rate = self.settings.learning_rate * learning_rate_factor(number / self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self._sum_gradients()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if batches > 1:
            torch._foreach_mul_(gradients, 1 / batches)
        norm = nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return Update(norm, rate)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "weighting": self.weighting.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.weighting.load_state_dict(state["weighting"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _backward(self, loss: Tensor, retain: bool = False) -> None:
        self.scaler.scale(loss).backward(retain_graph=retain)  # type: ignore[no-untyped-call]

    def _sum_gradients(self) -> None:
        """Each gradient added up over the processes; the weighting's own ones are whole in each of them."""
        if self.group.size == 1:
            return
        present = torch.tensor([float(p.grad is not None) for p in self.parameters], device=self.group.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        flat = self.group.sum(torch.cat([present, *(g.flatten() for g in gradients)]))
        offset = len(present)
        for number, p in enumerate(self.parameters):
            if flat[number] > 0:
                p.grad = flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()


def learning_rate_factor(done: float) -> float:
    """Factor of the learning rate: a line up over the first fifth, then half a cosine down to nothing."""
    done = min(done, 1.0)
    return done / 0.2 + 0.01 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def _optimizer(module: JointTraining, weighting: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    embeddings = [p for n, p in named if n.startswith("model.") and ("identity" in n or "bias.weight" in n)]
    read = [p for n, p in named if n.startswith("reader.")]
    chosen = {id(p) for p in (*embeddings, *read)}
    slower = 1.0 if module.reader is None else module.reader.learning_rate / settings.learning_rate
    groups = [
        {"params": embeddings, "weight_decay": settings.weight_decay, "factor": 1.0},
        {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": 0.01, "factor": 1.0},
        {"params": read, "weight_decay": 0.01, "factor": slower},
        {"params": list(weighting.parameters()), "weight_decay": 0.0, "factor": 1.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=True)
