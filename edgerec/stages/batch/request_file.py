"""A file of requests, with the column names of the bundle's own log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgerec.errors import DataError
from edgerec.stages.batch.columns import Attributes, column_values, settings_of

if TYPE_CHECKING:
    import polars as pl

    from edgerec.config import DataConfig
    from edgerec.data.readers import Source
    from edgerec.runtime import ArrayRecommender
    from edgerec.runtime.model import RequestArguments
    from edgerec.stages.batch.models import AskAs
    from edgerec.stages.batch.past import PastLog

__all__ = ["RequestFile"]


@dataclass(frozen=True)
class RequestFile:
    """The rows of a file as requests.

    Attributes:
        frame: the file's own columns.
        user, time_ms, item: by row; `item` is None unless asked for.
        context, attributes: by row, values of the bundle's context and user columns that the file has.
    """

    frame: pl.DataFrame
    user: list[str | None]
    time_ms: list[int]
    item: list[str | None] | None
    context: list[Attributes]
    attributes: list[Attributes]

    @classmethod
    def read(cls, path: Path, rec: ArrayRecommender, with_item: bool = False) -> RequestFile:
        """Read a file with the columns of the log: user, time, context, and item if `with_item`.

        Raises:
            DataError: a column is missing, or a row has no readable time.
        """
        data = settings_of(rec).data
        from edgerec.data.readers import Reading, Source
        from edgerec.data.tables import narrowed

        source = Source.open(str(path), Reading.of(data))
        frame, own = _read(path, source, data, with_item)
        ids = {data.user, data.item, data.session}
        return cls(
            frame=frame.with_columns(narrowed(frame[name]) for name in frame.columns if name not in ids),
            user=own["user"].to_list(),
            time_ms=own["time"].to_list(),
            item=own["item"].to_list() if with_item else None,
            context=column_values(frame, rec, "context"),
            attributes=column_values(frame, rec, "user"),
        )

    def requests(
        self, past: PastLog | None, users: Mapping[str, Attributes], ask_as: AskAs
    ) -> Iterator[RequestArguments]:
        """The arguments of `ArrayRecommender.rank` or `rate`, by row; the past ends before the time of the row.

        Args:
            users: attributes by user; the row's own columns take precedence.
            ask_as: is called before each row, see `edgerec.stages.batch.models.open_stage`.
        """
        from edgerec.runtime import Events

        none = Events(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        rows = zip(self.user, self.time_ms, self.context, self.attributes, strict=True)
        for user, time_ms, context, own in rows:
            history = past.of(user, time_ms) if past else none
            ask_as(user, time_ms)
            yield {"now": time_ms, "context": context, "user": {**users.get(user or "", {}), **own}, "history": history}


def _read(path: Path, source: Source, data: DataConfig, with_item: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The file as it is, and its columns user, time and, if asked for, item."""
    import polars as pl

    from edgerec.data.ids import text_of
    from edgerec.data.readers import reading
    from edgerec.data.times import read_times

    typed, _ = source.with_numbers([] if data.time in source.schema else [data.time])
    time, _ = typed.expression(data.time, "[data] time")
    ids = {"user": data.user, **({"item": data.item} if with_item else {})}
    if data.session is not None and data.session in source.schema:
        ids["session"] = data.session
    columns = {}
    for role, name in ids.items():
        column, dtype = source.expression(name, f"[data] {role}")
        columns[role] = text_of(column, dtype, f"{path}: {role}")
    with reading(str(path)):
        times = read_times(typed.frame, time, data.timezone, f"{path}: {data.time!r}", data.time_format)
        frame = source.frame.collect()
        own = frame.select(**columns).with_columns(frame.with_columns(**typed.numbers).select(time=times.ms))
    if "session" in ids:
        own = own.with_columns(pl.col("time").min().over("user", "session"))
    if missing := own["time"].null_count():
        row = int(own["time"].is_null().to_numpy().argmax())
        raise DataError(
            f"{path}: {missing} rows have no readable {data.time!r}, the first is row {row}: "
            f"{frame.select(time)[row, 0]!r}; the log's times are {data.time_format or 'read by their form'}; mend or "
            "remove them"
        )
    return frame, own
