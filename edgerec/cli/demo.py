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
    from edgerec.runtime import Recommendation

__all__ = ["demo"]

SAMPLES = Path(__file__).parents[1] / "samples"
"""One folder a demo: its settings and its log."""

RETAIL, KIOSK = "retail", "kiosk"


def demo(
    sample: Annotated[
        str, typer.Argument(help="retail, video, or kiosk (the retail demo as a touch page).")
    ] = "retail",
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    ort: Annotated[
        Path | None,
        typer.Option(help="For kiosk: folder of the npm package onnxruntime-web. Default: in node_modules."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="For kiosk: port on this machine; 0 takes a free one.")
    ] = (8080),
) -> None:
    """Run all stages on packaged sample data, then recommend items to one of its users, with reasons."""
    if sample == KIOSK:
        _kiosk(run_dir or Path("runs") / RETAIL, seed, ort, port)
        return
    known = sorted(path.parent.name for path in SAMPLES.glob("*/edgerec.toml")) if SAMPLES.is_dir() else []
    if sample not in known:
        raise ConfigError(f"there is no demo {sample!r}; expected one of: {', '.join([*known, KIOSK])}")
    folder = run_dir or Path("runs") / sample
    _copy_missing(SAMPLES / sample, folder)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    from edgerec.progress import progress_for
    from edgerec.stages import pipeline

    pipeline.run(settings, folder, progress_for())
    print_report(folder)
    from edgerec.stages.evaluate import compare_size_and_speed
    from edgerec.stages.run import Run

    typer.echo("\n" + "\n".join(compare_size_and_speed(Run(settings, folder, progress_for())).lines()))
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
    from edgerec.samples.shopper import find_shopper

    shopper = find_shopper(folder / "dataset")
    with Recommender.of(folder / "bundle") as recommender:
        typer.echo(f"\nUser {shopper.user} came with {len(shopper.past.item)} events in the log, lately:")
        for title in list(dict.fromkeys(shopper.titles[::-1]))[:5]:
            typer.echo(f"   {title}")
        retrieval = [task.name for task in recommender.bundle.manifest.tasks if task.kind == "retrieval"]
        for task in retrieval:
            best = recommender.recommend(
                k=5, weights={task: 1.0}, history=shopper.past, now=shopper.now_ms, explain=True
            )
            rows = [(place, r.title, _why(r)) for place, r in enumerate(best, 1)]
            print_table(("", "item", "because of"), rows, title=f"Recommended for {task}, by the bundle:")


def _why(recommendation: Recommendation) -> str:
    said = {"again": "had before", "popular": "popular now"}
    reasons = (said.get(reason.kind) or reason.title or reason.item or "" for reason in recommendation.reasons[:2])
    return "; ".join(reasons)
