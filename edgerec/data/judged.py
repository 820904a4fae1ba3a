"""What a split can be judged on: how many requests and rows each task has in valid and test, and why others are out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.config import TaskConfig
from edgerec.data.splits import PARTS

__all__ = ["judged"]

Array = npt.NDArray[Any]


def judged(events: pl.DataFrame, tasks: Sequence[TaskConfig], known: dict[str, int]) -> Iterator[str]:
    """A sentence for each part and task.

    Args:
        events: sorted by time, numbered; columns user, item, part, the labels, and session if there are sessions.
        known: for valid and test, how many items a model knows that learned from the parts before; the first ones.
    """
    for i, name in enumerate(PARTS):
        if name not in known:
            continue
        here = events.filter(pl.col("part") == i)
        requests = _first_sessions(here)
        before = events.filter(pl.col("part") < i).select("user", "item")
        for task in tasks:
            if task.kind == "retrieval":
                yield f"{name}: {_requests(task, requests, before, known[name])}"
            elif task.kind in ("binary", "regression") and task.label is not None:
                label = here[f"label.{task.name}"]
                positive = f", {int((label > 0).sum()):,} of them positive" if task.kind == "binary" else ""
                yield f"{name}: {task.name} is judged on {len(label):,} rows{positive}"


def _first_sessions(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of each user's first session, which is the request that an evaluation asks."""
    _, first, which = np.unique(rows["user"].to_numpy(), return_index=True, return_inverse=True)
    if "session" not in rows.columns:
        return rows[np.sort(first)]
    session = rows["session"].to_numpy()
    return rows.filter(pl.Series(session == session[first][which]))


def _requests(task: TaskConfig, rows: pl.DataFrame, before: pl.DataFrame, n_known: int) -> str:
    """How many users have a request with an answer, and what the others lack."""
    users = rows["user"].n_unique()
    asking, past = rows["user"].to_numpy(), before["user"].to_numpy()
    has_past = np.zeros(max(asking.max(initial=0), past.max(initial=0)) + 1, bool)
    has_past[past] = True
    rows = rows.filter(pl.Series(has_past[asking]))
    with_past = rows["user"].n_unique()
    if task.label is not None:
        rows = rows.filter(pl.col(f"label.{task.name}") > 0)
    rows = rows.filter(pl.col("item") < n_known)
    if task.repeats == "exclude":
        asked = before.filter(pl.col("user").is_in(rows["user"].unique().implode()))
        rows = rows.join(asked, on=["user", "item"], how="anti")
    answered = rows["user"].n_unique()
    why = [
        f"{n:,} have {what}"
        for n, what in [
            (users - with_past, "no past"),
            (with_past - answered, "no item there that counts and is known from the parts before"),
        ]
        if n
    ]
    left_out = f"; of the others {' and '.join(why)}" if why else ""
    return f"{task.name} is judged on {answered:,} requests of {users:,} users{left_out}"
