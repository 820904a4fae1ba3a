"""Tables of results: the columns of the requests, then the answers, as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgerec.errors import ConfigError, DataError
from edgerec.files import replacing

if TYPE_CHECKING:
    import polars as pl

__all__ = ["beside", "check_out", "write_table"]


def check_out(out: Path, force: bool) -> None:
    """Refuse to overwrite a result, before any work.

    Raises:
        ConfigError: `out` exists, its folder does not, or its name does not end in .parquet.
    """
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: expected a name that ends in .parquet")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it or name another")
    if out.exists() and not force:
        raise ConfigError(f"--out {out}: exists; add --force to replace it")


def beside(frame: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """The columns of the requests, then the results.

    Raises:
        DataError: the requests already have a column of that name.
    """
    import polars as pl

    if both := sorted(set(frame.columns) & set(results.columns)):
        raise DataError(f"the file has a column {both[0]!r}, which is the name of a result; rename it")
    return pl.concat([frame, results], how="horizontal")


def write_table(frame: pl.DataFrame, out: Path) -> None:
    """Write Parquet to a temporary file first, so that `out` is never half written."""
    try:
        with replacing(out) as part:
            frame.write_parquet(part)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror or error}); free some space or name another"
        ) from error
