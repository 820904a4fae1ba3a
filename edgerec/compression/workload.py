"""The size of a bundle and the work of a request, from which its latency is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgerec.models.inputs import Shape
from edgerec.models.student import StudentSizes

EVENTS, K = 50, 10
"""Length of the history and of the list of the request that is counted."""


@dataclass(frozen=True)
class Workload:
    """The work of one bundle.

    Attributes:
        kernel: of its graphs.
        items: number of items in the catalogue.
        model_bytes: bytes of graphs and weights.
        table: entries of the item table, all of which a request reads.
        logits: items times tasks.
        macs: multiply-accumulate operations of the request tower and the reasons.
    """

    kernel: str
    items: int
    model_bytes: int
    table: int
    logits: int
    macs: int

    def to_json(self) -> dict[str, str | int]:
        """As in a manifest, in which the key of the kernel is "body"."""
        return {"body" if name == "kernel" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Workload:
        """The inverse of `to_json`."""
        return cls(**{"kernel" if name == "body" else name: value for name, value in values.items()})


def macs(shape: Shape, s: StudentSizes, tasks: int) -> int:
    """Multiply-accumulate operations of a request with `EVENTS` past items, without the product with the item table."""
    numbers, outputs = 6 + (s.transitions > 0), tasks * (1 + (s.transitions > 0))
    pooled = s.heads * s.dim
    context = shape.numbers * s.inner + s.inner * s.context + s.context * (s.pooling + s.repeat)
    event = (s.dim + numbers) * (s.pooling + s.repeat) + s.pooling * s.heads + s.repeat * outputs + pooled
    vectors = pooled * tasks * s.dim + (s.context + pooled) * s.head + s.head * tasks * s.dim
    direction = tasks * s.dim * (s.head + pooled) + s.dim * s.head * pooled
    reasons = K * pooled * (s.dim + EVENTS)
    return context + EVENTS * event + vectors + direction + reasons
