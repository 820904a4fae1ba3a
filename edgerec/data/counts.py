"""How many rows of a table were accepted and rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Counts"]


@dataclass(frozen=True)
class Counts:
    """Rows of a table: ``rows_in == kept + sum(rejected.values())``."""

    rows_in: int
    kept: int
    rejected: dict[str, int]

    def __post_init__(self) -> None:
        assert self.rows_in == self.kept + sum(self.rejected.values()), "a row was lost"

    def to_json(self) -> dict[str, Any]:
        """For dataset.json."""
        return {"in": self.rows_in, "kept": self.kept, "rejected": self.rejected}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Counts:
        """The inverse of `to_json`."""
        return cls(value["in"], value["kept"], value["rejected"])
