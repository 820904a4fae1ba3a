"""The settings that a bundle was built with, and the columns of its requests in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from edgerec.errors import BundleError, ConfigError, need

if TYPE_CHECKING:
    import polars as pl

    from edgerec.config import Config
    from edgerec.runtime import ArrayRecommender

__all__ = ["Attributes", "column_names", "column_values", "settings_of"]

Attributes: TypeAlias = dict[str, object]
"""Values by name of the column."""


def settings_of(rec: ArrayRecommender, whole: bool = False) -> Config:
    """The settings that the bundle was built with; without `whole` only those of its data and tasks.

    Raises:
        BundleError: the bundle does not hold them, so no log can be read.
        MissingExtraError: the `train` extra is not installed.
    """
    need("polars", "train", "reading a log")
    need("pydantic", "train", "reading a log")
    from edgerec.config import Config

    settings = rec.bundle.manifest.settings
    try:
        keys = tuple(settings) if whole else ("name", "data", "task")
        return Config.of({key: settings[key] for key in keys}, source="manifest.json: settings")
    except (KeyError, ConfigError) as error:
        raise BundleError(f"{rec.bundle.folder}: cannot read logs, its settings are not usable ({error})") from error


def column_names(rec: ArrayRecommender, source: str) -> list[str]:
    """The bundle's columns of one source, "user" or "context"."""
    return [name for name, of in rec.encoder.sources.items() if of == source]


def column_values(frame: pl.DataFrame, rec: ArrayRecommender, source: str) -> list[Attributes]:
    """By row, values of the bundle's columns of one source that `frame` has, as the dataset spells them."""
    import polars as pl

    from edgerec.data.ids import category_of
    from edgerec.data.numbers import number_of

    decimal = settings_of(rec).data.decimal
    names = [c.name for c in rec.encoder.categorical if c.source == source and c.name in frame.columns]
    numbers = [c.name for c in rec.encoder.numeric if c.source == source and c.name in frame.columns]
    several = [m.name for m in rec.encoder.multi if m.source == source and m.name in frame.columns]
    selected = frame.select(
        *(category_of(pl.col(name), frame.schema[name], name).alias(name) for name in names),
        *(
            number_of(pl.col(name), decimal) if frame.schema[name] == pl.String else pl.col(name).cast(pl.Float64)
            for name in numbers
        ),
        *several,
    )
    return list(selected.iter_rows(named=True)) if selected.columns else [{} for _ in range(frame.height)]
