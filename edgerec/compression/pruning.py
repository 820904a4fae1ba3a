"""Structured pruning: cuts the least important hidden units and table columns, then lets the student recover.

Only whole units are cut: a single zero saves nothing in a dense product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from edgerec.compression.storage import LEVELS_OF_4
from edgerec.config import PruningConfig
from edgerec.distillation.student import StudentSettings, terms_of, train_student
from edgerec.examples.batches import Examples, JointBatches
from edgerec.examples.load import LearningData
from edgerec.models.qat import round_rows, row_scales
from edgerec.models.student import Student, StudentSizes
from edgerec.models.widths import Cut, axes_of
from edgerec.progress import Progress
from edgerec.training.joint import JointTraining
from edgerec.training.teacher import batch_settings

HIDDEN = ("inner", "context", "pooling", "repeat", "head")
"""Widths that `hidden` of ``[pruning]`` cuts."""
STEPS = 40
"""Joint batches whose gradients give the importance of units."""


def pruned_student(
    pruning: PruningConfig,
    settings: StudentSettings,
    four_bits: bool,
    data: LearningData,
    examples: Examples,
    student: Student,
    folder: Path,
    progress: Progress,
) -> Student:
    """A student that is cut and recovers in rounds, with quantization-aware training; `student` is not changed.

    Args:
        four_bits: whether the bundle's table has 4 bits.
        folder: for checkpoints, from which the same call resumes.
    """
    whole, terms = student.sizes, terms_of(settings.distillation)
    for number in range(1, pruning.rounds + 1):
        module = JointTraining(student, data.tasks, data.train.n_seen, terms)
        batches = JointBatches(examples, batch_settings(settings.teacher, data), settings.seed)
        with progress.track(None, "choosing what to cut"):
            cut = choose(importances(module, batches), left_of(pruning, whole, number / pruning.rounds))
        if not cut and not (four_bits and number == 1):
            break
        torch.manual_seed(settings.seed)
        student = shrink(student, cut, data, settings.distillation.dropout)
        if four_bits and number == 1:
            _to_four_bits(student, data)
        if pruning.epochs:
            # 4 bits are coarse and need quantization-aware training throughout; for INT8 the last part is enough.
            learned = settings.with_distillation(qat=1.0) if four_bits else settings
            title = "recovery" + (f", round {number}" if pruning.rounds > 1 else "")
            checkpoints = folder / f"round-{number}"
            train_student(learned, data, examples, student, pruning.epochs, checkpoints, progress, title)
    return student


def left_of(pruning: PruningConfig, whole: StudentSizes, done: float) -> dict[str, int]:
    """The units that are left of each width after a part `done` of the pruning, 0 to 1."""
    shares = {**dict.fromkeys(HIDDEN, pruning.hidden), "dim": pruning.dim, "heads": pruning.heads}
    return {
        width: size - int(size * share * done) for width, share in shares.items() for size in [getattr(whole, width)]
    }


def _to_four_bits(student: Student, data: LearningData) -> None:
    """Make the table round to 4 bits, with the steps of least squared error among 25 candidates."""
    student.sizes = replace(student.sizes, levels=LEVELS_OF_4)
    with torch.no_grad():
        table, _ = student.items(data.as_of(-1).statistics)
        widest = row_scales(table, torch.zeros_like(student.step), LEVELS_OF_4)
        tried = torch.log(torch.linspace(0.4, 1.0, 25))
        errors = [(round_rows(table, widest * torch.exp(step), LEVELS_OF_4) - table).square().sum(1) for step in tried]
        student.step.copy_(tried[torch.stack(errors).argmin(0)])


def importances(module: JointTraining, batches: JointBatches) -> dict[str, Tensor]:
    """Taylor importance of each unit by width: the sum over batches of the squared effect on the loss of removing it.

    A unit's effect is the sum of its outgoing weights times their gradients (of its incoming weights for a table
    column), which is the derivative by a gate on the unit.
    Source: Molchanov et al., CVPR 2019, equation 8.
    """
    student = module.model
    assert isinstance(student, Student)
    student.eval()
    summed: dict[str, Tensor] = {}
    for step, batch in enumerate(batches):
        if step == STEPS:
            break
        student.zero_grad()
        module.total(module.losses(batch)).backward()  # type: ignore[no-untyped-call]
        for width, effects in _effects(student).items():
            summed[width] = summed.get(width, torch.zeros_like(effects)) + effects**2
    student.zero_grad()
    return summed


def choose(importance: Mapping[str, Tensor], left: Mapping[str, int]) -> Cut:
    """The most important units of each width, as many as `left` says; a width that loses none is left out."""
    return {
        width: torch.sort(torch.argsort(values, stable=True)[len(values) - left[width] :]).values
        for width, values in importance.items()
        if left[width] < len(values)
    }


def shrink(student: Student, cut: Cut, data: LearningData, dropout: float) -> Student:
    """A smaller student, with the weights of the units that stay."""
    sizes = replace(student.sizes, **{width: len(stay) for width, stay in cut.items()})
    small = Student(student.shape, data.features, student.tasks, sizes, dropout)
    old = student.state_dict()
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            value = old[name]
            for axis, stay in axes_of(name, student, cut):
                value = value.index_select(axis, stay)
            parameter.copy_(value)
        if small.transitions is not None:
            small.transitions.item.copy_(old["transitions.item"])
    return small


def _effects(student: Student) -> dict[str, Tensor]:
    """Derivative of the loss by a gate on each unit, by width."""
    tower, s = student.requests, student.sizes

    def out(parameter: Tensor, first: int, count: int) -> Tensor:
        assert parameter.grad is not None
        columns = slice(first, first + count)
        return (parameter[:, columns] * parameter.grad[:, columns]).sum(0).detach()

    pooled = s.heads * s.dim
    context = (tower.pooling.from_context, tower.repeat.from_context, tower.head.first)
    effects = {
        "inner": out(tower.context.out.weight, 0, s.inner),
        "context": torch.stack([out(layer.weight, 0, s.context) for layer in context]).sum(0),
        "pooling": out(tower.pooling.attention.weight, 0, s.pooling),
        "repeat": out(tower.repeat.out.weight, 0, s.repeat),
        "head": out(tower.head.last.weight, 0, s.head),
        "heads": out(tower.mix.weight, 0, pooled).view(s.heads, s.dim).sum(1)
        + out(tower.head.first.weight, s.context, pooled).view(s.heads, s.dim).sum(1),
    }
    items = student.items
    incoming = [items.from_category.table.weight] + ([items.identity.weight] if items.fold is None else [])
    incoming += [] if items.from_parts is None else [items.from_parts.weight]
    folded = [layer.weight for layer in (items.from_text, items.fold) if layer is not None]
    rows = [items.from_numbers.last.weight, *folded]
    total = items.from_numbers.last.bias * _grad(items.from_numbers.last.bias)
    total = total + torch.stack([(p * _grad(p)).sum(0) for p in incoming]).sum(0)
    effects["dim"] = (total + torch.stack([(p * _grad(p)).sum(1) for p in rows]).sum(0)).detach()
    return effects


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def bundle_parameters(student: Student, gone: int = 0) -> int:
    """Parameters in a bundle without `gone` items: the request tower, the relation, and each item's row and priors."""
    tower = sum(p.numel() for p in student.requests.parameters())
    row = student.sizes.dim + student.tasks + 1 + student.sizes.transitions
    return tower + (student.shape.n_items - gone) * row + student.relation.weight.numel()
