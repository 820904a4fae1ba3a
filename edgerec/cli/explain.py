"""`edgerec explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import BundleArgument, WeightsOption, past_of, weights_of
from edgerec.errors import ConfigError

__all__ = ["explain"]


def explain(
    bundle: BundleArgument,
    item: Annotated[str | None, typer.Argument(help="Id of an item; left out: the bundle as a whole.")] = None,
    user: Annotated[str | None, typer.Option(help="A user of --history.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Log with the past, columns named as in the bundle's log.")
    ] = None,
    history_items: Annotated[str | None, typer.Option(help="Ids of items just seen, such as 22423,85123A.")] = None,
    weights: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where an item's utility comes from: popularity, context, and each item of the past, by taking it away.

    Without an item: what contexts, attributes and repeats do to each task, and which items lie close together.
    """
    from edgerec.runtime import Recommender

    if (user is None) != (history is None):
        raise ConfigError("--user and --history go together")
    if item is None:
        if (user, history, history_items, weights) != (None, None, None, None):
            raise ConfigError("explain: a past and weights are of one item; give its id")
        _explain_all(bundle, as_json)
        return
    with Recommender.of(bundle) as rec:
        asked: dict[str, Any] = {"weights": weights_of(weights), **past_of(rec.arrays, user, history, history_items)}
        found = rec.explain(item, **asked)
    if as_json:
        print_json({**found._asdict(), "past": [c._asdict() for c in found.past]})
        return
    rows: list[list[object]] = [
        ["popularity", found.popular],
        ["context and user", found.context],
        ["the past", found.history],
        ["utility", found.utility],
    ]
    print_table(["from", "utility"], rows, title=f"{found.item} {found.title}")
    if found.past:
        past = [[c.item, c.title, c.weight, c.lost] for c in found.past]
        print_table(["item", "title", "weight in the graph", "utility lost without it"], past, title="The past")
    if found.removed_by:
        typer.echo(f"\nnot recommended: {found.removed_by}")


def _explain_all(bundle: Path, as_json: bool) -> None:
    from edgerec.runtime import Recommender
    from edgerec.runtime.overview import overview

    with Recommender.of(bundle) as rec:
        found, tasks = overview(rec), rec.tasks
    if as_json:
        effects = {
            name: [e._asdict() for e in of] for name, of in (("effects", found.effects), ("repeats", found.repeats))
        }
        print_json({**effects, "neighbours": [{"item": item, "closest": of} for item, of in found.neighbours]})
        return
    for title, effects_ in (("Contexts and attributes", found.effects), ("Repeats", found.repeats)):
        if effects_:
            rows: list[list[object]] = [[e.what, e.value, *(e.factor[task] for task in tasks)] for e in effects_]
            columns = ["what", "value", *tasks]
            print_table(columns, rows, title=f"{title}: what each task is multiplied by, mean of popular items")
    near: list[list[object]] = [[item, "; ".join(of)] for item, of in found.neighbours]
    print_table(["item", "closest in the item table"], near, title="Neighbours")
