"""`edgerec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import JsonOption, key_values
from edgerec.cli.output import print_json, print_table
from edgerec.errors import ConfigError

if TYPE_CHECKING:
    from edgerec.runtime import ArrayRecommender, Recommendation, Recommendations
    from edgerec.runtime.model import RequestArguments
    from edgerec.stages.batch.answers import Filtering

__all__ = [
    "BundleArgument",
    "ForceOption",
    "HistoryItemsOption",
    "HistoryOption",
    "StageOption",
    "StageRunDirOption",
    "UserOption",
    "WeightsOption",
    "past_of",
    "print_items",
    "recommend",
    "weights_of",
]

BundleArgument = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
UserOption = Annotated[str | None, typer.Option(help="Id of a user in the log of --history.")]
HistoryOption = Annotated[
    Path | None, typer.Option(help="Log with the past of users, with the columns of the log of the bundle.")
]
HistoryItemsOption = Annotated[
    str | None, typer.Option(help="Ids of items that an unnamed user has just seen, such as 22423,85123A.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="Weights of the tasks in the ranking, such as next=1,new=0.5. Default: those in the bundle."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
StageOption = Annotated[
    str | None,
    typer.Option(help="teacher, student or pruned: use the models from which the bundle was built, not the bundle."),
]
StageRunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", help="With --stage: folder of the run. Default: the folder that holds the bundle."),
]
_REASONS = {"again": "had before", "popular": "popular now"}


def recommend(
    bundle: BundleArgument,
    user: UserOption = None,
    history: HistoryOption = None,
    history_items: HistoryItemsOption = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Number of items in a list.")] = 10,
    weights: WeightsOption = None,
    where: Annotated[
        str | None, typer.Option(help='Condition on columns of the catalog, such as "price < 20".')
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Ids of items to leave out, separated by commas.")] = None,
    diversity: Annotated[
        float | None,
        typer.Option(help="From 0 (the best items) to 1 (items unlike each other). Default: that in the bundle."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print the reasons for each item.")] = False,
    context: Annotated[
        list[str] | None, typer.Option(help="Value of a context column, as NAME=VALUE; may be repeated.")
    ] = None,
    users: Annotated[
        Path | None, typer.Option(help="File with many requests, with the user and time columns of the log.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="With --users: Parquet file to write.")] = None,
    stage: StageOption = None,
    run_dir: StageRunDirOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items from a bundle, to one user or to many.

    The items for one user are printed as a table, those for many users are written to a file.
    """
    if (users is None) != (out is None):
        raise ConfigError("--users FILE and --out OUT.parquet go together")
    if user is not None and history is None:
        raise ConfigError("--user needs --history LOG, which holds the user's events")
    if history_items is not None and (user is not None or users is not None):
        raise ConfigError("--history-items is for one unnamed user; leave out --user and --users")
    if users is not None and (context or explain or as_json):
        raise ConfigError("--users takes the context from its file and writes Parquet: no --context, --explain, --json")
    if stage is not None and (explain or users is None):
        raise ConfigError("--stage is for many requests: it needs --users FILE")
    filtering: Filtering = {"where": where, "exclude": _split(exclude), "diversity": diversity}
    by_task = weights_of(weights)
    if users is not None and out is not None:
        _recommend_to_all(bundle, stage, run_dir, users, history, out, force, k, by_task, filtering)
        return
    from edgerec.runtime import Recommender
    from edgerec.stages.batch.models import check_stage

    check_stage(stage, run_dir)
    with Recommender.of(bundle) as rec:
        request = past_of(rec.arrays, user, history, history_items)
        request["context"] = _typed(rec.arrays, key_values(context or [], "--context"))
        request["weights"] = by_task
        answer = rec.recommend(k, explain=explain, **filtering, **request)
        if as_json:
            print_json({"items": [_item_json(r) for r in answer], "why_fewer": answer.why_fewer})
        else:
            print_items(answer, rec.tasks, explain)


