"""`[[task]]`: one prediction task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from edgerec.config.base import Expression, Settings, TaskName, problem

if TYPE_CHECKING:
    from edgerec.tasks import Task

MAX_BINARY_TASKS = 8
"""The kind of an event is a bit mask in one byte, a bit for each binary task."""


class TaskConfig(Settings):
    """A prediction task."""

    name: TaskName
    """Name of the task: lower-case letters, digits and underscores."""
    kind: Literal["retrieval", "binary", "regression", "related"]
    """retrieval: which item is consumed next; binary: whether something happens after an impression; regression: a
    number, such as watch time, after an impression; related: which items share a session with an item."""
    label: Expression | None = None
    """Column or SQL expression of the label. For a retrieval task: the rows that count as consumption; None: all."""
    repeats: Literal["allow", "exclude"] = "allow"
    """retrieval only: whether an item of the history may be recommended again."""
    after: str | None = None
    """binary only, for conditional tasks (ESMM): the earlier binary task without which this one cannot happen."""
    clip: float | None = Field(None, gt=0, le=1)
    """regression only: quantile of train at which labels are clipped, 0 to 1; None: no clipping."""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Weight of the task in the joint loss, and by default in the utility."""
    unit: str | None = None
    """regression only: unit of the label, for display."""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        if self.kind in ("binary", "regression") and self.label is None:
            raise problem(f"a {self.kind} task needs a label; add label = a column or an SQL expression")
        for key, kinds in _KEYS_OF_KINDS.items():
            if key in self.model_fields_set and self.kind not in kinds:
                raise problem(f"{key} is for {' and '.join(kinds)} tasks, not for {self.kind}; leave it out")
        return self

    def to_task(self) -> Task:
        """The task as the rest of the toolchain knows it."""
        from edgerec.tasks import Task

        return Task(**self.model_dump())


_KEYS_OF_KINDS = {
    "label": ("retrieval", "binary", "regression"),
    "repeats": ("retrieval",),
    "after": ("binary",),
    "clip": ("regression",),
    "unit": ("regression",),
}
