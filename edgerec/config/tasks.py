"""`[[task]]`: what is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from edgerec.config.base import Expression, Settings, TaskName, problem

if TYPE_CHECKING:
    from edgerec.tasks import Task

MAX_BINARY_TASKS = 8
"""An event's kind is a bit mask in one byte."""


class TaskConfig(Settings):
    """One thing to predict."""

    name: TaskName
    kind: Literal["retrieval", "binary", "regression", "related"]
    label: Expression | None = None
    """A column or SQL expression; of a retrieval task: the rows that count as consumption."""
    repeats: Literal["allow", "exclude"] = "allow"
    """retrieval: may an item of the history be recommended again?"""
    after: str | None = None
    """binary: the earlier binary task without which this one cannot happen."""
    clip: float | None = Field(None, gt=0, le=1)
    """regression: labels are clipped at this quantile of the train part."""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Of the task in the joint loss."""
    unit: str | None = None
    """regression: the unit of the label, for display."""

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
