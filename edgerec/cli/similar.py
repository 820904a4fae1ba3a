"""`edgerec similar`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerec.cli.options import JsonOption
from edgerec.cli.output import print_json, print_table
from edgerec.cli.recommend import BundleArgument

__all__ = ["similar"]


def similar(
    bundle: BundleArgument,
    item: Annotated[str, typer.Argument(help="Id of an item.")],
    k: Annotated[int, typer.Option("-k", "--k", help="Number of items.")] = 10,
    where: Annotated[
        str | None, typer.Option(help='Condition on columns of the catalog, such as "price < 20".')
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List items that often share a session with an item."""
    from edgerec.runtime import Recommender

    with Recommender.of(bundle) as rec:
        neighbours = rec.similar(item, k, where=where)
        if as_json:
            print_json({"items": [{"item": r.item, "title": r.title, "score": r.utility} for r in neighbours]})
            return
        rows = [[rank, r.item, r.title, r.utility] for rank, r in enumerate(neighbours, 1)]
        print_table(["", "item", "title", "score"], rows, title=rec.score([item])[0].title)
