"""The three data sets as settings of edgerec, the figures required on each, and the settings of ablations."""

from __future__ import annotations

import copy
import io
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from edgerec.config import Config
from edgerec.errors import DataError

Values: TypeAlias = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[3] / "edgerec" / "samples"
ROWS = {
    "retail": {"train": 282_123, "valid": 48_086, "test": 56_145},
    "video": {"train": 193_582, "valid": 13_388, "test": 15_474},
    "movielens": {"train": 89_054, "valid": 610, "test": 610},
}
"""Rows of the published splits; of MovieLens, those of ml-latest-small."""
REQUIRED: dict[str, dict[tuple[str, str], float]] = {
    "retail": {("next", "ndcg@10"): 0.345, ("new", "ndcg@10"): 0.155, ("related", "capped_recall@10"): 0.198},
    "video": {
        ("click", "auc"): 0.748,
        ("long_view", "auc"): 0.746,
        ("like", "auc"): 0.855,
        ("ctcvr", "auc"): 0.850,
        ("watch", "xauc"): 0.693,
        ("click", "gauc"): 0.629,
    },
    "movielens": {("next", "ndcg@10"): 0.080, ("like", "auc"): 0.755},
}
"""At least this of the teacher, by data set, task and metric."""
REQUIRED_OF_STUDENT: dict[str, dict[tuple[str, str], float]] = {
    "retail": {("next", "ndcg@10"): 0.340, ("new", "ndcg@10"): 0.146},
    "video": {
        ("click", "auc"): 0.746,
        ("long_view", "auc"): 0.745,
        ("like", "auc"): 0.851,
        ("watch", "xauc"): 0.691,
        ("click", "gauc"): 0.627,
    },
    "movielens": {("next", "ndcg@10"): 0.065},
}
"""The same of the INT8 student."""
ALSO_SHOWN = {"video": (("watch", "mae"), ("next", "ndcg@10"))}
"""Figures without a requirement."""

ALONE = " alone"
"""Ends the name of an ablation that trains one task."""

MOVIELENS = """
name = "movielens"
effort = "full"

[data]
interactions = "ratings.parquet"
user = "userId"
item = "movieId"
time = "timestamp"
after = ["rating"]
split = { by = "leave-last-out", core = 5 }

[data.items]
text = ["title", "words"]
categorical = ["genres"]
numeric = ["year"]

[data.graph]
edges = "films.parquet"

[[task]]
name = "next"
kind = "retrieval"
repeats = "exclude"

[[task]]
name = "like"
kind = "binary"
label = "rating >= 4"

[student]
transitions = 32
"""


def settings_of(name: str, data: Path | None, folder: Path) -> tuple[Values, Path]:
    """Settings as they stand in a file, and the folder that their paths are relative to.

    Args:
        data: where MovieLens lies.
        folder: where its log with titles and genres, and a graph of films, are written.
    """
    if name != "movielens":
        path = SAMPLES / name / "edgerec.toml"
        values = tomllib.loads(path.read_text("utf-8"))
        if name == "retail":
            values.pop("ensemble", None)  # the demo's is small, to be quick
        return values, path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / name).exists() for name in ("ratings.parquet", "films.parquet")):
        log = movielens_log(data)
        for name, table in (("films.parquet", film_graph(log)), ("ratings.parquet", log)):
            part = folder / f"{name}.part"
            table.write_parquet(part)
            part.replace(folder / name)
    return tomllib.loads(MOVIELENS), folder


def movielens_log(data: Path | None) -> pl.DataFrame:
    """Ratings with title, words of the genres, genres and year of each film.

    Args:
        data: a zip of MovieLens, or a folder that holds it or the unpacked tables, itself or one level below.
    Raises:
        DataError: there is none.
    """
    if data is None:
        raise DataError("movielens is not shipped; give --data, a folder or zip with ratings.csv and movies.csv")
    ratings, films = _movielens_tables(data)
    title, genres = pl.col("title"), pl.col("genres")
    films = films.with_columns(
        words=genres.str.replace_all("|", " ", literal=True),
        year=title.str.extract(r"\((\d{4})\)\s*$").cast(pl.Float64),
    )
    return ratings.join(films, on="movieId", how="left", maintain_order="left")


