"""How many requests of a part a model can be judged by: counted from the rows alone, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from edgerec.data.dataset import Dataset
from edgerec.data.splits import PARTS
from edgerec.tasks import Task

__all__ = ["Judged", "count_requests", "judged_tasks"]


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


def count_requests(events: pl.DataFrame, part: int, counts: pl.Expr | None = None, new_only: bool = False) -> Judged:
    """Count the requests of a part, an index into `PARTS`; what `find_evaluation_requests` finds.

    Args:
        events: sorted by time; columns user, item, part, session if there are sessions, and those of `counts`.
        counts: rows that count as taking their item; None: all.
        new_only: items that the user had before do not count.
    """
    before = events.filter(pl.col("part") < part)
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
        rows = rows.join(before.select("user", "item").unique(), on=["user", "item"], how="anti")
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
    return {
        PARTS[part]: {
            task: count_requests(
                events,
                part,
                None if task.label is None else pl.col(f"label.{task.name}") > 0,
                task.repeats == "exclude",
            )
            for task in tasks
        }
        for part in (1, 2)
    }
