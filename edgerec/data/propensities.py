"""The probabilities with which a logging system chose what it showed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from edgerec.data.dataset import PROPENSITIES
from edgerec.data.readers import Source, reading
from edgerec.errors import DataError

__all__ = ["write_propensities"]


def write_propensities(log: Source, propensity: str, folder: Path) -> str:
    """Write the propensities of the rows of valid and test; returns how many rows have one, in a sentence.

    Raises:
        DataError: the column is missing or holds no numbers, or a value is no probability.
    """
    log, _ = log.with_numbers([propensity])
    column, dtype = log.expression(propensity, "[data] propensity")
    what = f"{log.path}: [data] propensity = {propensity!r}"
    if not dtype.is_numeric():
        raise DataError(f"{what}: expected probabilities above 0 and at most 1, got {dtype}")
    parts = pl.concat([pl.scan_parquet(folder / f"{name}.parquet").select("row") for name in ("valid", "test")])
    with reading(log.path):
        given = log.frame.select(column.cast(pl.Float64).fill_nan(None).alias("propensity")).with_row_index("row")
        rows = given.join(parts, on="row", how="semi").collect(engine="streaming")
    known = rows.drop_nulls().sort("row")
    wrong = known.filter(~((pl.col("propensity") > 0) & (pl.col("propensity") <= 1)))
    if wrong.height:
        row, value = wrong.row(0)
        raise DataError(f"{what}: {value:g} in row {row + 1:,} is no probability; expected above 0 and at most 1")
    known.write_parquet(folder / PROPENSITIES)
    return f"{known.height:,} of {rows.height:,} rows of valid and test have a propensity"
