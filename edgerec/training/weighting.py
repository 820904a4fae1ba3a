"""How the losses of the tasks are joined into the one that is learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn


class Backward(Protocol):
    """Adds the gradients of a loss to the parameters' `grad`, scaled as precision and accumulation need it."""

    def __call__(self, loss: Tensor, retain: bool = False) -> None:
        """`retain` keeps the graph for another call."""


class TaskWeighting(nn.Module):
    """Joins the losses of a step. May own parameters; they are trained beside the model's.

    Args:
        weights: of each task, by name; each loss is first multiplied by its own.
    """

    one_process: ClassVar[bool] = False
    """Needs whole gradients of each task, which no process has when several share a batch, and a graph to keep."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        """The loss to learn from.

        Args:
            losses: of the tasks that the step holds examples of.
            shared: parameters that all tasks learn.
        """
        raise NotImplementedError

    def backward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter], run: Backward) -> None:
        """Bring the gradients of all losses into the parameters' `grad`, by one or more calls of `run`."""
        run(self(losses, shared))


class FixedWeights(TaskWeighting):
    """The weighted sum."""

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()


class UncertaintyWeights(TaskWeighting):
    """Each loss over a learned variance of its task: the sum of ``exp(-s) * loss + s / 2``, s the variance's logarithm.

    At the best s a task counts 1 / (2 * loss): what is learned badly, or is noise, counts less.
    Source: Kendall et al., CVPR 2018, equation 10; Huber loss, half a square near 0, has the same form.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.names = list(weights)
        self.log_variance = nn.Parameter(torch.zeros(len(weights)))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        s = self.log_variance[[self.names.index(name) for name in losses]]
        weighted = torch.stack([self.weights[name] * loss for name, loss in losses.items()])
        return (torch.exp(-s) * weighted + s / 2).sum()


class _PerTask(TaskWeighting):
    """A weighting that looks at the gradient of each task. It costs a backward pass for each."""

    one_process = True

    def gradients(
        self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter], run: Backward
    ) -> list[list[Tensor | None]]:
        """Of each of `losses` at each of `shared`, None where it does not reach; `grad` of `shared` stays as it was.

        Other parameters get the sum of the gradients.
        """
        before = [p.grad for p in shared]
        of_losses: list[list[Tensor | None]] = []
        for left, loss in zip(reversed(range(len(losses))), losses.values(), strict=True):
            for p in shared:
                p.grad = None
            run(loss, retain=left > 0)
            of_losses.append([p.grad for p in shared])
        for p, gradient in zip(shared, before, strict=True):
            p.grad = gradient
        return of_losses


class GradNorm(_PerTask):
    """Weights under which the tasks' gradients have norms in the order of how far each task still has to go.

    A weight w moves against the sign of the derivative of ``|w * norm - mean(w * norm) * rate ** ALPHA|``, where
    `norm` is of the task's gradient at what it shares with others, and `rate` the part of its first loss that is left,
    over the tasks' mean. The sum of the weights is kept. The step is a fixed one in log w, like that of the paper's
    Adam and unlike a step along the derivative, which would depend on the losses' units.
    Source: Chen et al., ICML 2018, algorithm 1.
    """

    ALPHA = 1.5
    """How strongly slow tasks are pushed; the paper's value for unlike tasks."""
    STEP = 0.025
    """Of log w; the paper's learning rate."""

    weight: Tensor
    first: Tensor

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.names = list(weights)
        self.register_buffer("weight", torch.ones(len(weights)))
        self.register_buffer("first", torch.zeros(len(weights)))  # first losses; 0: none yet

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        return torch.stack(list(self._weighted(losses).values())).sum()

    def backward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter], run: Backward) -> None:
        gradients = self.gradients(self._weighted(losses), shared, run)
        _add(shared, [_sum(of_tasks) for of_tasks in zip(*gradients, strict=True)])
        both = [i for i in range(len(shared)) if sum(of[i] is not None for of in gradients) > 1]
        if both:
            norms = torch.stack([torch.cat([_flat(shared[i], of[i]) for i in both]).norm() for of in gradients])
            self._move(losses, norms)

    def _weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: self.weights[n] * self.weight[self.names.index(n)] * loss for n, loss in losses.items()}

    @torch.no_grad()
    def _move(self, losses: Mapping[str, Tensor], norms: Tensor) -> None:
        """`norms` of the weighted losses' gradients, up to a factor that all share."""
        at = torch.tensor([self.names.index(name) for name in losses], device=norms.device)
        now = torch.stack([loss.detach().float() for loss in losses.values()])
        self.first[at] = torch.where(self.first[at] > 0, self.first[at], now)
        left = now / self.first[at].clamp(min=1e-12)
        aim = norms.mean() * (left / left.mean()) ** self.ALPHA
        moved = self.weight[at] * torch.exp(-self.STEP * torch.sign(norms - aim))
        if torch.isfinite(moved).all():
            self.weight[at] = moved * (self.weight[at].sum() / moved.sum())


class PcGrad(_PerTask):
    """Each task's gradient without what points against another task's; then their sum.

    Compared are gradients at the parameters that at least two tasks of the step reach. Other tasks come in an order
    drawn anew for each task.
    Source: Yu et al., NeurIPS 2020, algorithm 1.
    """

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def backward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter], run: Backward) -> None:
        gradients = self.gradients({name: self.weights[name] * loss for name, loss in losses.items()}, shared, run)
        reached = [sum(of[i] is not None for of in gradients) for i in range(len(shared))]
        both = [i for i, n in enumerate(reached) if n > 1]
        joined = [_sum(of_tasks) for of_tasks in zip(*gradients, strict=True)]
        if both:
            whole = torch.stack([torch.cat([_flat(shared[i], of[i]) for i in both]) for of in gradients])
            pieces = torch.split(projected_weights(whole @ whole.T) @ whole, [shared[i].numel() for i in both])
            for i, piece in zip(both, pieces, strict=True):
                joined[i] = piece.view_as(shared[i]).to(shared[i].dtype)
        _add(shared, joined)


def projected_weights(products: Tensor) -> Tensor:
    """The weight of each of T gradients in the sum of the projected ones, (T,), from their inner products (T, T)."""
    dot = products.double().cpu()
    n = len(dot)
    mixture = torch.eye(n, dtype=torch.float64)  # row i: the projected gradient i as a mixture of all
    for i in range(n):
        for j in torch.randperm(n).tolist():
            along = mixture[i] @ dot[:, j]
            if j != i and along < 0:
                mixture[i, j] -= along / dot[j, j]
    return mixture.sum(dim=0).to(products)


def _flat(parameter: nn.Parameter, gradient: Tensor | None) -> Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).flatten().float()


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    there = [g for g in gradients if g is not None]
    return torch.stack(there).sum(dim=0) if there else None


def _add(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add `gradients` to the parameters' own."""
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            p.grad = gradient if p.grad is None else p.grad + gradient


WEIGHTINGS: dict[str, type[TaskWeighting]] = {
    "fixed": FixedWeights,
    "uncertainty": UncertaintyWeights,
    "gradnorm": GradNorm,
    "pcgrad": PcGrad,
}
"""By the name in [teacher] loss_weights."""
