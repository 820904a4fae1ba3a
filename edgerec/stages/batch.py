"""What `recommend` and `score` read beside a bundle: requests by the log's own column names, and the past of users."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import typer

from edgerec.errors import BundleError, ConfigError, DataError, need
from edgerec.files import replacing

if TYPE_CHECKING:
    import polars as pl

    from edgerec.config import Config
    from edgerec.evaluation.torch_engine import TorchEngine
    from edgerec.runtime import ArrayRecommender, Events

__all__ = [
    "AskAs",
    "PastLog",
    "Requests",
    "attributes_of",
    "beside",
    "check_out",
    "check_stage",
    "key_values",
    "open_stage",
    "settings_of",
    "write_table",
]


AskAs: TypeAlias = "Callable[[str | None, int], None]"
"""Told who asks next, by the log's id or None, and when, in ms since 1970 UTC."""


@dataclass(frozen=True)
class PastLog:
    """The events of a log by user, read and cleaned as `edgerec prepare` does.

    Attributes:
        slices: by user id, where the user's events stand in `events`, which are sorted by time within a user.
        attributes: by user id, values of the bundle's user columns as far as the log has them.
        end_ms: time of the latest event.
    """

    events: Events
    slices: Mapping[str, slice]
    attributes: Mapping[str, Mapping[str, object]]
    end_ms: int

    @classmethod
    def read(cls, path: Path, rec: ArrayRecommender) -> PastLog:
        """Read a log with the column names of the bundle's own.

        Raises:
            DataError: a column is missing or has the wrong type, or no row is an event.
        """
        config = settings_of(rec)
        import polars as pl

        from edgerec.data.cleaning import clean, duplicates, label_columns
        from edgerec.data.readers import Source, reading

        data = config.data
        log = Source.open(str(path), as_text=[x for x in (data.user, data.item, data.session) if x is not None])
        known = [name for name in _columns(rec, "user") if name in log.schema]
        with reading(str(path)):
            frame = clean(log, data, config.task, known).frame.filter(pl.col("reason").is_null()).collect()
        if data.session is not None:  # as in `prepare`: a basket is one event in time
            frame = frame.with_columns(pl.col("time").min().over("user", "session"))
        frame = frame.filter(~pl.col("row").is_in(duplicates(frame, label_columns(config.task)).implode()))
        if frame.is_empty():
            raise DataError(f"{path}: no row is an event by the bundle's settings; check --history")
        bits = [pl.col(f"label.{name}").cast(pl.Int64) * (1 << bit) for bit, name in enumerate(rec.encoder.binary)]
        kind = pl.sum_horizontal(bits) if bits else pl.lit(0, pl.Int64)
        frame = frame.with_columns(kind=kind).sort("user", "time", "row")
        sizes = frame.group_by("user", maintain_order=True).len()
        stops = sizes["len"].cum_sum().to_list()
        starts = [0, *stops[:-1]]
        return cls(
            events=_events(frame, rec),
            slices={u: slice(a, b) for u, a, b in zip(sizes["user"], starts, stops, strict=True)},
            attributes=_attributes(frame, log.schema, known, rec),
            end_ms=int(frame["time"].max()),  # type: ignore[arg-type]
        )

    def of(self, user: str | None, before_ms: int | None = None) -> Events:
        """A user's events, all or those before a time; none for a user that the log does not hold."""
        from edgerec.runtime import Events

        here = self.slices.get(user or "", slice(0, 0))
        item, kind, time_ms = (a[here] for a in (np.asarray(self.events.item), self.events.kind, self.events.time_ms))
        end = len(time_ms) if before_ms is None else int(np.searchsorted(time_ms, before_ms))
        return Events(item[:end], kind[:end], time_ms[:end])


