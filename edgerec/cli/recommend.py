"""`edgerec recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from edgerec.runtime import ArrayRecommender, Events, Ranked, Recommendation, Recommendations
    from edgerec.stages.batch import AskAs

__all__ = [
    "BundleArgument",
    "ForceOption",
    "StageOption",
    "StageRunDirOption",
    "WeightsOption",
    "past_of",
    "print_items",
    "recommend",
    "weights_of",
]

BundleArgument = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
WeightsOption = Annotated[
    str | None, typer.Option(help="What each task counts, such as next=1,new=0.5; the bundle's defaults if left out.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing OUT.")]
StageOption = Annotated[
    str | None,
    typer.Option(help="teacher, student or pruned: ask the models that the bundle was made from, in place of it."),
]
StageRunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", help="The run of --stage; the folder that holds the bundle by default.")
]
_SAID = {"again": "had before", "popular": "popular now"}


def recommend(
    bundle: BundleArgument,
    user: Annotated[str | None, typer.Option(help="A user of --history.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Log with the past, columns named as in the bundle's log.")
    ] = None,
    history_items: Annotated[str | None, typer.Option(help="Ids of items just seen, such as 22423,85123A.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many items.")] = 10,
    weights: WeightsOption = None,
    where: Annotated[
        str | None, typer.Option(help='Condition over the catalogue\'s columns, such as "price < 20".')
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Ids of items to leave out, separated by commas.")] = None,
    diversity: Annotated[
        float | None,
        typer.Option(help="From 0, the best items, to 1, items unlike each other; the policy's if left out."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False,
    context: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of a context column; repeat it.")] = None,
    users: Annotated[
        Path | None, typer.Option(help="Many requests: a file with the log's user and time columns.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Parquet file for --users.")] = None,
    stage: StageOption = None,
    run_dir: StageRunDirOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items from a bundle: to one user as a table, or to many into a file."""
    from edgerec.runtime import Recommender
    from edgerec.stages.batch import check_out, check_stage, key_values, open_stage

    if (users is None) != (out is None):
        raise ConfigError("--users FILE and --out OUT.parquet go together")
    if user is not None and history is None:
        raise ConfigError("--user needs --history LOG, where the user's events are")
    if history_items is not None and (user is not None or users is not None):
        raise ConfigError("--history-items is for one unnamed user; leave out --user and --users")
    if users is not None and (context or explain or as_json):
        raise ConfigError("--users takes the context from its file and writes Parquet: no --context, --explain, --json")
    if stage is not None and (explain or users is None):
        raise ConfigError("--stage is for many requests: it needs --users FILE")
    if out is not None:
        check_out(out, force)
    request: dict[str, Any] = {
        "weights": weights_of(weights),
        "where": where,
        "exclude": _split(exclude),
        "diversity": diversity,
    }
    if users is not None and out is not None:
        arrays, ask_as = open_stage(bundle, stage, run_dir)
        with arrays:
            _recommend_many(arrays, ask_as, k, users, history, out, request)
        return
    check_stage(stage, run_dir)
    with Recommender.of(bundle) as rec:
        request["context"] = _typed(rec.arrays, key_values(context or [], "--context"))
        request |= past_of(rec.arrays, user, history, history_items)
        found = rec.recommend(k, explain=explain, **request)
        if as_json:
            print_json({"items": [_item_json(r) for r in found], "why_fewer": found.why_fewer})
        else:
            print_items(found, rec.tasks, explain)


def past_of(rec: ArrayRecommender, user: str | None, history: Path | None, items: str | None) -> dict[str, Any]:
    """What of the options of a command tells a past, as arguments of the runtime."""
    if user is not None and history is not None:
        return _user_of(rec, user, history)
    return {} if items is None else {"history": _just_now(rec, _split(items))}


