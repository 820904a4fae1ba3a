"""`edgerec demo`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import RunDirOption, SeedOption, load_run
from edgerec.cli.output import print_table
from edgerec.cli.stages import print_report
from edgerec.errors import ConfigError

if TYPE_CHECKING:
    from edgerec.runtime import Events, Recommendation

__all__ = ["demo"]

SAMPLES = Path(__file__).parents[1] / "samples"
"""One folder a demo: its settings and its log."""

RETAIL, KIOSK = "retail", "kiosk"
SHOPPER_ITEMS = (8, 30)
"""The shopper shown has had at least and at most so many different items: enough to see why, few enough to read."""


def demo(
    sample: Annotated[str, typer.Argument(help="retail, video, or kiosk: the retail demo as a touch page.")] = "retail",
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    ort: Annotated[Path | None, typer.Option(help="For kiosk: the installed npm package onnxruntime-web.")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="For kiosk: on this machine only; 0 takes a free one.")
    ] = (8080),
) -> None:
    """Go the whole way with packaged sample data, then recommend to one of its users, with reasons."""
    if sample == KIOSK:
        _kiosk(run_dir or Path("runs") / RETAIL, seed, ort, port)
        return
    known = sorted(path.parent.name for path in SAMPLES.glob("*/edgerec.toml")) if SAMPLES.is_dir() else []
    if sample not in known:
        raise ConfigError(f"no demo is called {sample!r}; one of: {', '.join([*known, KIOSK])}")
    folder = run_dir or Path("runs") / sample
    _copy_missing(SAMPLES / sample, folder)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    from edgerec.progress import progress_for
    from edgerec.stages import pipeline

    pipeline.run(settings, folder, progress_for())
    print_report(folder)
    from edgerec.evaluation.ratios import ratios

    typer.echo("\n" + "\n".join(ratios(settings, folder, progress_for()).lines()))
    _recommend_to_someone(folder)


def _kiosk(folder: Path, seed: int | None, ort: Path | None, port: int) -> None:
    """The retail demo's bundle as a page, served until Ctrl-C."""
    from edgerec.progress import progress_for
    from edgerec.ship.web import embed_web, find_ort, serve_folder
    from edgerec.stages import pipeline

    ort = find_ort(ort)  # before minutes of training
    _copy_missing(SAMPLES / RETAIL, folder)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    pipeline.run(settings, folder, progress_for(), until="quantize")
    page = folder / KIOSK
    if (page / "kiosk.json").exists():  # of an earlier call
        shutil.rmtree(page)
    embed_web(folder / "bundle", page, ort, "Gift shop", "en", None)
    serve_folder(page, port, lambda url: typer.echo(f"the kiosk is on {url} (Ctrl-C stops)"))


def _copy_missing(source: Path, folder: Path) -> None:
    """Settings and data of the sample; settings that the user changed are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


def _recommend_to_someone(folder: Path) -> None:
    from edgerec.runtime import Recommender

    user, past, titles, now_ms = _someone(folder / "dataset")
    with Recommender.of(folder / "bundle") as recommender:
        typer.echo(f"\nUser {user} came with {len(past.item)} events in the log, lately:")
        for title in list(dict.fromkeys(titles[::-1]))[:5]:
            typer.echo(f"   {title}")
        retrieval = [task.name for task in recommender.bundle.manifest.tasks if task.kind == "retrieval"]
        for task in retrieval:
            found = recommender.recommend(k=5, weights={task: 1.0}, history=past, now=now_ms, explain=True)
            rows = [(place, r.title, _why(r)) for place, r in enumerate(found, 1)]
            print_table(("", "item", "because of"), rows, title=f"Recommended for {task}, by the bundle:")


def _why(recommendation: Recommendation) -> str:
    said = {"again": "had before", "popular": "popular now"}
    reasons = (said.get(reason.kind) or reason.title or reason.item or "" for reason in recommendation.reasons[:2])
    return "; ".join(reasons)


def _someone(dataset: Path) -> tuple[str, Events, list[str], int]:
    """A user of the test part with a readable past: id, the events before, their titles, and the first test row's time.

    Events name their items by id: a bundle may hold fewer items than the dataset.
    """
    import polars as pl

    from edgerec.runtime import Events

    before = pl.concat([pl.scan_parquet(dataset / f"{part}.parquet") for part in ("train", "valid")], how="diagonal")
    test = pl.scan_parquet(dataset / "test.parquet")
    least, most = SHOPPER_ITEMS
    user = (
        before.group_by("user")
        .agg(pl.col("item").n_unique().alias("items"))
        .filter(pl.col("items").is_between(least, most))
        .join(test.group_by("user").agg(pl.col("time").min().alias("now")), on="user")
        .sort("now", "user")
        .collect()
    )
    if user.is_empty():
        raise ConfigError(f"{dataset}: no user of the test part has {least} to {most} items in the past")
    index, _, now_ms = user.row(0)
    items = pl.scan_parquet(dataset / "items.parquet").select(pl.col("index").alias("item"), "id", "title")
    past = before.filter(pl.col("user") == index).join(items, on="item").sort("time").collect()
    name = pl.scan_parquet(dataset / "users.parquet").filter(pl.col("index") == index).select("id").collect().item()
    kind, time_ms = (past[column].cast(pl.Int64).to_numpy() for column in ("kind", "time"))
    titles = past.select(pl.coalesce("title", "id")).to_series().to_list()
    return str(name), Events(past["id"].to_list(), kind, time_ms), titles, int(now_ms)
