"""`edgerec tune`: from the settings to a finished study."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from edgerec.config import Config, TrainingConfig
from edgerec.errors import ConfigError, EdgerecError
from edgerec.experiments.tuning.report import TuningReport, report_of, write_report
from edgerec.experiments.tuning.space import present
from edgerec.experiments.tuning.study import Search, Study, alone
from edgerec.experiments.tuning.worker import make_trials, run_workers
from edgerec.progress import Progress
from edgerec.stages import pipeline
from edgerec.stages.run import Run

POLL_S = 2.0
"""Seconds between two looks at the trials of other workers."""


def tune(run: Run, workers: int | None = None) -> TuningReport:
    """Make the trials that the study of these settings still lacks, and write the results to ``tuning/`` of the run.

    Several calls may run at once, on one machine or on several that share the folder.
    Args:
        workers: replaces `[tuning] workers`.
    Raises:
        ConfigError: there is nothing to search.
        EdgerecError: every trial failed, or a worker did.
    """
    tuning, progress = run.config.tuning, run.progress
    if not tuning.space:
        raise ConfigError(
            'there is no [tuning.space]; add what to search, such as "teacher.dropout" = [0.1, 0.2, 0.4] below it'
        )
    deadline = None if tuning.minutes is None else time.time() + 60 * tuning.minutes
    config = on_valid(run.config)
    folder = run.folder / "tuning"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, "prepare"):
        base = _base(replace(run, asked=config))
    progress.headline("Searching settings")
    study = Study(Search(config.model_copy(update={"training": on_one_device(config)}), base, folder))
    _say_what_is_to_be_done(study, progress)
    _make_all(study, workers or tuning.workers, deadline, progress)
    report = report_of(study)
    _refuse_failure(report)
    for path in write_report(report, config, folder):
        progress.say(f"written: {path}")
    return report


def on_valid(config: Config) -> Config:
    """The same settings, but nothing is learned from the validation split, and all is judged on it."""
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"part": "valid"})})


def on_one_device(config: Config) -> TrainingConfig:
    """A trial is trained on one device: several devices serve several workers."""
    return config.training.model_copy(update={"devices": 1, "num_nodes": 1, "strategy": "auto"})


def _base(run: Run) -> Path:
    """The run that trials read: its dataset, and for a student also a teacher that did not learn from valid."""
    if run.config.tuning.stage == "teacher":
        pipeline.run(run.config, run.folder, run.progress, until="prepare")
        return run.folder
    return taught_on_train(run)


def taught_on_train(run: Run) -> Path:
    """Folder of a run whose teacher did not learn from the validation split: this run, or one that is made once."""
    stages = (pipeline.stage_named(name) for name in ("prepare", "train"))
    if all(pipeline.is_fresh(stage, run.config, run.folder) for stage in stages):
        return run.folder
    base = run.folder / "tuning" / "base"
    run.progress.say(f"the student needs a teacher that did not learn from the validation split: made once, in {base}")
    pipeline.run(run.config, base, run.progress, until="train")
    return base


def _say_what_is_to_be_done(study: Study, progress: Progress) -> None:
    search = study.search
    progress.say(f"decided by {search.metric_name} on the validation split; the test split is not read")
    n, (free, running) = len(search.wanted()), study.left()
    if free == n and study.others:
        progress.say(
            f"settings, data or space differ from those of the earlier search, so study {search.name} begins anew"
        )
    elif not free and not running:
        more = "" if search.config.tuning.sampler == "grid" else "; raise [tuning] trials for more"
        progress.say(f"the study is finished: all {n} trials are made{more}")
    elif free < n:
        progress.say(f"study {search.name} goes on: {n - free - running} of {n} trials are made, {running} running")
    if present(search.config) is None and search.config.tuning.sampler != "grid":
        progress.say("the current settings lie outside the space, so they are not among the trials")


def _make_all(study: Study, workers: int, deadline: float | None, progress: Progress) -> None:
    while deadline is None or time.time() < deadline:
        free, running = study.left()
        if free and workers == 1:
            make_trials(study, progress, deadline)
        elif free:
            codes = run_workers(study.search, min(workers, free), deadline)
            if 130 in codes or -2 in codes:
                raise KeyboardInterrupt
            if any(codes) and study.left()[0] >= free:
                raise EdgerecError("the workers ended without making a trial; see their messages above")
        elif running:
            time.sleep(POLL_S)
        else:
            return
    progress.say("the time is up; the same command goes on")


def _refuse_failure(report: TuningReport) -> None:
    failed = [row for row in report.trials if row.state in ("failed", "died")]
    if failed and report.best is None and not report.missing:
        why = failed[-1].why or "its process died again and again"
        raise EdgerecError(f"no trial was finished; the last one failed: {why}")