def weights_of(text: str | None) -> dict[str, float] | None:
    """ "next=1,new=0.5" as a dict.

    Raises:
        ConfigError: not NAME=NUMBER.
    """
    from edgerec.stages.batch import key_values

    if text is None:
        return None
    pairs = key_values(_split(text), "--weights")
    try:
        return {name: float(value) for name, value in pairs.items()}
    except ValueError as error:
        raise ConfigError(f"--weights {text!r}: expected TASK=NUMBER, such as next=1,new=0.5") from error


def print_items(found: Recommendations, tasks: tuple[str, ...], explain: bool) -> None:
    """A table by product name, and why it is short."""
    shown = [task for task in tasks if found and task in found[0].probability]
    columns = ["", "item", "title", "utility", *(f"p.{task}" for task in shown), *(["because of"] if explain else [])]
    rows = [
        [rank, r.item, r.title, r.utility, *(r.probability[t] for t in shown), *([_because(r)] if explain else [])]
        for rank, r in enumerate(found, 1)
    ]
    print_table(columns, rows)
    if found.why_fewer:
        lost = [f"{n} {cause}" for cause, n in found.why_fewer.items() if cause != "catalogue"]
        typer.echo(
            f"only {len(found)}: the catalogue has {found.why_fewer['catalogue']}, of these "
            + (f"lost to: {', '.join(lost)}" if lost else "none was left out")
        )


def _because(recommendation: Recommendation) -> str:
    return "; ".join(_SAID.get(r.kind) or r.title or "" for r in recommendation.reasons)


def _item_json(r: Recommendation) -> dict[str, Any]:
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


def _user_of(rec: ArrayRecommender, user: str, history: Path) -> dict[str, Any]:
    """A user's past and attributes, asked as of the log's last event."""
    from edgerec.stages.batch import PastLog, attributes_of

    past = PastLog.read(history, rec)
    if user not in past.slices:
        example = ", ".join(list(past.slices)[:3])
        raise ConfigError(f"--user {user!r}: not in {history}; its users are such as {example}")
    return {"history": past.of(user), "user": attributes_of(rec, past, history).get(user, {}), "now": past.end_ms}


def _just_now(rec: ArrayRecommender, items: list[str]) -> Events:
    import time

    import numpy as np

    from edgerec.runtime import Events

    if unknown := [item for item in items if rec.index_of(item) is None]:
        typer.echo(f"not in the catalogue, ignored: {', '.join(unknown)}", err=True)
    now = np.full(len(items), time.time_ns() // 1_000_000, np.int64)
    return Events(items, np.zeros(len(items), np.int64), now)


def _recommend_many(
    rec: ArrayRecommender,
    ask_as: AskAs,
    k: int,
    users: Path,
    history: Path | None,
    out: Path,
    request: dict[str, Any],
) -> None:
    from edgerec.progress import progress_for
    from edgerec.stages.batch import PastLog, Requests, attributes_of, write_table

    requests = Requests.read(users, rec)
    past = PastLog.read(history, rec) if history is not None else None
    known = attributes_of(rec, past, history or users)
    ranked = []
    with progress_for().track(len(requests.user), "recommend") as track:
        for row in requests.each(past, known, ask_as):
            ranked.append(rec.rank(k, **request, **row))
            track.advance()
    write_table(_long(requests.frame, ranked, rec), out)
    typer.echo(f"{out}: {sum(len(r.item) for r in ranked)} rows for {len(ranked)} requests")


def _long(frame: pl.DataFrame, ranked: list[Ranked], rec: ArrayRecommender) -> pl.DataFrame:
    """One row per request and rank."""
    import numpy as np
    import polars as pl

    from edgerec.stages.batch import beside

    sizes = [len(r.item) for r in ranked]
    results: dict[str, Any] = {
        "item": [rec.named(int(i))[0] for r in ranked for i in r.item],
        "rank": np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in [*sizes, 0]]),
        "utility": np.concatenate([r.utility for r in ranked]),
    }
    probability = np.concatenate([r.probability for r in ranked])
    results |= {f"p.{task}": probability[:, t] for t, task in enumerate(rec.tasks)}
    return beside(frame[np.repeat(np.arange(len(ranked)), sizes)], pl.DataFrame(results))
