"""The whole chain from tables in memory: `edgerec.prepare(frame, ...)` in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgerec.config import Config
from edgerec.errors import ConfigError, need

if TYPE_CHECKING:
    from edgerec.runtime import Recommender
    from edgerec.stages.pipeline import StageReport

__all__ = ["Project", "prepare"]


class Project:
    """Settings and the folder of a run; what `edgerec run` does at a command line.

    Attributes:
        config: the checked settings.
        folder: where the stages leave dataset, teacher, student, bundle and report.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder

    def run(self, until: str | None = None) -> dict[str, StageReport]:
        """Run the stages that are not done, with progress in the notebook; returns their reports by name.

        Raises:
            QualityError: a gate of a stage fails. DataError, ConfigError: as the stages raise them.
        """
        from edgerec.progress import progress_for
        from edgerec.stages import pipeline

        return pipeline.run(self.config, self.folder, progress_for(), until)

    def recommender(self) -> Recommender:
        """The runtime over the bundle of this run."""
        from edgerec.runtime import Recommender

        return Recommender.open(self.folder / "bundle")


def prepare(
    interactions: Any,
    *,
    user: str,
    item: str,
    time: str,
    task: list[dict[str, Any]] | None = None,
    items: Any = None,
    users: Any = None,
    folder: str | Path = "runs/notebook",
    data: dict[str, Any] | None = None,
    **settings: Any,
) -> Project:
    """Make a dataset of tables in memory, and return the project that trains on it.

    >>> project = edgerec.prepare(log, user="user", item="item", time="time", items=films,
    ...     data={"items": {"id": "item", "text": ["title"]}})  # doctest: +SKIP
    >>> project.run()  # doctest: +SKIP

    Args:
        interactions, items, users: tables of Polars, pandas, Arrow or DuckDB, or anything else that offers an Arrow
            stream; a lazy Polars frame is written as it streams.
        user, item, time: columns or SQL expressions, as in ``[data]``.
        task: the tasks as in ``[[task]]``; None: one retrieval task "next".
        folder: of the run; the tables are written to its folder "input" as Parquet.
        data: other keys of ``[data]``. settings: other sections and keys of the file, such as ``teacher={...}``.

    Raises:
        ConfigError: a table is none, or the settings are not valid. DataError: as `edgerec prepare`.
    """
    need("polars", "train", "preparing a log")
    folder = Path(folder)
    inputs = folder / "input"
    inputs.mkdir(parents=True, exist_ok=True)
    section = {"interactions": "log.parquet", "user": user, "item": item, "time": time, **(data or {})}
    _write(interactions, inputs / "log.parquet", "interactions")
    for name, table in {"items": items, "users": users}.items():
        if table is not None:
            _write(table, inputs / f"{name}.parquet", name)
            section[name] = {"path": f"{name}.parquet", **section.get(name, {})}
    values = {"name": folder.name, **settings, "data": section}
    values["task"] = task or [{"name": "next", "kind": "retrieval"}]
    project = Project(Config.of(values, folder=inputs, source="edgerec.prepare"), folder)
    project.run(until="prepare")
    return project


def _write(table: Any, path: Path, what: str) -> None:
    import polars as pl

    from edgerec.files import replacing

    with replacing(path) as part:
        if isinstance(table, pl.LazyFrame):
            table.sink_parquet(part)
            return
        try:
            frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise ConfigError(f"{what}: expected a table, got {type(table).__name__} ({error})") from None
        frame.write_parquet(part)
