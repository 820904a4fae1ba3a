"""The end of a device search: the chosen bundle with all epochs, judged, and measured against the budget."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgerec.bench.measure import Measured, Target, measure, verdicts
from edgerec.bundle import Bundle
from edgerec.config import SIZES, Config
from edgerec.errors import QualityError
from edgerec.evaluation.page import write_page
from edgerec.evaluation.report import Report
from edgerec.experiments.device_search.calibrate import engine_of, made_up
from edgerec.experiments.device_search.context import SearchContext
from edgerec.experiments.device_search.expected import ExpectedCosts
from edgerec.experiments.device_search.report import Check, Limit, SearchReport, SearchTrial
from edgerec.experiments.tuning.space import applied
from edgerec.files import write_json
from edgerec.models.student import StudentSizes
from edgerec.stages import pipeline
from edgerec.stages.evaluate import seal

LENT = ("dataset", "teacher", "soft", "stages/prepare.json", "stages/train.json")
"""What the run has made and the folder of the device takes over."""


def finish(
    context: SearchContext, expected: ExpectedCosts, rows: Sequence[SearchTrial], best: SearchTrial
) -> SearchReport:
    """Make the chosen bundle, judge it, and measure it.

    Raises:
        QualityError: it exceeds the budget, as measured here.
    """
    profile, bundle = context.profile, context.folder / "bundle"
    settings = applied(context.run.config, dict(best.settings))
    make_bundle(context, settings)
    target = Target.of(profile.to_json(), profile.name)
    context.progress.say("measuring the bundle")
    measured, checked = measure_bundle(context, expected, settings, target)
    within = verdicts(measured, target)
    limits = {name: Limit(limit, value) for name, (limit, value, _) in within.items()}
    report = SearchReport(profile.name, tuple(rows), best, checked, limits, bundle)
    write_report(report, context.folder)
    add_to_evaluation(report, context.folder)
    if over := [name for name, (_, _, ok) in within.items() if not ok]:
        raise QualityError(f"{bundle}: over the budget of {profile.name}, measured here: {', '.join(over)}")
    return report


def make_bundle(context: SearchContext, settings: Config) -> None:
    """Run all stages with the chosen settings; the run's own dataset, teacher and soft labels are used."""
    run, folder, progress = context.run, context.folder, context.progress
    pipeline.run(run.config, run.folder, progress, until="train")
    for name in LENT:
        _lend(run.folder / name, folder / name, as_links=name != "soft")
    pipeline.run(settings, folder, progress, until="evaluate")
    if not (run.folder / "soft").exists():  # made once for all devices
        shutil.copytree(folder / "soft", run.folder / "soft")


def measure_bundle(
    context: SearchContext, expected: ExpectedCosts, settings: Config, target: Target
) -> tuple[Measured, dict[str, Check]]:
    """Measure the finished bundle, in turn with one whose time is known, and compare it with the cost model."""
    profile, bundle, sizes = context.profile, context.folder / "bundle", StudentSizes.of(*SIZES["std"])
    with tempfile.TemporaryDirectory() as folder:
        known, encoder = Path(folder) / "known", context.data.encoder
        work = made_up(context.untrained, encoder, profile, sizes, context.n_items, profile.kernel, known)
        measured, other = measure([bundle, known], target.threads, engine=engine_of(profile))
    other_ms = expected.model.here(work).p95_ms / expected.model.tail
    model_bytes = Bundle.open(bundle).manifest.device["work"]["model_bytes"]
    return measured, expected.checked(settings, measured, other, other_ms, model_bytes)


def write_report(report: SearchReport, folder: Path) -> None:
    """Write search.json."""
    write_json(folder / "search.json", report.to_json(), sort_keys=False)


def add_to_evaluation(report: SearchReport, folder: Path) -> None:
    """Add the search to the report of `edgerec evaluate` in `folder`, to its page and to the bundle."""
    evaluation = replace(Report.read(folder / "report"), search=report.to_json())
    evaluation.write(folder / "report")
    write_page(evaluation, folder / "report")
    seal(folder / "bundle", evaluation)


def _lend(source: Path, target: Path, as_links: bool) -> None:
    """Give the folder of the device what the run has made; `as_links` stores files once, where the disk allows it."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():  # soft labels are copied, since the stages write them; the others are only read
        shutil.copytree(source, target, copy_function=_link if as_links else shutil.copy2)
    elif source.exists():
        shutil.copy2(source, target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
