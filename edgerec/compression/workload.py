"""What a bundle weighs, and what it has to do for a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgerec.models.inputs import Shape
from edgerec.models.student import StudentSizes

EVENTS, K = 50, 10
"""Past items of the request that is counted, and items that it asks for."""


@dataclass(frozen=True)
class Workload:
    """One bundle.

    Attributes:
        kernel: of its graphs. items: in the catalogue.
        model_bytes: of graphs and weights.
        table: numbers of the item table, which are read for each request. logits: items times tasks.
        macs: multiplications of the request tower and the reasons.
    """

    kernel: str
    items: int
    model_bytes: int
    table: int
    logits: int
    macs: int

    def to_json(self) -> dict[str, str | int]:
        """As in a manifest, whose format calls the kernel "body"."""
        return {"body" if name == "kernel" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Workload:
        """The inverse of `to_json`."""
        return cls(**{"kernel" if name == "body" else name: value for name, value in values.items()})


def macs(shape: Shape, s: StudentSizes, tasks: int) -> int:
    """Multiplications of one request with `EVENTS` past items, without the scan of the table."""
    numbers, outputs = 6 + (s.transitions > 0), tasks * (1 + (s.transitions > 0))
    pooled = s.heads * s.dim
    context = shape.numbers * s.inner + s.inner * s.context + s.context * (s.pooling + s.repeat)
    event = (s.dim + numbers) * (s.pooling + s.repeat) + s.pooling * s.heads + s.repeat * outputs + pooled
    vectors = pooled * tasks * s.dim + (s.context + pooled) * s.head + s.head * tasks * s.dim
    direction = tasks * s.dim * (s.head + pooled) + s.dim * s.head * pooled
    reasons = K * pooled * (s.dim + EVENTS)
    return context + EVENTS * event + vectors + direction + reasons