def _recommend_to_all(
    bundle: Path,
    stage: str | None,
    run_dir: Path | None,
    users: Path,
    history: Path | None,
    out: Path,
    force: bool,
    k: int,
    weights: dict[str, float] | None,
    filtering: Filtering,
) -> None:
    from edgerec.progress import progress_for
    from edgerec.stages.batch.answers import recommend_to_all
    from edgerec.stages.batch.models import open_stage
    from edgerec.stages.batch.results import check_out

    check_out(out, force)
    progress = progress_for()
    rec, ask_as = open_stage(bundle, stage, run_dir, progress)
    with rec:
        rows, requests = recommend_to_all(rec, ask_as, users, history, out, progress, k, weights, **filtering)
    typer.echo(f"{out}: {rows} rows for {requests} requests")


def past_of(rec: ArrayRecommender, user: str | None, history: Path | None, items: str | None) -> RequestArguments:
    """The past that --user and --history, or --history-items, give, as arguments of the runtime."""
    if user is not None and history is not None:
        from edgerec.progress import progress_for
        from edgerec.stages.batch.past import request_of_user

        return request_of_user(rec, user, history, progress_for())
    if items is None:
        return {}
    from edgerec.stages.batch.past import just_seen

    ids = _split(items)
    if unknown := [item for item in ids if rec.index_of(item) is None]:
        typer.echo(f"not in the catalog, ignored: {', '.join(unknown)}", err=True)
    return {"history": just_seen(ids)}


def weights_of(text: str | None) -> dict[str, float] | None:
    """The string "next=1,new=0.5" as a dict.

    Raises:
        ConfigError: the string has another form.
    """
    if text is None:
        return None
    pairs = key_values(_split(text), "--weights")
    try:
        return {name: float(value) for name, value in pairs.items()}
    except ValueError as error:
        raise ConfigError(f"--weights {text!r}: expected TASK=NUMBER, such as next=1,new=0.5") from error


def print_items(answer: Recommendations, tasks: tuple[str, ...], explain: bool) -> None:
    """Print a table with titles, and why it holds fewer items than asked for."""
    with_probability = [task for task in tasks if answer and task in answer[0].probability]
    columns = [
        "",
        "item",
        "title",
        "utility",
        *(f"p.{task}" for task in with_probability),
        *(["because of"] if explain else []),
    ]
    rows = [
        [
            rank,
            r.item,
            r.title,
            r.utility,
            *(r.probability[t] for t in with_probability),
            *([_because(r)] if explain else []),
        ]
        for rank, r in enumerate(answer, 1)
    ]
    print_table(columns, rows)
    if answer.why_fewer:
        lost = [f"{n} {cause}" for cause, n in answer.why_fewer.items() if cause != "catalogue"]
        typer.echo(
            f"only {len(answer)}: the catalog has {answer.why_fewer['catalogue']}, of these "
            + (f"lost to: {', '.join(lost)}" if lost else "none was left out")
        )


def _because(recommendation: Recommendation) -> str:
    return "; ".join(_REASONS.get(r.kind) or r.title or "" for r in recommendation.reasons)


def _item_json(r: Recommendation) -> dict[str, object]:
    reasons = [{"kind": w.kind, "item": w.item, "title": w.title, "weight": w.weight} for w in r.reasons]
    return {
        "item": r.item,
        "title": r.title,
        "utility": r.utility,
        "probability": dict(r.probability),
        "attributes": r.attributes,
        "reasons": reasons,
    }


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _typed(rec: ArrayRecommender, context: dict[str, str]) -> dict[str, object]:
    """Values of numeric columns as numbers."""
    numeric = {column.name for column in rec.encoder.numeric}
    try:
        return {name: float(value) if name in numeric else value for name, value in context.items()}
    except ValueError as error:
        raise ConfigError(
            f"--context: {', '.join(sorted(numeric & set(context)))} must be a number: {error}"
        ) from error
