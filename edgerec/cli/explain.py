"""`edgerec explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import (
    BundleArgument,
    HistoryItemsOption,
    HistoryOption,
    UserOption,
    WeightsOption,
    past_of,
    weights_of,
)
from edgerec.errors import ConfigError

__all__ = ["explain"]


def explain(
    bundle: BundleArgument,
    item: Annotated[
        str | None, typer.Argument(help="Id of an item. Without one, the bundle as a whole is explained.")
    ] = None,
    user: UserOption = None,
    history: HistoryOption = None,
    history_items: HistoryItemsOption = None,
    weights: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain the utility of an item, or a whole bundle.

    The utility of an item is split into the parts of popularity, of context, and of each item in the past: what the
    utility loses without it. For a whole bundle, the effects of contexts, attributes and repeats on each task are
    printed, and the items that lie close together.
    """
    from edgerec.runtime import Recommender

    if (user is None) != (history is None):
        raise ConfigError("--user and --history go together")
    if item is None:
        if (user, history, history_items, weights) != (None, None, None, None):
            raise ConfigError("explain: a past and weights explain one item; give its id")
        _explain_all(bundle, as_json)
        return
    with Recommender.of(bundle) as rec:
        request = past_of(rec.arrays, user, history, history_items)
        request["weights"] = weights_of(weights)
        parts = rec.explain(item, **request)
    if as_json:
        print_json({**parts._asdict(), "past": [c._asdict() for c in parts.past]})
        return
    rows: list[list[object]] = [
        ["popularity", parts.popular],
        ["context and user", parts.context],
        ["the past", parts.history],
        ["utility", parts.utility],
    ]
    print_table(["from", "utility"], rows, title=f"{parts.item} {parts.title}")
    if parts.past:
        past = [[c.item, c.title, c.weight, c.lost] for c in parts.past]
        print_table(["item", "title", "weight in the graph", "utility lost without it"], past, title="The past")
    if parts.removed_by:
        typer.echo(f"\nnot recommended: {parts.removed_by}")


def _explain_all(bundle: Path, as_json: bool) -> None:
    from edgerec.runtime import Recommender
    from edgerec.runtime.overview import overview

    with Recommender.of(bundle) as rec:
        whole, tasks = overview(rec), rec.tasks
    if as_json:
        print_json({
            "effects": [e._asdict() for e in whole.effects],
            "repeats": [e._asdict() for e in whole.repeats],
            "neighbours": [{"item": item, "closest": closest} for item, closest in whole.neighbours],
        })  # fmt: skip
        return
    for title, effects in (("Contexts and attributes", whole.effects), ("Repeats", whole.repeats)):
        if effects:
            rows = [[e.what, e.value, *(e.factor[task] for task in tasks)] for e in effects]
            title = f"{title}: factor on the predictions of each task, mean over popular items"
            print_table(["what", "value", *tasks], rows, title=title)
    near = [[item, "; ".join(closest)] for item, closest in whole.neighbours]
    print_table(["item", "closest in the item table"], near, title="Neighbours")
