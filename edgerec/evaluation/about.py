"""What a report is of: when and how it was made, and from which part of which log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgerec.data.times import CLOCKLESS
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData

__all__ = ["about", "command"]


def about(data: LearningData, eval_requests: EvaluationRequests, folder: Path) -> dict[str, Any]:
    """Date, command, span of the evaluated events, and counts; `folder` is that of the run."""
    log, meta = data.evaluation_log, data.dataset.meta
    clock = len(log) and meta.time_format not in CLOCKLESS
    span = {"from": _day(int(log.time_ms.min())), "until": _day(int(log.time_ms.max()))} if clock else {}
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command(folder),
        **span,
        "events": len(log),
        "requests": len(eval_requests.rows),
        "learned_from": len(data.train_log),
        "users": meta.n_users,
        "items": meta.n_items,
    }


def command(folder: Path) -> str:
    """What makes the report again; without the path where it says where on somebody's disk the run lies."""
    if folder.is_absolute():
        return "edgerec evaluate"
    own = folder / "edgerec.toml"  # as `edgerec demo` leaves them
    if own.is_file():
        return f"edgerec evaluate -c {own.as_posix()}"
    return "edgerec evaluate" if folder.parent.name == "runs" else f"edgerec evaluate --run-dir {folder.as_posix()}"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
