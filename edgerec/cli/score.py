"""`edgerec score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.cli.recommend import BundleArgument, ForceOption, StageOption, StageRunDirOption, WeightsOption, weights_of

__all__ = ["score"]


def score(
    bundle: BundleArgument,
    rows: Annotated[Path, typer.Option(help="File with the log's own columns: user, item, time, context.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file: the rows with a probability per task.")],
    history: Annotated[Path | None, typer.Option(help="Log with the past; cut before each row's time.")] = None,
    weights: WeightsOption = None,
    stage: StageOption = None,
    run_dir: StageRunDirOption = None,
    force: ForceOption = False,
) -> None:
    """Give each row of a file a probability per task, so that anyone can judge a bundle with their own metric."""
    from edgerec.progress import progress_for
    from edgerec.stages.batch import PastLog, Requests, attributes_of, beside, check_out, open_stage, write_table

    check_out(out, force)
    rec, ask_as = open_stage(bundle, stage, run_dir)
    with rec:
        requests = Requests.read(rows, rec, with_item=True)
        past = PastLog.read(history, rec) if history is not None else None
        users = attributes_of(rec, past, history or rows)
        import numpy as np
        import polars as pl

        wanted = weights_of(weights)
        items = [None if item is None else rec.index_of(item) for item in requests.item or []]
        scored: dict[str, list[Any]] = {name: [] for name in ("utility", *(f"p.{task}" for task in rec.tasks))}
        with progress_for().track(len(items), "score") as track:
            for index, request in zip(items, requests.each(past, users, ask_as), strict=True):
                values: list[float] | list[None] = [None] * len(scored)
                if index is not None:
                    found = rec.rate(np.array([index], np.int64), weights=wanted, **request)
                    values = [float(found.utility[0]), *found.probability[0].tolist()]
                for column, value in zip(scored.values(), values, strict=True):
                    column.append(value)
                track.advance()
        write_table(beside(requests.frame, pl.DataFrame(scored, dict.fromkeys(scored, pl.Float32))), out)
    unknown = items.count(None)
    note = f"; {unknown} have an item that the catalogue does not hold, their scores are empty" if unknown else ""
    typer.echo(f"{out}: {len(items)} rows{note}")