@dataclass(frozen=True)
class Requests:
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
    context: list[dict[str, object]]
    attributes: list[dict[str, object]]

    @classmethod
    def read(cls, path: Path, rec: ArrayRecommender, with_item: bool = False) -> Requests:
        """Read a file with the log's own columns: user, time, context, and item if `with_item`.

        Raises:
            DataError: a column is missing, or a row has no readable time.
        """
        config = settings_of(rec)
        import polars as pl

        from edgerec.data.ids import text_of
        from edgerec.data.readers import Source, reading
        from edgerec.data.times import time_ms

        data = config.data
        source = Source.open(str(path), as_text=[x for x in (data.user, data.item, data.session) if x is not None])
        time, _ = source.expression(data.time, "[data] time")
        ids = {"user": data.user, **({"item": data.item} if with_item else {})}
        if data.session is not None and data.session in source.schema:
            ids["session"] = data.session
        columns = {}
        for role, text in ids.items():
            column, dtype = source.expression(text, f"[data] {role}")
            columns[role] = text_of(column, dtype, f"{path}: {role}")
        with reading(str(path)):
            sample = source.frame.select(time=time).drop_nulls().head(10_000).collect()["time"]
            if sample.is_empty():
                raise DataError(f"{path}: has no row with a time; expected at least one in {data.time!r}")
            columns["time"] = time_ms(time, sample, data.timezone, f"{path}: {data.time!r}")[0]
            frame = source.frame.collect()
            own = frame.select(**columns)
        if "session" in ids:
            own = own.with_columns(pl.col("time").min().over("user", "session"))
        if missing := own["time"].null_count():
            row = own["time"].is_null().arg_max()
            raise DataError(
                f"{path}: {missing} rows have no readable {data.time!r}, the first is row {row}; remove them"
            )
        return cls(
            frame=frame,
            user=own["user"].to_list(),
            time_ms=own["time"].to_list(),
            item=own["item"].to_list() if with_item else None,
            context=_values(frame, rec, "context"),
            attributes=_values(frame, rec, "user"),
        )

    def each(
        self, past: PastLog | None, users: Mapping[str, Mapping[str, object]], ask_as: AskAs
    ) -> Iterator[dict[str, Any]]:
        """The arguments of `ArrayRecommender.rank` or `rate` by row; the past ends before the row's time.

        Args:
            users: see `attributes_of`; a row's own columns go before.
            ask_as: see `open_stage`; called before each row.
        """
        from edgerec.runtime import Events

        none = Events(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        rows = zip(self.user, self.time_ms, self.context, self.attributes, strict=True)
        for user, time_ms, context, own in rows:
            history = past.of(user, time_ms) if past else none
            ask_as(user, time_ms)
            yield {"now": time_ms, "context": context, "user": {**users.get(user or "", {}), **own}, "history": history}


def open_stage(bundle: Path, stage: str | None, run_dir: Path | None) -> tuple[ArrayRecommender, AskAs]:
    """Open a bundle; with `stage` its lists and scores are those of the models of an earlier stage of its run.

    Args:
        run_dir: of the run; the folder that holds the bundle by default.
    Returns:
        The recommender, and what must be told who asks and when: a bundle does not care, a teacher may.
    Raises:
        BundleError, ConfigError, DataError: the bundle, the stage or the run cannot be used.
    """
    from edgerec.runtime import ArrayRecommender

    check_stage(stage, run_dir)
    rec = ArrayRecommender.of(bundle)
    if stage is None:
        return rec, lambda user, time_ms: None
    need("torch", "train", "--stage")

    run = run_dir or rec.bundle.folder.parent
    engine = _torch_engine(stage, settings_of(rec, whole=True), run, rec)
    return rec.scored_by(engine), engine.ask_as


def check_stage(stage: str | None, run_dir: Path | None) -> None:
    """Raises ConfigError for a run without a stage."""
    if stage is None and run_dir is not None:
        raise ConfigError("--run-dir is where --stage finds its models; give both or none")


def attributes_of(rec: ArrayRecommender, past: PastLog | None, log: Path) -> Mapping[str, Mapping[str, object]]:
    """The bundle's user columns by user: from the settings' own table of users, or from the log where there is none.

    Args:
        log: what was read; the table is looked for beside it, as the settings place it, and then beside the bundle.
    """
    config = settings_of(rec)
    users = config.data.users
    if users.path is None or not _columns(rec, "user"):
        return past.attributes if past else {}
    from edgerec.data.tables import attributes_from_file

    table = _placed_beside(users.path, log, config.data.interactions, rec.bundle.folder.parent)
    if table is None:
        typer.echo(f"{users.path} is not beside {log}: users have no attributes but those in its columns", err=True)
        return {}
    frame, _ = attributes_from_file(table, users.path, users, users.id or config.data.user, "data.users")
    frame = frame.rename({name: name.removeprefix("raw.") for name in frame.columns})
    return dict(zip(frame["id"], _values(frame, rec, "user"), strict=True))


def _placed_beside(path: str, log: Path, interactions: str, run: Path) -> str | None:
    """Where `path` of the settings is, if `log` is a file beside or in place of their `interactions`."""
    depth = len(Path(interactions).parts)
    log = log.absolute()
    folders = [log.parents[min(depth, len(log.parents)) - 1], log.parent, run]
    found = (str(folder / path) for folder in folders)
    return next((place for place in found if glob.glob(place)), None)


def _torch_engine(stage: str, config: Config, folder: Path, rec: ArrayRecommender) -> TorchEngine:
    """The engine of a stage, for the bundle that was built from it.

    Raises:
        ConfigError: no such stage, or the bundle is not of this run.
        DataError: the stage has not been run.
    """
    from edgerec.ensemble.scoring import STAGES
    from edgerec.evaluation.torch_engine import TorchEngine
    from edgerec.progress import progress_for
    from edgerec.stages.run import Run

    if stage not in STAGES:
        raise ConfigError(f"--stage {stage}: no such stage; one of {', '.join(STAGES)}")
    run = Run(config, folder, progress_for())
    data = run.learning_data()
    if data.encoder != rec.encoder or data.n_items != rec.bundle.manifest.n_items:
        raise ConfigError(f"{rec.bundle.folder}: was not built from the run in {folder}; name it by --run-dir")
    users = {user: index for index, user in enumerate(data.dataset.users()["id"].to_list())}
    return TorchEngine(run.scorer(stage, data), users, data.sequence)


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


def beside(frame: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """The request's own columns, then the results.

    Raises:
        DataError: the file already has a column of that name.
    """
    import polars as pl

    if both := sorted(set(frame.columns) & set(results.columns)):
        raise DataError(f"the file has a column {both[0]!r}, which is the name of a result; rename it")
    return pl.concat([frame, results], how="horizontal")


def key_values(pairs: Iterable[str], option: str) -> dict[str, str]:
    """ "a=1" texts as a dict.

    Raises:
        ConfigError: a pair has no "=".

    >>> key_values(["tab=home"], "--context")
    {'tab': 'home'}
    """
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{option} {pair!r}: expected NAME=VALUE")
        found[key.strip()] = value.strip()
    return found


def write_table(frame: pl.DataFrame, out: Path) -> None:
    """Write Parquet beside `out` first, so that a half-written file never has its name."""
    try:
        with replacing(out) as part:
            frame.write_parquet(part)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror or error}); free some space or name another"
        ) from error


