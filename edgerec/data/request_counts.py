"""How many requests of a part a model can be judged by: counted from the rows alone, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from edgerec.data.dataset import Dataset
from edgerec.data.splits import PARTS
from edgerec.tasks import Task

__all__ = ["Judged", "count_requests", "describe_judged", "judged_tasks"]


@dataclass(frozen=True)
class Judged:
    """Requests of one part.

    Attributes:
        users: of the part. with_past: of these, users with earlier rows, who have one request each. requests: of
            these, the ones whose first session (without sessions: first row) has an item to be found.
    """

    users: int
    with_past: int
    requests: int

    def sentence(self, task: str) -> str:
        """How many users a task is judged on, and what the others lack."""
        why = [
            f"{n:,} have {what}"
            for n, what in [
                (self.users - self.with_past, "no past"),
                (self.with_past - self.requests, "no item there that counts and is known from the parts before"),
            ]
            if n
        ]
        left_out = f"; of the others {' and '.join(why)}" if why else ""
        return f"{task} is judged on {self.requests:,} requests of {self.users:,} users{left_out}"


def count_requests(events: pl.DataFrame, part: int, counts: pl.Expr | None = None, new_only: bool = False) -> Judged:
    """Count the requests of a part, an index into `PARTS`; what `find_evaluation_requests` finds.

    Args:
        events: sorted by time; columns user, item, part, session if there are sessions, and those of `counts`.
        counts: rows that count as taking their item; None: all.
        new_only: items that the user had before do not count.
    """
    before = events.lazy().filter(pl.col("part") < part).select("user", "item").collect()
    rows = events.filter(pl.col("part") == part)
    users = rows["user"].n_unique()
    first = rows.unique("user", keep="first", maintain_order=True)
    first = first.join(before.select("user").unique(), on="user", how="semi")
    if "session" in rows.columns:
        rows = rows.join(first.select("user", "session"), on=["user", "session"], how="semi")
    else:
        rows = first
    if counts is not None:
        rows = rows.filter(counts)
    rows = rows.join(before.select("item").unique(), on="item", how="semi")
    if new_only:
        asked = before.join(rows.select("user"), on="user", how="semi")
        rows = rows.join(asked, on=["user", "item"], how="anti")
    return Judged(users, first.height, rows["user"].n_unique())


def judged_tasks(dataset: Dataset) -> dict[str, dict[Task, Judged]]:
    """By part, "valid" and "test", the requests of each retrieval task."""
    tasks = [task for task in dataset.meta.tasks if task.kind == "retrieval"]
    labels = [f"label.{task.name}" for task in tasks if task.label is not None]
    frames = [dataset.part(name).with_columns(pl.lit(i, pl.UInt8).alias("part")) for i, name in enumerate(PARTS)]  # type: ignore[arg-type]
    columns = ["user", "item", "part", *labels]
    if "session" in frames[0].collect_schema().names():
        columns.append("session")
    events = pl.concat([frame.select(columns) for frame in frames]).collect(engine="streaming")
    return {PARTS[part]: {task: _judged(events, part, task) for task in tasks} for part in (1, 2)}


def describe_judged(events: pl.DataFrame, tasks: Sequence[Task]) -> Iterator[str]:
    """What valid and test can be judged on, a sentence for each part and task.

    Args:
        events: sorted by time; columns user, item, part, label.TASK, and session if there are sessions.
    """
    for part in (1, 2):
        for task in tasks:
            if task.kind == "retrieval":
                yield f"{PARTS[part]}: {_judged(events, part, task).sentence(task.name)}"
            elif task.kind in ("binary", "regression") and task.label is not None:
                label = events.filter(pl.col("part") == part)[f"label.{task.name}"]
                positive = f", {int((label > 0).sum()):,} of them positive" if task.kind == "binary" else ""
                yield f"{PARTS[part]}: {task.name} is judged on {len(label):,} rows{positive}"


def _judged(events: pl.DataFrame, part: int, task: Task) -> Judged:
    counts = None if task.label is None else pl.col(f"label.{task.name}") > 0
    return count_requests(events, part, counts, task.repeats == "exclude")
