"""Structured pruning: hidden units and table columns of least importance are cut out, then the rest recovers.

Only whole units go: an unstructured zero saves nothing in a dense product.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from edgerec.config import Config
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress
from edgerec.training.batches import JointBatches
from edgerec.training.calibrate import calibrate
from edgerec.training.checkpoint import load_student, save_student
from edgerec.training.distillation import soft_examples, terms_of, train_student
from edgerec.training.joint import JointTraining
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.teacher import batch_settings, work_folder

STEPS = 40
"""Joint batches whose gradients decide what matters."""

Index = Tensor
Cut = Mapping[str, Index]
"""For each width of `StudentSizes` that is cut: the units that stay, int64, ascending."""


@dataclass(frozen=True)
class PruneReport:
    """Parameters of the request tower and the item table before and after, and the widths that are left."""

    before: int
    after: int
    sizes: StudentSizes

    def lines(self) -> Sequence[str]:
        """For the screen."""
        s = self.sizes
        return [
            f"pruned: {self.before:,} -> {self.after:,} parameters in the bundle; width {s.dim}, hidden units "
            f"{s.inner}/{s.context}/{s.pooling}/{s.repeat}/{s.head} (context, its output, attention, repeat, head)"
        ]


def prune(config: Config, run_dir: Path, progress: Progress) -> PruneReport:
    """Cut the student of a run to the shares of ``[pruning]`` and let it recover on the teacher's labels."""
    work = work_folder(run_dir, "pruned", config, ("teacher", "student", "distillation", "pruning"))
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    student = load_student(run_dir / "student", data.shape, data.features, config.distillation.dropout)
    before = _in_bundle(student)
    examples, _ = soft_examples(config, run_dir, data, progress)
    batches = JointBatches(examples, batch_settings(config, data), config.seed)
    module = JointTraining(student, data.tasks, data.fit.n_seen, terms_of(config.distillation))
    cut = choose(student, importances(module, batches), config.pruning.hidden, config.pruning.dim)
    torch.manual_seed(config.seed)
    pruned = shrink(student, cut, data, config.distillation.dropout)
    if config.pruning.epochs and cut:
        train_student(config, data, examples, pruned, config.pruning.epochs, work / "pruned", progress, "recovery")
    out = run_dir / "pruned"
    shutil.rmtree(out, ignore_errors=True)
    save_student(pruned, out, {"expectations": calibrate(pruned, data)})
    shutil.rmtree(work)
    return PruneReport(before, _in_bundle(pruned), pruned.sizes)


def importances(module: JointTraining, batches: JointBatches) -> dict[str, Tensor]:
    """Taylor importance of every unit of every width: the squared effect of removing it on the loss, summed up.

    A unit's effect is the product of its outgoing weights with their gradients (of its incoming ones for a table
    column), which is the derivative by a gate on the unit.
    Source: Molchanov et al., CVPR 2019, equation 8.
    """
    student = module.model
    assert isinstance(student, Student)
    student.eval()
    found: dict[str, Tensor] = {}
    for step, batch in enumerate(batches):
        if step == STEPS:
            break
        student.zero_grad()
        module.total(module.losses(batch)).backward()  # type: ignore[no-untyped-call]
        for width, effects in _effects(student).items():
            found[width] = found.get(width, torch.zeros_like(effects)) + effects**2
    student.zero_grad()
    return found


def choose(student: Student, importance: Mapping[str, Tensor], hidden: float, dim: float) -> Cut:
    """The units that stay when the least important share of each hidden width, and of the table's columns, goes."""
    cut = {}
    for width, values in importance.items():
        share = dim if width == "dim" else hidden
        gone = int(len(values) * share)
        if gone:
            cut[width] = torch.sort(torch.argsort(values, stable=True)[gone:]).values
    return cut


def shrink(student: Student, cut: Cut, data: LearningData, dropout: float) -> Student:
    """A smaller student with the weights of the units that stay."""
    sizes = replace(student.sizes, **{width: len(stay) for width, stay in cut.items()})
    small = Student(student.shape, data.features, student.tasks, sizes, dropout)
    old = student.state_dict()
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            value = old[name]
            for axis, stay in _axes(name, student, cut):
                value = value.index_select(axis, stay)
            parameter.copy_(value)
        if small.followers is not None:
            small.followers.item.copy_(old["followers.item"])
    return small


