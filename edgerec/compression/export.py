"""Exports a trained student for the graphs: the request tower as ONNX, all else as arrays."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from edgerec.compression.rows import AT_ONCE
from edgerec.models.blocks import event_features
from edgerec.models.student import FOLLOWED, Student
from edgerec.tasks import Task, scored_tasks

Float = npt.NDArray[np.float32]

TOWER_INPUTS = (
    "vectors",
    "history_kind",
    "history_count",
    "history_age_h",
    "history_interval_h",
    "context_categorical",
    "context_numeric",
    "task_weights",
)
"""Inputs of the exported tower. `vectors` (L, dim) are the item vectors of the history."""
TOWER_OUTPUTS = ("user", "repeat", "follow", "attention", "moves_directly", "moves_units", "moves_through")


@dataclass(frozen=True)
class ExportedStudent:
    """The parts of a student.

    Attributes:
        tower: ONNX graph from `TOWER_INPUTS` to `TOWER_OUTPUTS`: task vectors (T, dim); what past items add to their
            own logits and to those of their transitions, both (L, T); attention (L, heads); and the derivative of the
            weighted task vector by the attended values in factors: a direct one (dim, heads * dim), and one through the
            head's hidden units, (dim, hidden) times (hidden, heads * dim).
        table: float32 (N, dim). scales: float32 (N,), learned INT8 steps of its rows. prior: float32 (T, N).
        transitions: int32 (N, K) and transition_weight, float32 (N, K), or None. Without them `follow` is (L, 0).
        relation: float32 (dim, dim) and relation_prior (N,), of the related task, or None.
        tasks: the scored tasks. heads: number of attention heads.
        weights: of the request tower, by their names in the student, for engines that need no ONNX.
        categories: sizes of the request's categorical inputs.
    """

    tower: onnx.GraphProto
    table: Float
    scales: Float
    prior: Float
    transitions: npt.NDArray[np.int32] | None
    transition_weight: Float | None
    relation: Float | None
    relation_prior: Float | None
    tasks: tuple[Task, ...]
    heads: int
    weights: Mapping[str, Float]
    categories: tuple[int, ...]


class _Tower(nn.Module):
    """`RequestTower` for one request without padding, with the derivative that explains its output."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.tower = student.requests
        self.ordered = student.transitions is not None

    def forward(
        self,
        vectors: Tensor,
        kind: Tensor,
        count: Tensor,
        age_h: Tensor,
        interval_h: Tensor,
        categorical: Tensor,
        numeric: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, ...]:
        t = self.tower
        # `later_items` of one history: ONNX has no searchsorted.
        later = (age_h < age_h.unsqueeze(1)).sum(dim=1) if self.ordered else None
        numbers = event_features(count, age_h, interval_h, later)
        user, repeat, follow, attention = t(
            vectors.unsqueeze(0),
            kind.unsqueeze(0),
            numbers.unsqueeze(0),
            categorical.unsqueeze(0),
            numeric.unsqueeze(0),
        )
        context = t.context(categorical.unsqueeze(0), numeric.unsqueeze(0))
        pooled = t.pooled(attention, vectors.unsqueeze(0)).squeeze(0)
        follow = follow.squeeze(0)
        if later is not None:
            follow = follow * (later < FOLLOWED).unsqueeze(1)
        return user.squeeze(0), repeat.squeeze(0), follow, attention.squeeze(0), *self._moving(context, pooled, weights)

    def _moving(self, context: Tensor, pooled: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Derivative of the weighted task vector by the pooled values: exact unless a unit of the head switches.

        It is ``linear + units @ through``. The product would cost more than all else; few items are explained, so the
        graph applies the factors to these.
        """
        t = self.tower
        first, last = t.head.first, t.head.last
        width = context.shape[1]
        active = (first(torch.cat([context.squeeze(0), pooled])) > 0).to(weights.dtype)
        # Matrix products take a tenth of the time of a sum over the tasks.
        units = (weights @ last.weight.view(t.tasks, -1)).view(t.dim, -1) * active
        linear = (weights @ t.mix.weight.view(t.tasks, -1)).view(t.dim, -1)
        return linear, units, first.weight[:, width:].clone()


def export_student(student: Student, statistics: Float, tasks: Sequence[Task]) -> ExportedStudent:
    """Compute the item table for `statistics` (N, F), and export the request tower."""
    student = student.eval()
    related = any(t.kind == "related" for t in tasks)
    table, scales, prior = _folded(student, statistics)
    return ExportedStudent(
        tower=_export_tower(student),
        table=table,
        scales=scales,
        prior=prior[: student.tasks],
        transitions=None if student.transitions is None else student.transitions.item.numpy(),
        transition_weight=None if student.transitions is None else student.transitions.weight.detach().numpy(),
        relation=student.relation.weight.detach().numpy() if related else None,
        relation_prior=prior[student.tasks] if related else None,
        tasks=tuple(scored_tasks(tasks)),
        heads=student.requests.heads,
        weights={name: value.detach().numpy() for name, value in student.requests.named_parameters()},
        categories=tuple(student.shape.categories),
    )


def with_priors(exported: ExportedStudent, student: Student, statistics: Float) -> ExportedStudent:
    """The same table with the priors of other `statistics` (N, F)."""
    _, _, prior = _folded(student, statistics)
    related = exported.relation_prior is not None
    return replace(exported, prior=prior[: student.tasks], relation_prior=prior[student.tasks] if related else None)


def as_of(exported: ExportedStudent, student: Student, statistics: Float) -> ExportedStudent:
    """The same student as if it had been exported with other `statistics` (N, F)."""
    table, scales, _ = _folded(student, statistics)
    return with_priors(replace(exported, table=table, scales=scales), student, statistics)


def _folded(student: Student, statistics: Float) -> tuple[Float, Float, Float]:
    """Table (N, dim), scales (N,) and priors (T + 1, N), computed in parts to save memory."""
    n, dim = student.shape.n_items, student.sizes.dim
    table, scales = np.empty((n, dim), np.float32), np.empty(n, np.float32)
    prior = np.empty((student.tasks + 1, n), np.float32)
    known = torch.from_numpy(np.array(statistics))  # a copy: they may lie in a file that is only read
    for start in range(0, n, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        with torch.inference_mode():
            vectors, priors = student.items(known, rows)
            table[rows], prior[:, rows] = vectors.numpy(), priors.T.numpy()
            scales[rows] = student.scales(vectors, rows).numpy()
    return table, scales, prior


def _export_tower(student: Student) -> onnx.GraphProto:
    shape, length = student.shape, 5
    example = (
        torch.randn(length, student.requests.dim),
        torch.zeros(length, dtype=torch.int64),
        torch.ones(length),
        torch.ones(length),
        torch.ones(length),
        torch.zeros(len(shape.categories), dtype=torch.int64),
        torch.zeros(shape.numbers),
        torch.ones(student.tasks),
    )
    dynamic = torch.export.Dim("L")
    shapes = tuple({0: dynamic} if i < 5 else None for i in range(len(example)))
    loggers = {name: logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")}
    levels = {name: logger.level for name, logger in loggers.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers.values():
            logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                _Tower(student).eval(),
                example,
                input_names=list(TOWER_INPUTS),
                output_names=list(TOWER_OUTPUTS),
                dynamic_shapes=shapes,
                opset_version=18,
                dynamo=True,
                verbose=False,
            )
        finally:
            for name, logger in loggers.items():
                logger.setLevel(levels[name])
    assert program is not None
    graph: onnx.GraphProto = program.model_proto.graph
    return graph
