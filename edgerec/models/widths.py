"""Which axes of a student's parameters have which width, to make students smaller or larger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from edgerec.models.inputs import ItemFeatures
from edgerec.models.student import Student

__all__ = ["Cut", "axes_of", "grown"]

Index = Tensor
Cut = Mapping[str, Index]
"""By width of `StudentSizes` that differs: indices of the units that a smaller student has, int64, ascending."""


def axes_of(name: str, student: Student, cut: Cut) -> Iterator[tuple[int, Index]]:
    """The axes of a parameter that are cut, each with the indices that stay."""
    s, tasks = student.sizes, student.tasks
    dim = cut.get("dim", torch.arange(s.dim))

    def blocks(of: Index) -> Index:
        return (of[:, None] * s.dim + dim).flatten()

    pooled = blocks(cut.get("heads", torch.arange(s.heads)))
    rows, columns = WIDTHS.get(name, ("", ""))
    if s.factor and name == "items.identity.weight":
        columns = ""
    for axis, width in ((0, rows), (1, columns)):
        if width in cut:
            yield axis, cut[width]
        elif width == "tasks*dim" and "dim" in cut:
            yield axis, blocks(torch.arange(tasks))
        elif width == "heads*dim" and ("dim" in cut or "heads" in cut):
            yield axis, pooled
        elif width == "context+heads*dim" and not cut.keys().isdisjoint(("context", "dim", "heads")):
            yield axis, torch.cat([cut.get("context", torch.arange(s.context)), pooled + s.context])


WIDTHS = {
    "items.identity.weight": ("", "dim"),
    "items.fold.weight": ("dim", ""),
    "items.from_category.table.weight": ("", "dim"),
    "items.from_parts.weight": ("", "dim"),
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
    "requests.pooling.attention.weight": ("heads", "pooling"),
    "requests.pooling.attention.bias": ("heads", ""),
    "requests.pooling.nothing": ("heads", ""),
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
"""The widths of each parameter's rows and columns; "": never cut."""


def grown(student: Student, features: ItemFeatures, transitions: int = 0, **added: int) -> Student:
    """The same student with more units, all zero and behind those that are there.

    Args:
        transitions: give a student without any so many of each item, with weight 0; a later event counts as before.
        added: how many, by width of `StudentSizes`: "dim" (columns of the item table), "heads", "repeat", "inner", ...
    """
    sizes = replace(student.sizes, **{width: getattr(student.sizes, width) + more for width, more in added.items()})
    if transitions and student.transitions is None:
        sizes = replace(sizes, transitions=transitions)
    large = Student(student.shape, features, student.tasks, sizes)
    large.qat = student.qat
    cut = {}
    for width, more in added.items():
        if more:
            cut[width] = torch.arange(getattr(student.sizes, width))
    old = dict(student.named_parameters())
    with torch.no_grad():
        for name, parameter in large.named_parameters():
            parameter.zero_()
            if name not in old:
                continue
            chosen = [torch.arange(size) for size in old[name].shape]
            for axis, stay in axes_of(name, large, cut):
                chosen[axis] = stay
            parameter[torch.meshgrid(*chosen, indexing="ij")] = old[name]
        if student.transitions is not None and large.transitions is not None:
            large.transitions.item.copy_(student.transitions.item)
    return large.train(student.training)