def _effects(student: Student) -> dict[str, Tensor]:
    """Derivative of the loss by a gate on each unit, by width."""
    tower, s = student.requests, student.sizes

    def out(parameter: Tensor, first: int, count: int) -> Tensor:
        assert parameter.grad is not None
        columns = slice(first, first + count)
        return (parameter[:, columns] * parameter.grad[:, columns]).sum(0).detach()

    context = (tower.pooling.from_context, tower.repeat.from_context, tower.head.first)
    found = {
        "inner": out(tower.context.out.weight, 0, s.inner),
        "context": torch.stack([out(layer.weight, 0, s.context) for layer in context]).sum(0),
        "pooling": out(tower.pooling.attention.weight, 0, s.pooling),
        "repeat": out(tower.repeat.out.weight, 0, s.repeat),
        "head": out(tower.head.last.weight, 0, s.head),
    }
    items = student.items
    incoming = [items.from_category.table.weight] + ([items.identity.weight] if items.fold is None else [])
    folded = [layer.weight for layer in (items.from_text, items.fold) if layer is not None]
    rows = [items.from_numbers.last.weight, *folded]
    total = items.from_numbers.last.bias * _grad(items.from_numbers.last.bias)
    total = total + torch.stack([(p * _grad(p)).sum(0) for p in incoming]).sum(0)
    found["dim"] = (total + torch.stack([(p * _grad(p)).sum(1) for p in rows]).sum(0)).detach()
    return found


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _axes(name: str, student: Student, cut: Cut) -> Iterator[tuple[int, Index]]:
    """Which indices of which axis of a parameter stay."""
    s, tasks = student.sizes, student.tasks

    def blocks(count: int) -> Index:
        return (torch.arange(count)[:, None] * s.dim + cut["dim"]).flatten()

    rows, columns = _WIDTHS.get(name, ("", ""))
    if s.factor and name == "items.identity.weight":
        columns = ""
    for axis, width in ((0, rows), (1, columns)):
        if width in cut:
            yield axis, cut[width]
        elif width == "tasks*dim" and "dim" in cut:
            yield axis, blocks(tasks)
        elif width == "heads*dim" and "dim" in cut:
            yield axis, blocks(s.heads)
        elif width == "context+heads*dim" and ("context" in cut or "dim" in cut):
            context = cut.get("context", torch.arange(s.context))
            pooled = blocks(s.heads) if "dim" in cut else torch.arange(s.heads * s.dim)
            yield axis, torch.cat([context, pooled + s.context])


_WIDTHS = {
    "items.identity.weight": ("", "dim"),
    "items.fold.weight": ("dim", ""),
    "items.from_category.table.weight": ("", "dim"),
    "items.from_text.weight": ("dim", ""),
    "items.from_numbers.last.weight": ("dim", ""),
    "items.from_numbers.last.bias": ("dim", ""),
    "relation.weight": ("dim", "dim"),
    "requests.context.category.table.weight": ("", "inner"),
    "requests.context.numbers.weight": ("inner", ""),
    "requests.context.numbers.bias": ("inner", ""),
    "requests.context.out.weight": ("context", "inner"),
    "requests.context.out.bias": ("context", ""),
    "requests.pooling.kind.weight": ("", "pooling"),
    "requests.pooling.from_item.weight": ("pooling", "dim"),
    "requests.pooling.from_item.bias": ("pooling", ""),
    "requests.pooling.from_numbers.weight": ("pooling", ""),
    "requests.pooling.from_numbers.bias": ("pooling", ""),
    "requests.pooling.from_context.weight": ("pooling", "context"),
    "requests.pooling.attention.weight": ("", "pooling"),
    "requests.repeat.kind.weight": ("", "repeat"),
    "requests.repeat.from_item.weight": ("repeat", "dim"),
    "requests.repeat.from_item.bias": ("repeat", ""),
    "requests.repeat.from_numbers.weight": ("repeat", ""),
    "requests.repeat.from_numbers.bias": ("repeat", ""),
    "requests.repeat.from_context.weight": ("repeat", "context"),
    "requests.repeat.out.weight": ("", "repeat"),
    "requests.mix.weight": ("tasks*dim", "heads*dim"),
    "requests.head.first.weight": ("head", "context+heads*dim"),
    "requests.head.first.bias": ("head", ""),
    "requests.head.last.weight": ("tasks*dim", "head"),
    "requests.head.last.bias": ("tasks*dim", ""),
}
"""The widths of each parameter's rows and columns; "" never shrinks."""


def _in_bundle(student: Student) -> int:
    """Parameters that reach the device: the request tower, the relation, and a row and its priors for each item."""
    tower = sum(p.numel() for p in student.requests.parameters())
    rows = student.shape.n_items * (student.sizes.dim + student.tasks + 1)
    lists = 0 if student.followers is None else student.followers.weight.numel()
    return tower + rows + lists + student.relation.weight.numel()
