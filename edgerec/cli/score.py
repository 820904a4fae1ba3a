"""`edgerec score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json
from edgerec.cli.recommend import BundleArgument, ForceOption, StageOption, StageRunDirOption, WeightsOption, weights_of

__all__ = ["score"]


def score(
    bundle: BundleArgument,
    rows: Annotated[Path, typer.Option(help="File to score, with the columns of the log: user, item, time, context.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write: the rows with their probabilities.")],
    history: Annotated[
        Path | None, typer.Option(help="Log with the past of the users; for each row only events before it count.")
    ] = None,
    weights: WeightsOption = None,
    stage: StageOption = None,
    run_dir: StageRunDirOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict probabilities for the rows of a file.

    Each row gets a probability of each task, so that you can judge a bundle with your own metric.
    """
    from edgerec.progress import progress_for
    from edgerec.stages.batch.answers import score_all
    from edgerec.stages.batch.models import open_stage
    from edgerec.stages.batch.results import check_out

    check_out(out, force)
    progress = progress_for()
    rec, ask_as = open_stage(bundle, stage, run_dir, progress)
    with rec:
        scored = score_all(rec, ask_as, rows, history, out, progress, weights_of(weights))
    if as_json:
        print_json({"out": str(out), "rows": scored.rows, "unknown": scored.unknown})
        return
    note = f"; {scored.unknown} have an item that is not in the catalog and no scores" if scored.unknown else ""
    typer.echo(f"{out}: {scored.rows} rows{note}")
