"""Whether a dataset can be learned from and judged at all: counted from its rows, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from edgerec.data.dataset import Dataset, Part
from edgerec.data.request_counts import Judged, judged_tasks
from edgerec.errors import DataError
from edgerec.tasks import Task

__all__ = ["impossible", "refuse_impossible"]


def refuse_impossible(dataset: Dataset, parts: Sequence[Part]) -> None:
    """Refuse a dataset from which nothing can be learned, or on which a task cannot be judged.

    Args:
        parts: those that a model will be judged on.

    Raises:
        DataError: says what is wrong and what to do.
    """
    for problem in impossible(dataset, parts):
        raise DataError(f"{dataset.folder}: {problem}")


def impossible(dataset: Dataset, parts: Sequence[Part]) -> Iterator[str]:
    """Why the tasks cannot be learned or judged, each in one sentence with what to do."""
    tasks = dataset.meta.tasks
    if any(task.kind == "retrieval" for task in tasks) and (once := _one_event_each(dataset)) is not None:
        yield once
        return
    for part, judged in judged_tasks(dataset).items():
        if part in parts:
            for task, counts in judged.items():
                # Where everybody only comes back, nothing new is found, and nothing is wrong with the other tasks.
                if not counts.requests and (task.repeats == "allow" or not counts.with_past):
                    yield _not_judged(dataset, part, task, counts)
    related = next((task for task in tasks if task.kind == "related"), None)
    if related is not None and not _pairs_in_sessions(dataset):
        yield (
            f"task {related.name}: no session of train has two different items, so nothing goes together; leave the "
            "task out, or name a column in session of [data] whose rows belong together"
        )
    if any(task.kind in ("binary", "regression") for task in tasks):
        yield from _no_known_items(dataset, parts)


def _one_event_each(dataset: Dataset) -> str | None:
    """Nobody has an event before another one; with sessions, a session before another one."""
    unit = "session" if "session" in dataset.part("train").collect_schema().names() else "row"
    parts = [dataset.part(name).select("user", unit) for name in ("train", "valid", "test")]
    most = pl.concat(parts).group_by("user").agg(pl.col(unit).n_unique()).select(pl.col(unit).max())
    if most.collect(engine="streaming").item() > 1:
        return None
    what = "event" if unit == "row" else "session"
    return (
        f"each of the {dataset.meta.n_users:,} users has one {what}, and none before it, so nothing tells what comes "
        "next; look at user in [data]: a device, household or account that comes back"
        + ("; or leave session out, if the order within a session counts" if unit == "session" else "")
    )


def _not_judged(dataset: Dataset, part: str, task: Task, counts: Judged) -> str:
    where = f"task {task.name} cannot be judged on {part}"
    if not counts.with_past:
        other = "a longer one" if dataset.meta.boundaries_ms.valid is None else 'another one, such as "leave-last-out"'
        return f"{where}: none of its {counts.users:,} users has an earlier row; look at split in [data]: {other}"
    of = f"{where}: {counts.users:,} users, {counts.with_past:,} with a past"
    if task.label is not None and "session" not in dataset.part("train").collect_schema().names():
        return (
            f"{of}, none of whom begins it with a row that counts ({task.label}); a request is a user's first session, "
            "or without sessions the first row: set session in [data] to a column that rows shown together share"
        )
    return f"{of}, whose first session has no known item that counts; make {part} longer, or look at the task's label"


def _pairs_in_sessions(dataset: Dataset) -> bool:
    sessions = dataset.part("train").group_by("user", "session").agg(pl.col("item").n_unique())
    return int(sessions.select(pl.col("item").max()).collect(engine="streaming").item() or 0) > 1


def _no_known_items(dataset: Dataset, parts: Sequence[Part]) -> Iterator[str]:
    """Parts whose rows are all of items that training does not know."""
    for part in parts:
        known = dataset.meta.catalog["train" if part == "valid" else "valid"]
        rows = dataset.part(part).select((pl.col("item") < known).sum()).collect(engine="streaming").item()
        if not rows:
            count = f"{dataset.meta.rows[part]:,}"
            yield f"all {count} rows of {part} are of items that come first there; make {part} shorter"
