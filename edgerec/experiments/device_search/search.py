"""`edgerec search`: from a device's budget to the best bundle inside it.

Each trial is a whole small bundle: a student distilled for a part of the epochs, pruned, quantized, and asked through
the runtime on the validation split. Settings whose bundle cannot fit by the cost model are never trained. The best
trial is then made again with all epochs, measured on this machine and judged as `edgerec run` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgerec.devices import load_profile
from edgerec.errors import EdgerecError, QualityError
from edgerec.experiments.device_search import calibrate
from edgerec.experiments.device_search.context import SearchContext
from edgerec.experiments.device_search.cost import Point
from edgerec.experiments.device_search.expected import Calibration, ExpectedCosts, nothing_fits
from edgerec.experiments.device_search.finish import finish, write_report
from edgerec.experiments.device_search.report import SearchReport, chosen
from edgerec.experiments.device_search.short_bundle import ShortBundles
from edgerec.experiments.device_search.space import Widths, space_of
from edgerec.experiments.device_search.study import DeviceStudy
from edgerec.experiments.tuning.space import applied
from edgerec.stages.run import Run

TRIALS = 12
"""Trials that are trained, if nothing else is asked for."""
DRAWS = 30
"""The search ends after so many trials in a row that could not be made: nothing else fits."""


def search_device(
    run: Run,
    trials: int = TRIALS,
    corrections: Sequence[Path] = (),
    widths: Widths | None = None,
    calibration: Calibration = calibrate.calibrate,
) -> SearchReport:
    """Search, finish the best bundle in ``search/DEVICE/`` of the run, and measure it.

    Goes on where an earlier call was stopped.
    Args:
        trials: how many are trained. corrections: files of `edgerec bench --save`, from the device.
        widths: that are tried. calibration: measures this machine.
    Raises:
        QualityError: nothing fits, or what was chosen turns out not to; it says what would have to change.
    """
    profile = load_profile(run.config.device)
    measured_there = [Point.read(path, profile.runtime) for path in corrections]
    context = SearchContext.of(run, profile)
    space = space_of(run.config, profile, widths)
    expected = ExpectedCosts(context, space, measured_there, calibration)
    study = DeviceStudy(context, space)
    make_trials(study, expected, ShortBundles(context), trials)
    rows = study.rows()
    best = chosen(rows)
    if best is None:
        write_report(SearchReport(profile.name, tuple(rows), None, {}, {}, context.folder / "bundle"), context.folder)
        raise QualityError(nothing_fits(context, rows))
    return finish(context, expected, rows, best)


def make_trials(study: DeviceStudy, expected: ExpectedCosts, bundles: ShortBundles, trials: int) -> None:
    """Make trials until so many are trained, or until no settings are drawn any more that could fit."""
    in_vain = 0
    while study.n_trained < trials and in_vain < DRAWS:
        in_vain = 0 if make_trial(study, expected, bundles, trials) else in_vain + 1


def make_trial(study: DeviceStudy, expected: ExpectedCosts, bundles: ShortBundles, trials: int) -> bool:
    """Draw settings and make their bundle, unless they were tried before or cannot fit; was a bundle judged?"""
    trial, values = study.ask()
    settings, progress = applied(bundles.context.trials.config, values), bundles.progress
    costs = expected.of(settings, study.other_bytes)
    study.expect(trial, costs)
    if study.tried_before(values, trial.number):
        study.skip(trial)
        return False
    if excess := expected.excess(costs):
        study.skip(trial, excess)
        return False
    listed = ", ".join(f"{key.partition('.')[2]} = {value}" for key, value in values.items())
    progress.say(f"trial {study.n_trained + 1} of {trials}: {listed}")
    try:
        bundle = bundles.judged(settings)
        costs = expected.of(settings, bundle.other_bytes)
    except EdgerecError as error:  # these settings cannot be trained; others may be
        progress.say(f"   failed: {error}")
        study.fail(trial)
        return False
    except BaseException:  # Ctrl-C, or a mistake of ours: the next call goes on
        study.fail(trial)
        raise
    study.finish(trial, bundle, costs)
    progress.say(
        f"   retains {bundle.quality:.1%} of the teacher; expected: {costs.bundle_mb:.3f} MB, {costs.p95_ms:.2f} ms"
    )
    return True