def check_out(out: Path, force: bool) -> None:
    """Refuse to overwrite a result, before any work.

    Raises:
        ConfigError: `out` exists, its folder does not, or it is not a Parquet file's name.
    """
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: expected a name that ends in .parquet")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it or name another")
    if out.exists() and not force:
        raise ConfigError(f"--out {out}: exists; add --force to replace it")


def _events(frame: pl.DataFrame, rec: ArrayRecommender) -> Events:
    from edgerec.runtime import Events

    index = {item: rec.index_of(item) for item in frame["item"].unique()}
    item = np.array([-1 if (i := index[item]) is None else i for item in frame["item"]], np.int64)
    return Events(item, frame["kind"].to_numpy(), frame["time"].to_numpy())


def _attributes(
    frame: pl.DataFrame, schema: pl.Schema, names: list[str], rec: ArrayRecommender
) -> dict[str, dict[str, object]]:
    """First value of each user column, by user."""
    import polars as pl

    if not names:
        return {}
    values = frame.select("user", *(pl.col(f"feature.{name}").alias(name) for name in names))
    first = values.group_by("user", maintain_order=True).agg(pl.all().drop_nulls().first())
    return dict(zip(first["user"], _values(first, rec, "user"), strict=True))


def _columns(rec: ArrayRecommender, source: str) -> list[str]:
    categorical = [c.name for c in rec.encoder.categorical if c.source == source]
    return categorical + [c.name for c in rec.encoder.numeric if c.source == source]


def _values(frame: pl.DataFrame, rec: ArrayRecommender, source: str) -> list[dict[str, object]]:
    """By row, the bundle's columns of one source that `frame` has: names as the dataset spells them, and numbers."""
    import polars as pl

    from edgerec.data.ids import text_of

    names = [c.name for c in rec.encoder.categorical if c.source == source and c.name in frame.columns]
    numbers = [c.name for c in rec.encoder.numeric if c.source == source and c.name in frame.columns]
    selected = frame.select(
        *(text_of(pl.col(name), frame.schema[name], name).alias(name) for name in names),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in numbers),
    )
    return list(selected.iter_rows(named=True)) if names or numbers else [{} for _ in range(frame.height)]
