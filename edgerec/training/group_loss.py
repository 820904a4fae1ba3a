"""The losses of a batch that several processes share, and their mean over a validation split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import torch
from torch import Tensor

from edgerec.config.stages import TrainingConfig
from edgerec.examples.batches import JointBatch, JointBatches
from edgerec.training.group import Group
from edgerec.training.joint import JointTraining, Labels, LossPart, joined


class GroupLoss:
    """Computes losses in one process of a group; with a single process, they are those of its batch.

    Attributes:
        precision: type of the activations; None is float32.
    """

    def __init__(self, group: Group, module: JointTraining, training: TrainingConfig) -> None:
        self.group, self.module = group, module
        self.parts = compiled(module, group.device) if training.compile else module
        self.precision = precision_of(training.precision, group.device)
        self.one_parameter = next(p for p in module.parameters() if p.requires_grad)
        # All parts that a loss may have, in an order that all processes share.
        self.kinds: list[tuple[str, Labels]] = [(name, kind) for name in module.weights for kind in get_args(Labels)]

    def own_parts(self, batches: Iterator[JointBatch]) -> Iterator[JointBatch]:
        """This process's part of each batch, on its device."""
        for batch in batches:
            yield batch.part(self.group.rank, self.group.size).to(self.group.device)

    def of(self, batch: JointBatch) -> dict[str, Tensor]:
        """The loss of each task over the parts of all processes, with the gradient of this process's part."""
        with self._autocast():
            parts: list[LossPart] = self.parts(batch)
        return joined(parts) if self.group.size == 1 else joined(self._over_all(parts))

    def validation(self, valid: JointBatches) -> dict[str, float]:
        """The mean loss of each task over all examples of `valid`."""
        sums = torch.zeros(len(self.kinds), 2, dtype=torch.float64)
        self.module.eval()
        with torch.no_grad(), self._autocast():
            for batch in self.own_parts(iter(valid)):
                for part in self.parts(batch):
                    count = float(part.count)
                    total = part.weight * float(part.mean) * count
                    sums[self.kinds.index((part.task, part.labels))] += torch.tensor(
                        [total, count], dtype=torch.float64
                    )
        if self.group.size > 1:
            sums = self.group.sum(sums.to(self.group.device)).cpu()
        means: dict[str, float] = {}
        for (task, _), (total, count) in zip(self.kinds, sums.tolist(), strict=True):
            if count:
                means[task] = means.get(task, 0.0) + total / count
        return means

    def _over_all(self, parts: Sequence[LossPart]) -> list[LossPart]:
        """The parts with means over the examples of all processes.

        The gradients of these means are this process's share: their sum over the processes is that of one process that
        had the whole batch.
        """
        kinds, device = self.kinds, self.group.device
        none = torch.zeros((), device=device)
        own = {(p.task, p.labels): p for p in parts}
        counts = torch.stack([own[k].count.to(device) if k in own else none for k in kinds])
        whole = self.group.sum(counts.clone())
        means = [
            own[k].weight * own[k].mean * (counts[i] / whole[i].clamp(min=1)) if k in own else none
            for i, k in enumerate(kinds)
        ]
        values = self.group.sum(torch.stack([m.detach() for m in means]))
        # A process whose part lacks a task still goes backward: by a gradient of 0.
        nothing = self.one_parameter.sum() * 0.0
        return [
            LossPart(task, labels, 1.0, nothing + means[i] + (values[i] - means[i].detach()), whole[i])
            for i, (task, labels) in enumerate(kinds)
            if whole[i] > 0
        ]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.group.device.type, self.precision, enabled=self.precision is not None)


def precision_of(setting: str, device: torch.device) -> torch.dtype | None:
    """The type of activations under [training] precision; None is float32."""
    if setting == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[setting]


def compiled(module: JointTraining, device: torch.device) -> Callable[[JointBatch], list[LossPart]]:
    """`module` compiled by torch.compile, for batches of any size.

    On a CPU its kernels have one thread, matrix products aside: with more, those of PyTorch 2.13 write beyond their
    buffers where sizes vary, and the process dies.
    """
    one_thread = {"cpp.threads": 1} if device.type == "cpu" else None
    function: Callable[[JointBatch], list[LossPart]] = torch.compile(module, dynamic=True, options=one_thread)  # type: ignore[arg-type]
    return function
