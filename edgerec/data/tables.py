"""The tables of items and users, with attributes from a file of their own or from the log."""

from __future__ import annotations

import polars as pl

from edgerec.config import ItemsConfig, UsersConfig
from edgerec.data.ids import text_of
from edgerec.data.readers import Source, reading
from edgerec.data.vocabularies import EncodedColumns, learn
from edgerec.errors import DataError

__all__ = [
    "attributes_from_file",
    "attributes_from_log",
    "check_numbers",
    "check_texts",
    "encode_items",
    "encode_users",
]


def attributes_from_file(
    path: str, display_path: str, settings: ItemsConfig | UsersConfig, id_expression: str, section: str
) -> tuple[pl.DataFrame, list[str]]:
    """One row for each id: column id (string) and the configured columns, in the order of the file.

    Args:
        display_path: the path as the settings name it, for messages.

    Returns:
        The table, and notes about rows that were left out.

    Raises:
        DataError: the file or a column is missing.
    """
    table = Source.open(path, as_text=[id_expression])
    id_column, dtype = table.expression(id_expression, f"[{section}] id")
    columns = {name: table.expression(name, f"[{section}] column")[0] for name in settings.columns}
    check_numbers(table, settings.numeric, section)
    check_texts(table, settings, section)
    with reading(path):
        raw = table.frame.select(
            text_of(id_column, dtype, f"{path}: id").alias("id"), **{f"raw.{k}": v for k, v in columns.items()}
        ).collect(engine="streaming")
    rows = raw.drop_nulls("id").unique("id", keep="first", maintain_order=True)
    notes = []
    if missing := raw["id"].null_count():
        notes.append(f"{display_path}: {missing} rows without an id were left out")
    if repeated := raw.height - missing - rows.height:
        notes.append(f"{display_path}: {repeated} rows repeat an id; the first of each was kept")
    return rows, notes


def attributes_from_log(
    events: pl.DataFrame, kept: pl.LazyFrame, key: str, first: list[str], median: list[str]
) -> pl.DataFrame:
    """One row for each item or user: its index as `key`, and raw.NAME for the columns of the log.

    Args:
        events: sorted by time; columns row, part and `key`.
        kept: the log's rows: row and feature.NAME.
        first: columns whose first value is used.
        median: columns whose median over the train rows is used, or over all rows if train has no value.
    """
    if not first and not median:
        return events.select(key).unique()
    values = [pl.col(f"feature.{name}").drop_nulls().first().alias(f"raw.{name}") for name in first]
    for name in median:
        number = pl.col(f"feature.{name}").cast(pl.Float64, strict=False)
        in_train = number.filter(pl.col("part") == 0).median()
        values.append(pl.coalesce(in_train, number.median()).alias(f"raw.{name}"))
    rows = events.lazy().select("row", "part", key).join(kept, on="row", how="left", maintain_order="left")
    return rows.group_by(key, maintain_order=True).agg(values).collect(engine="streaming")


def encode_items(raw: pl.DataFrame, settings: ItemsConfig, n_train: int) -> tuple[pl.DataFrame, EncodedColumns]:
    """The item table: index, id, title, text, cat.NAME, num.NAME, raw.NAME.

    Args:
        raw: id and raw.NAME, in the order of the index.
        n_train: items of the train part, the first ones; vocabularies and scales come from these.
    """
    columns = learn(raw.head(n_train).lazy(), settings.categorical, settings.numeric, "raw.")
    texts = [_clean_text(f"raw.{name}") for name in settings.text]
    title = pl.coalesce(*texts, "id")
    text = pl.concat_str(texts, separator=" ", ignore_nulls=True) if texts else pl.lit("")
    return raw.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("index"),
        "id",
        title.alias("title"),
        text.alias("text"),
        *columns.encode(raw.schema, "raw."),
        pl.col("^raw\\..*$"),
    ), columns


def encode_users(raw: pl.DataFrame, settings: UsersConfig, in_train: pl.Series) -> tuple[pl.DataFrame, EncodedColumns]:
    """The user table: index, id, cat.NAME, num.NAME; vocabularies and scales come from the users of the train part."""
    columns = learn(raw.filter(in_train).lazy(), settings.categorical, settings.numeric, "raw.")
    index = pl.int_range(pl.len(), dtype=pl.UInt32).alias("index")
    return raw.select(index, "id", *columns.encode(raw.schema, "raw.")), columns


def check_numbers(table: Source, columns: tuple[str, ...], section: str) -> None:
    """Refuse a column that is configured as numeric and is not.

    Raises:
        DataError: a column is missing or is not numeric.
    """
    for name in columns:
        dtype = table.expression(name, f"[{section}] numeric")[1]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise DataError(
                f"{table.path}: [{section}] numeric {name!r}: expected numbers, got {dtype}; move it to categorical"
            )


def check_texts(table: Source, settings: ItemsConfig | UsersConfig, section: str) -> None:
    """Refuse lists and records where a text is expected.

    Raises:
        DataError: a column is missing, or is one of these.
    """
    for name in settings.text if isinstance(settings, ItemsConfig) else ():
        dtype = table.expression(name, f"[{section}] text")[1]
        if dtype.is_nested():
            join = f" such as ARRAY_TO_STRING({name}, ' ')" if isinstance(dtype, pl.List) else ""
            raise DataError(
                f"{table.path}: [{section}] text {name!r}: expected one text in a row, got {dtype}; "
                f"leave it out of text, or name an SQL expression that makes one{join}"
            )


def _clean_text(column: str) -> pl.Expr:
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)
