"""What is predicted: one `Task` for each label that the recommender learns and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["retrieval", "binary", "regression", "related"]


@dataclass(frozen=True)
class Task:
    """One prediction task.

    Attributes:
        kind: "retrieval" ranks the catalogue for the next session, "binary" predicts the probability of a label for an
            impression, "regression" its expected value, "related" ranks items that share a session with an item.
        label: SQL over a row of the log. Binary: 0 or 1. Regression: the target, a number. Retrieval: which rows count
            as consumption, None for all of them.
        repeats: retrieval only: with "exclude", items of the user's history are neither candidates nor positives.
        after: name of an earlier binary task, which makes this one conditional: P(after) P(this | after) is learned
            (ESMM, Ma et al., SIGIR 2018).
        clip: regression only: the quantile of the training targets at which larger ones are clipped.
        weight: of the task in the joint loss.
        unit: unit of a regression target, for people.
    """

    name: str
    kind: Kind
    label: str | None = None
    repeats: Literal["allow", "exclude"] = "allow"
    after: str | None = None
    clip: float | None = None
    weight: float = 1.0
    unit: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"task {self.name!r}: kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from their defaults, for a manifest."""
        return {k: v for k, v in asdict(self).items() if k in ("name", "kind") or v != getattr(type(self), k)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Task:
        """The inverse of `to_json`; keys that are not fields (such as a graph index) are ignored."""
        return cls(**{k: v for k, v in fields.items() if k in cls.__dataclass_fields__})


def scored_tasks(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that score a request, in graph order: all but "related", which scores pairs of items."""
    return [t for t in tasks if t.kind != "related"]


def binary_tasks(tasks: Sequence[Task]) -> list[Task]:
    """The binary tasks in order: bit i of an event's kind says that binary task i was positive."""
    return [t for t in tasks if t.kind == "binary"]
