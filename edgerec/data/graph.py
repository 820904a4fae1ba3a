"""The knowledge graph around the items: reads edges, whose heads and tails are items or other entities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from edgerec.data.counts import Counts
from edgerec.data.ids import text_of
from edgerec.data.readers import PLAIN, Reading, Source, reading
from edgerec.errors import DataError

__all__ = ["GraphMeta", "read_graph"]

ENDS = ("head", "relation", "tail")


@dataclass(frozen=True)
class GraphMeta:
    """The names behind the numbers of graph.parquet (head, relation, tail).

    Attributes:
        entities: a head or tail i below n_items is item i, any other is ``entities[i - n_items]``.
        relations: their names by index.
        counts: how many rows of the file were accepted and rejected.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    counts: Counts

    def to_json(self) -> dict[str, Any]:
        """For dataset.json."""
        return {
            "relations": list(self.relations),
            "counts": self.counts.to_json(),
            "entities": list(self.entities),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GraphMeta:
        """The inverse of `to_json`."""
        return cls(tuple(value["entities"]), tuple(value["relations"]), Counts.from_json(value["counts"]))


def read_graph(path: str, item_ids: pl.Series, how: Reading = PLAIN) -> tuple[pl.DataFrame, GraphMeta, pl.DataFrame]:
    """Read the columns head, relation and tail of a table.

    Args:
        item_ids: ids of the items by index, as in the log. A head or tail with such an id is the item, any other is an
            entity.
    Returns:
        The edges as numbers, their names, and the rejected rows with their number and reason.
    Raises:
        DataError: the file or a column is missing, or no edge is left or touches an item.
    """
    rows = _checked(path, how)
    kept = rows.filter(pl.col("reason").is_null())
    rejected = rows.filter(pl.col("reason").is_not_null())
    items = pl.DataFrame({"name": item_ids, "node": pl.int_range(len(item_ids), dtype=pl.UInt32, eager=True)})
    others = pl.concat([kept["head"], kept["tail"]]).unique(maintain_order=True)
    entities = others.filter(~others.is_in(item_ids.implode()))
    if len(entities) == len(others):
        first = f" (such as {others[0]!r})" if len(others) else ""
        raise DataError(f"{path}: [data.graph] edges: no head or tail{first} is the id of an item")
    start = len(item_ids)
    nodes = pl.concat([items, pl.DataFrame({"name": entities}).with_row_index("node", start).select("name", "node")])
    relations = kept["relation"].unique().sort()
    edges = kept.select(
        pl.col("head").replace_strict(nodes["name"], nodes["node"], return_dtype=pl.UInt32),
        pl.col("relation").replace_strict(relations, list(range(len(relations))), return_dtype=pl.UInt32),
        pl.col("tail").replace_strict(nodes["name"], nodes["node"], return_dtype=pl.UInt32),
    )
    reasons = dict(rejected.group_by("reason").len().sort("len", "reason", descending=[True, False]).iter_rows())
    counts = Counts(len(rows), len(kept), reasons)
    return edges, GraphMeta(tuple(entities), tuple(relations), counts), rejected


def _checked(path: str, how: Reading) -> pl.DataFrame:
    """Row, head, relation and tail as strings, and the reason to reject the row, if there is one."""
    table = Source.open(path, how)
    for name in ENDS:
        if name not in table.schema:
            raise DataError(
                f"{path}: [data.graph] edges: there is no column {name!r}; expected head, relation and tail, "
                f"found {', '.join(table.schema)}"
            )
    columns = {name: text_of(pl.col(name), table.schema[name], f"{path}: {name}") for name in ENDS}
    with reading(path):
        rows = table.frame.select(**columns).with_row_index("row").collect(engine="streaming")
    checks = [(f"missing {name}", pl.col(name).is_null()) for name in ENDS]
    checks += [
        ("joins a thing to itself", pl.col("head") == pl.col("tail")),
        ("duplicate", ~pl.struct(*ENDS).is_first_distinct()),
    ]
    return rows.with_columns(reason=pl.coalesce(*(pl.when(wrong).then(pl.lit(why)) for why, wrong in checks)))
