"""Answers for all requests of a file: lists of items, or probabilities of the item in each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

import numpy as np

from edgerec.stages.batch.past import PastLog, attributes_of
from edgerec.stages.batch.request_file import RequestFile
from edgerec.stages.batch.results import beside, write_table

if TYPE_CHECKING:
    import polars as pl

    from edgerec.progress import Progress
    from edgerec.runtime import ArrayRecommender, Ranked
    from edgerec.stages.batch.models import AskAs

__all__ = ["Filtering", "Scored", "recommend_to_all", "score_all"]


class Filtering(TypedDict, total=False):
    """Arguments of `ArrayRecommender.rank` that are the same for all requests."""

    where: str | None
    exclude: Sequence[str]
    diversity: float | None


class Scored(NamedTuple):
    """How many rows were scored, and how many have an item that the catalog does not hold."""

    rows: int
    unknown: int


def recommend_to_all(
    rec: ArrayRecommender,
    ask_as: AskAs,
    users: Path,
    history: Path | None,
    out: Path,
    progress: Progress,
    k: int,
    weights: Mapping[str, float] | None,
    **filtering: Unpack[Filtering],
) -> tuple[int, int]:
    """Write the k best items for each request of the file `users`: one row for each request and rank.

    Args:
        ask_as: see `edgerec.stages.batch.models.open_stage`. history: a log with the past of the users.
    Returns:
        The numbers of rows and of requests.
    """
    file = RequestFile.read(users, rec)
    past = PastLog.read(history, rec) if history is not None else None
    attributes = attributes_of(rec, past, history or users, progress)
    ranked = []
    with progress.track(len(file.user), "recommend") as track:
        for request in file.requests(past, attributes, ask_as):
            request["weights"] = weights
            ranked.append(rec.rank(k, **filtering, **request))
            track.advance()
    write_table(_long(file.frame, ranked, rec), out)
    return sum(len(one.item) for one in ranked), len(ranked)


def _long(frame: pl.DataFrame, ranked: list[Ranked], rec: ArrayRecommender) -> pl.DataFrame:
    """One row for each request and rank."""
    import polars as pl

    sizes = [len(one.item) for one in ranked]
    probability = np.concatenate([np.asarray(one.probability) for one in ranked])
    results: dict[str, object] = {
        "item": [rec.named(i)[0] for one in ranked for i in one.item],
        "rank": np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in [*sizes, 0]]),
        "utility": np.concatenate([np.asarray(one.utility) for one in ranked]),
        **{f"p.{task}": probability[:, t] for t, task in enumerate(rec.tasks)},
    }
    return beside(frame[np.repeat(np.arange(len(ranked)), sizes)], pl.DataFrame(results))


def score_all(
    rec: ArrayRecommender,
    ask_as: AskAs,
    rows: Path,
    history: Path | None,
    out: Path,
    progress: Progress,
    weights: Mapping[str, float] | None,
) -> Scored:
    """Write the rows of a file with the utility of their item and a probability for each task.

    Both are empty for an item that the catalog does not hold.
    """
    file = RequestFile.read(rows, rec, with_item=True)
    past = PastLog.read(history, rec) if history is not None else None
    attributes = attributes_of(rec, past, history or rows, progress)
    import polars as pl

    items = [None if item is None else rec.index_of(item) for item in file.item or []]
    names = ("utility", *(f"p.{task}" for task in rec.tasks))
    scores = np.full((len(items), len(names)), np.nan, np.float32)
    with progress.track(len(items), "score") as track:
        for row, (item, request) in enumerate(zip(items, file.requests(past, attributes, ask_as), strict=True)):
            if item is not None:
                request["weights"] = weights
                rated = rec.rate([item], **request)
                scores[row] = [rated.utility[0], *rated.probability[0]]
            track.advance()
    table = pl.DataFrame(scores, schema=dict.fromkeys(names, pl.Float32)).fill_nan(None)
    write_table(beside(file.frame, table), out)
    return Scored(len(items), items.count(None))
