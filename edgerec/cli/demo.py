"""`edgerec demo`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerec.cli.options import EffortOption, JsonOption, OrtOption, RunDirOption, SeedOption, checked_effort, load_run
from edgerec.cli.output import print_json, print_table
from edgerec.cli.stages import gate_shown, print_report
from edgerec.files import read_json
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
    ] = 8080,
    as_json: JsonOption = False,
) -> None:
    """Run all stages on sample data and recommend to a user.

    Each recommended item is printed with its reasons.
    """
    if sample == KIOSK:
        _kiosk(run_dir or Path("runs") / RETAIL, seed, effort, port, data, as_json)
        return
    folder = run_dir or Path("runs") / sample
    wanted = checked_effort(effort)
    copy_sample(sample, folder, others=(KIOSK,), data=data)
    settings, _ = load_run(folder / "edgerec.toml", folder, seed)
    _say_what_comes(sample, folder)
    from edgerec.progress import progress_for
    from edgerec.stages import pipeline

    with gate_shown(lambda: None if as_json else print_report(folder)):
        ran = pipeline.run(settings, folder, progress_for(), effort=wanted)
    if as_json:
        print_json({"run_dir": str(folder), "ran": list(ran), **_recommendations(folder)})
        return
    print_report(folder)
    costs = read_json(folder / "report" / "report.json")["costs"]
    smaller, faster = (costs["teacher"][name] / costs["int8"][name] for name in ("bytes", "ms"))
    typer.echo(f"\nThe bundle is {smaller:,.0f} times smaller than its teacher, and {faster:,.0f} times faster.")
    _print_recommendations(_recommendations(folder))


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


def _kiosk(folder: Path, seed: int | None, effort: str | None, port: int, data: Path | None, as_json: bool) -> None:
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

    def say(url: str) -> None:
        if as_json:
            print_json({"run_dir": str(folder), "page": str(page), "url": url})
        else:
            typer.echo(f"the kiosk is on {url} (Ctrl-C stops)")

    serve_folder(page, port, say)


def _recommendations(folder: Path) -> dict[str, Any]:
    """A user of the log, what they had last, and what the bundle recommends for each task, with reasons."""
    from edgerec.runtime import Recommender
    from edgerec.samples.shopper import find_shopper

    shopper = find_shopper(folder / "dataset")
    lists = {}
    with Recommender.of(folder / "bundle") as recommender:
        for task in recommender.bundle.manifest.tasks:
            if task.kind == "retrieval":
                weights = {task.name: 1.0}
                best = recommender.recommend(
                    k=5, weights=weights, history=shopper.past, now=shopper.now_ms, explain=True
                )
                lists[task.name] = [{"item": r.item, "title": r.title, "because": _why(r)} for r in best]
    last = list(dict.fromkeys(shopper.titles[::-1]))[:5]
    return {"user": shopper.user, "events": len(shopper.past.item), "last": last, "recommendations": lists}


def _print_recommendations(of: dict[str, Any]) -> None:
    typer.echo(f"\nUser {of['user']} has {of['events']} events in the log; the last items:")
    for title in of["last"]:
        typer.echo(f"   {title}")
    for task, best in of["recommendations"].items():
        rows = [(place, row["title"], row["because"]) for place, row in enumerate(best, 1)]
        print_table(("", "item", "because of"), rows, title=f"Recommended by the bundle for the task {task}:")


def _why(recommendation: Recommendation) -> str:
    phrases = {"again": "had before", "popular": "popular now"}
    reasons = (phrases.get(reason.kind) or reason.title or reason.item or "" for reason in recommendation.reasons[:2])
    return "; ".join(reasons)
