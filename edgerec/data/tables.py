"""The tables of items and users, with attributes from a file of their own or from the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from edgerec.config import ItemsConfig, UsersConfig
from edgerec.data.ids import refuse_rounded, text_of
from edgerec.data.numbers import Decimal
from edgerec.data.readers import PLAIN, Reading, Source, reading
from edgerec.data.vocabularies import EncodedColumns, learn, learn_parts
from edgerec.errors import DataError

__all__ = [
    "attributes_from_file",
    "attributes_from_log",
    "check_numbers",
    "check_texts",
    "encode_items",
    "encode_users",
    "narrowed",
]


def attributes_from_file(
    path: str,
    display_path: str,
    settings: ItemsConfig | UsersConfig,
    id_expression: str,
    section: str,
    how: Reading = PLAIN,
) -> tuple[pl.DataFrame, list[str]]:
    """One row for each id: column id (string) and the configured columns, in the order of the file.

    Args:
        display_path: the path as the settings name it, for messages.

    Returns:
        The table, and notes about rows that were left out.

    Raises:
        DataError: the file or a column is missing.
    """
    table = Source.open(path, how)
    id_column, dtype = table.expression(id_expression, f"[{section}] id")
    notes = [f"{display_path}: {note}" for note in table.notes]
    notes += check_numbers(table, settings.numeric, section)
    columns = {name: table.expression(name, f"[{section}] column")[0] for name in settings.columns}
    columns |= {name: table.number(name, f"[{section}] numeric") for name in settings.numeric}
    check_texts(table, settings, section)
    with reading(path):
        refuse_rounded(table.frame, id_column, dtype, f"{display_path}: id")
        raw = table.frame.select(
            text_of(id_column, dtype, f"{path}: id").alias("id"), **{f"raw.{k}": v for k, v in columns.items()}
        ).collect(engine="streaming")
    rows = raw.drop_nulls("id").unique("id", keep="first", maintain_order=True)
    if missing := raw["id"].null_count():
        notes.append(f"{display_path}: {missing} rows without an id were left out")
    if repeated := raw.height - missing - rows.height:
        notes.append(f"{display_path}: {repeated} rows repeat an id; the first of each was kept")
    return rows, notes


def attributes_from_log(
    ids: pl.Series, events: pl.DataFrame, log_rows: pl.LazyFrame, key: str, first: Sequence[str], median: Sequence[str]
) -> pl.DataFrame:
    """One row for each item or user, in the order of its index: id, and raw.NAME for the columns of the log.

    Args:
        ids: by index.
        events: sorted by time; columns row, part and `key`.
        log_rows: all rows of the log, in its order, with feature.NAME.
        first: columns whose first value is used.
        median: columns whose median over the train rows is used, or over all rows if train has no value.
    """
    values = [_first(events, log_rows.select(f"feature.{name}"), key, len(ids)).alias(f"raw.{name}") for name in first]
    for name in median:
        number = pl.col(f"feature.{name}").cast(pl.Float64, strict=False)
        column = log_rows.select(number).collect(engine="streaming").to_series().gather(events["row"])
        rows = pl.DataFrame({"key": events[key], "value": column, "part": events["part"]}).lazy()
        middle = pl.col("value").median()
        in_train = rows.filter(pl.col("part") == 0).group_by("key").agg(train=middle)
        of_all = rows.group_by("key").agg(all=middle)
        both = of_all.join(in_train, on="key", how="left").select("key", pl.coalesce("train", "all").alias("value"))
        values.append(both.collect(engine="streaming").sort("key")["value"].alias(f"raw.{name}"))
    return pl.DataFrame([ids.alias("id"), *values])


def _first(events: pl.DataFrame, column: pl.LazyFrame, key: str, n: int) -> pl.Series:
    """The first value that is not null of each of `n` keys; only these values, often long texts, are read."""
    given = column.select(pl.first().is_not_null()).collect(engine="streaming").to_series()
    row = events.lazy().select("row", key).filter(given.gather(events["row"]))
    found = row.collect()
    first_row = np.full(n, -1, np.int64)
    # The last of several assignments stays, so backwards the first.
    first_row[found[key].to_numpy()[::-1]] = found["row"].to_numpy()[::-1]
    wanted = np.zeros(len(given), bool)
    wanted[first_row[first_row >= 0]] = True
    rows = pl.concat([column, pl.LazyFrame({"wanted": wanted})], how="horizontal")
    values = rows.filter("wanted").drop("wanted").collect(engine="streaming").to_series()
    place = np.searchsorted(np.flatnonzero(wanted), first_row)
    return values.gather(pl.Series(place).set(pl.Series(first_row < 0), None))


def encode_items(raw: pl.DataFrame, settings: ItemsConfig, n_train: int) -> tuple[pl.DataFrame, EncodedColumns]:
    """The item table: index, id, title, text, cat.NAME, multi.NAME, num.NAME, raw.NAME.

    Args:
        raw: id and raw.NAME, in the order of the index; cells with several values are lists.
        n_train: items of the train part, the first ones; vocabularies and scales come from these.
    """
    categorical = {f"raw.{name}" for name in settings.categorical}
    columns = _learn(raw.head(n_train), settings)
    texts = [_clean_text(f"raw.{name}") for name in settings.text]
    title = pl.coalesce(*texts, "id")
    text = pl.concat_str(texts, separator=" ", ignore_nulls=True) if texts else pl.lit("")
    return raw.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("index"),
        "id",
        title.alias("title"),
        text.alias("text"),
        *columns.encode(raw.schema, "raw."),
        *(narrowed(raw[name]) if name in categorical else raw[name] for name in raw.columns if name.startswith("raw.")),
    ), columns


def encode_users(raw: pl.DataFrame, settings: UsersConfig, in_train: pl.Series) -> tuple[pl.DataFrame, EncodedColumns]:
    """The user table: index, id, cat.NAME, multi.NAME, num.NAME; vocabularies and scales come from the users of the
    train part."""
    columns = _learn(raw.filter(in_train), settings)
    index = pl.int_range(pl.len(), dtype=pl.UInt32).alias("index")
    return raw.select(index, "id", *columns.encode(raw.schema, "raw.")), columns


def _learn(train: pl.DataFrame, settings: ItemsConfig | UsersConfig) -> EncodedColumns:
    separator, most = settings.multi_separator, settings.multi_values
    columns = learn(train.lazy(), settings.categorical, settings.numeric, "raw.")
    return replace(
        columns, multi=tuple(learn_parts(train[f"raw.{name}"], name, separator, most) for name in settings.multi)
    )


def check_numbers(table: Source, columns: Sequence[str], section: str) -> list[str]:
    """Refuse a column that is configured as numeric and is not; counts the values of others that are no numbers.

    Raises:
        DataError: a column is missing or does not hold numbers.
    """
    types = {name: table.expression(name, f"[{section}] numeric")[1] for name in columns}
    notes: list[str] = []
    for name, dtype in types.items():
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null)):
            raise DataError(f"{table.path}: [{section}] numeric {name!r}: expected numbers, got {dtype}")
    for name, found in table.numbers_in([name for name, dtype in types.items() if dtype == pl.String]).items():
        if found.numbers * 2 < found.given:
            other: Decimal = "," if table.how.decimal == "." else "."
            with_other = replace(table, how=replace(table.how, decimal=other)).numbers_in([name])[name]
            raise DataError(
                f"{table.path}: [{section}] numeric {name!r}: expected numbers, got text such as {found.odd!r}; "
                + (
                    f'set decimal = "{other}" in [data]'
                    if with_other.numbers > found.numbers
                    else "move it to categorical"
                )
            )
        notes += found.note(table.path, name)
    return notes


def narrowed(column: pl.Series) -> pl.Series:
    """A column of categories for the catalogue: strings that all are whole numbers, or all true or false, as such.

    Conditions on items compare numbers with numbers; "01" is not a number here.
    """
    text = column.drop_nulls()
    if column.dtype != pl.String or text.is_empty():
        return column
    if text.str.contains(r"^(0|-?[1-9]\d{0,17})$").all():
        return column.cast(pl.Int64)
    if text.str.to_lowercase().is_in(["true", "false"]).all():
        return column.str.to_lowercase() == "true"
    return column


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