def film_graph(log: pl.DataFrame) -> pl.DataFrame:
    """A knowledge graph: each film's genres, one by one, and its decade."""
    films = log.select("movieId", "genres", "year").unique("movieId", maintain_order=True)
    genres = films.select("movieId", tail=pl.col("genres").str.split("|")).explode("tail")
    decades = films.drop_nulls("year").select(
        "movieId", tail=pl.format("{}s", pl.col("year").cast(pl.Int64) // 10 * 10)
    )
    named = [table.with_columns(relation=pl.lit(name)) for name, table in (("genre", genres), ("decade", decades))]
    return pl.concat(named).select(head="movieId", relation="relation", tail="tail")


def _movielens_tables(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    folders = [data, *sorted(data.glob("*/"))] if data.is_dir() else []
    for folder in folders:
        if (folder / "ratings.csv").exists() and (folder / "movies.csv").exists():
            return pl.read_csv(folder / "ratings.csv"), pl.read_csv(folder / "movies.csv")
    zips = [data] if data.suffix == ".zip" else [z for folder in folders for z in sorted(folder.glob("ml-*.zip"))]
    for path in zips:
        try:
            with zipfile.ZipFile(path) as archive:
                members = {Path(name).name: name for name in archive.namelist()}
                if {"ratings.csv", "movies.csv"} <= members.keys():
                    ratings, films = (archive.read(members[name]) for name in ("ratings.csv", "movies.csv"))
                    return pl.read_csv(io.BytesIO(ratings)), pl.read_csv(io.BytesIO(films))
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read as a zip: {error}") from None
    raise DataError(f"{data}: expected ratings.csv and movies.csv of MovieLens, or a zip of them")


def check_rows(name: str, rows: dict[str, int]) -> None:
    """Make sure that figures can be compared.

    Raises:
        DataError: the rows are not those of the published split.
    """
    if rows != ROWS[name]:
        raise DataError(f"{name}: its splits hold {rows} rows, expected {ROWS[name]}; give the published data")


# ------------------------------------------------------------------------------------------------ ablations


def variants(values: Values) -> Iterator[tuple[str, Values]]:
    """Each ablation's name and settings: what is on is switched off, what is off is switched on."""
    made: tuple[tuple[str, Callable[[Values], None]], ...] = (
        ("without text", _no_text),
        ("without graph", _set("teacher", "graph_layers", 0)),
        ("with graph", _set("teacher", "graph_layers", 2)),
        ("with graph but its relations", _graph_alone),
        ("without knowledge graph", _no_knowledge),
        ("without sequence", _set("teacher", "sequence", 0)),
        ("with sequence", _set("teacher", "sequence", 50)),
        ("without ensemble", _set("ensemble", "members", [])),
    )
    has = {"graph_layers": "graph", "sequence": "sequence"}
    defaults = Config.of(values).teacher.model_dump()
    on = {title for key, title in has.items() if defaults[key]}
    for name, change in made:
        how, _, what = name.partition(" ")
        if ("graph" in on and change is _graph_alone) or ("graph" not in on and change is _no_knowledge):
            continue
        if what in has.values() and (how == "without") != (what in on):
            continue
        changed = copy.deepcopy(values)
        change(changed)
        if changed != values:
            yield name, changed
    for task in values["task"]:
        if task["kind"] != "related" and len(values["task"]) > 1:
            alone = copy.deepcopy(values)
            alone["task"] = [{key: value for key, value in task.items() if key != "after"}]
            yield f"{task['name']}{ALONE}", alone


def _set(section: str, key: str, value: Any) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        values.setdefault(section, {})[key] = value

    return change


def _no_text(values: Values) -> None:
    values["data"].get("items", {}).pop("text", None)


def _graph_alone(values: Values) -> None:
    """The graph of users, items and sessions, where there is a file of relations to do without."""
    if values["data"].pop("graph", None) is not None:
        values.setdefault("teacher", {})["graph_layers"] = 2


def _no_knowledge(values: Values) -> None:
    """No file of relations; what items have as attributes stays, in the graph too."""
    values["data"].pop("graph", None)
