"""Items that must never be recommended: they leave the item table, and with it the bundle."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np
import polars as pl

from edgerec.compression.export import ExportedStudent
from edgerec.data.dataset import Dataset
from edgerec.data.readers import sql
from edgerec.errors import ConfigError
from edgerec.examples.load import EvaluationPart
from edgerec.models.student import Student
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import ints
from edgerec.tasks.history import Int
from edgerec.tasks.units import MS_PER_DAY

IDLE = "idle_days"
"""Column beside the items' attributes: days from an item's last event to the end of the training split."""
INDEX, LAST = "edgerec.index", "edgerec.last"
"""Internal columns, whose names no rule uses by chance."""
BANNED = -1e4
"""Prior of an item that is never recommended: its probability is 0, and float16 can hold the prior."""


def never_shown(rule: str | None, dataset: Dataset, part: EvaluationPart, n: int) -> Int:
    """Ascending indices of the items, of the first `n`, for which `rule`, an SQL condition, is true.

    Raises:
        ConfigError: the rule is not a condition over the items' attributes, or it is true for all of them.
    """
    if rule is None:
        return np.zeros(0, np.int64)
    items, events = dataset.items().head(n), dataset.training_frame(part)
    last = events.group_by("item").agg(pl.col("time").max().alias(LAST)).collect()
    named = items.select(pl.col("index").alias(INDEX), pl.col("id"), *_attributes(items))
    named = named.join(last, left_on=INDEX, right_on="item", how="left")
    idle = ((last[LAST].max() - pl.col(LAST)) / MS_PER_DAY).fill_null(float("inf")).alias(IDLE)
    where = f"[pruning] never_shown = {rule!r}"
    try:
        chosen = named.with_columns(idle).filter(sql(rule, where))[INDEX]
    except pl.exceptions.PolarsError as error:
        known = ", ".join((*(c for c in named.columns if c not in (INDEX, LAST)), IDLE))
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}; its columns are {known}") from None
    if len(chosen) >= n:
        raise ConfigError(f"{where}: is true for all {n:,} items; nothing would be left to recommend")
    return np.sort(chosen.to_numpy()).astype(np.int64)


def _attributes(items: pl.DataFrame) -> list[pl.Expr]:
    names = [column for column in items.columns if column.startswith("raw.")]
    return [pl.col(name).alias(name.removeprefix("raw.")) for name in names if name != "raw.id"]


def ban(student: Student, items: Int) -> None:
    """Give these items no probability in a student."""
    student.items.bias.weight.data[items] = BANNED


def without(exported: ExportedStudent, items: Int) -> ExportedStudent:
    """A student without the rows of these items; the other rows keep their order."""
    if not len(items):
        return exported
    n = len(exported.table)
    kept = np.setdiff1d(np.arange(n), items)
    place = np.full(n, -1, np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    transition, weight = exported.transitions, exported.transition_weight
    if transition is not None and weight is not None:
        moved, weight = place[transition[kept]], weight[kept]
        weight = np.where(moved < 0, np.float32(0), weight)
        transition = np.where(moved < 0, np.arange(len(kept), dtype=np.int32)[:, None], moved)
    relation = exported.relation_prior
    return replace(
        exported,
        table=exported.table[kept],
        scales=exported.scales[kept],
        prior=np.ascontiguousarray(exported.prior[:, kept]),
        transitions=transition,
        transition_weight=weight,
        relation_prior=None if relation is None else relation[kept],
    )


def among(kept: Int, request: Encoded) -> Encoded:
    """A request whose history has only the items `kept`, ascending, by their indices in a bundle of these items."""
    history = np.asarray(request.history)
    place = np.searchsorted(kept, history)
    known = place < len(kept)
    known[known] = kept[place[known]] == history[known]
    past = {n: type(v)(v.typecode, compress(v, known)) for n, v in vars(request).items() if n.startswith("history_")}
    return replace(request, history=ints(place[known]), **past)
