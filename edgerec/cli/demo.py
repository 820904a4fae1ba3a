"""`edgerec demo`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import EffortOption, OrtOption, RunDirOption, SeedOption, checked_effort, load_run
from edgerec.cli.output import print_table
from edgerec.cli.stages import gate_shown, print_report
from edgerec.samples.folders import copy_sample

if TYPE_CHECKING:
    from edgerec.runtime import Recommendation

__all__ = ["demo"]

RETAIL, KIOSK = "retail", "kiosk"
STEPS = (
    ("prepare", "read, clean and split the log"),
    ("train", "the teacher: networks, and simple models beside them"),
    ("distill", "a small student learns from the teacher"),
    ("prune, quantize", "smaller still, and INT8: the bundle"),
    ("evaluate", "all of them, and simple baselines, on days that none has seen"),
)
OF = {
    "retail": "the orders of an online shop, a year of them",
    "video": "what users of a video app watched and liked, two weeks of it",
}


def demo(
    sample: Annotated[
        str, typer.Argument(help="retail, video, or kiosk (the retail demo as a touch page).")
    ] = "retail",
    run_dir: RunDirOption = None,
    seed: SeedOption = None,
    effort: EffortOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the sample's data: edgerec/samples of the source. An installed package has none."),
    ] = None,
    ort: OrtOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="For kiosk: port on this machine; 0 takes a free one.")
    ] = (8080),
) -> None:
    """Run all stages on sample data and recommend to a user.

    Each recommended item is printed with its reasons.
    """
    if sample == KIOSK:
        _kiosk(run_dir or Path("runs") / RETAIL, seed, effort, port, data)
        return
    folder = run_dir or Path("runs") / sample
    wanted = checked_effort(effort)
    copy_sample(sample, folder, others=(KIOSK,), data=data)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    _say_what_comes(sample, folder)
    from edgerec.progress import progress_for
    from edgerec.stages import pipeline

    with gate_shown(lambda: print_report(folder)):
        pipeline.run(settings, folder, progress_for(), effort=wanted)
    print_report(folder)
    from edgerec.stages.evaluate import compare_size_and_speed
    from edgerec.stages.run import Run

    typer.echo("\n" + "\n".join(compare_size_and_speed(Run(settings, folder, progress_for())).lines()))
    _recommend_to_someone(folder)


def _say_what_comes(sample: str, folder: Path) -> None:
    """What will happen, how long it takes, and where the results will be."""
    typer.echo(f"edgerec demo {sample}: {OF[sample]}.", err=True)
    for step, what in STEPS:
        typer.echo(f"  {step:<15}  {what}", err=True)
    typer.echo(
        "Then it recommends to a user. That takes minutes; once the log is read, it says how many on this\n"
        f"machine. Results are in {folder}. Ctrl-C stops, and the same command goes on.\n",
        err=True,
    )


def _kiosk(folder: Path, seed: int | None, effort: str | None, port: int, data: Path | None) -> None:
    """The retail demo's bundle as a page, served until Ctrl-C."""
    from edgerec.progress import progress_for
    from edgerec.ship.web import embed_web, find_runtime, serve_folder
    from edgerec.stages import pipeline

    find_runtime()  # before minutes of training
    copy_sample(RETAIL, folder, data=data)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    pipeline.run(settings, folder, progress_for(), until="quantize", effort=checked_effort(effort))
    page = folder / KIOSK
    if (page / "kiosk.json").exists():  # of an earlier call
        shutil.rmtree(page)
    embed_web(folder / "bundle", page, "Gift shop", "en", None, currency="GBP")
    serve_folder(page, port, lambda url: typer.echo(f"the kiosk is on {url} (Ctrl-C stops)"))


def _recommend_to_someone(folder: Path) -> None:
    from edgerec.runtime import Recommender
    from edgerec.samples.shopper import find_shopper

    shopper = find_shopper(folder / "dataset")
    with Recommender.of(folder / "bundle") as recommender:
        typer.echo(f"\nUser {shopper.user} has {len(shopper.past.item)} events in the log; the last items:")
        for title in list(dict.fromkeys(shopper.titles[::-1]))[:5]:
            typer.echo(f"   {title}")
        retrieval = [task.name for task in recommender.bundle.manifest.tasks if task.kind == "retrieval"]
        for task in retrieval:
            best = recommender.recommend(
                k=5, weights={task: 1.0}, history=shopper.past, now=shopper.now_ms, explain=True
            )
            rows = [(place, r.title, _why(r)) for place, r in enumerate(best, 1)]
            print_table(("", "item", "because of"), rows, title=f"Recommended by the bundle for the task {task}:")


def _why(recommendation: Recommendation) -> str:
    phrases = {"again": "had before", "popular": "popular now"}
    reasons = (phrases.get(reason.kind) or reason.title or reason.item or "" for reason in recommendation.reasons[:2])
    return "; ".join(reasons)
