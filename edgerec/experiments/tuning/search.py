"""`edgerec tune`: from the settings to a finished study."""

from __future__ import annotations

import time
from pathlib import Path

from edgerec.config import Config, TrainingConfig
from edgerec.errors import ConfigError, EdgerecError
from edgerec.experiments.tuning.report import TuningReport, report_of, write_report
from edgerec.experiments.tuning.space import present
from edgerec.experiments.tuning.study import Search, Study, alone
from edgerec.experiments.tuning.worker import make_trials, run_workers
from edgerec.progress import Progress
from edgerec.stages import pipeline

POLL_S = 2.0
"""Between looks at the trials of other workers."""


def tune(config: Config, run_dir: Path, progress: Progress, workers: int | None = None) -> TuningReport:
    """Make the trials that the study of these settings still lacks, and write what it found to ``tuning/``.

    Several calls may run at once, on one machine or on several that share the folder.
    Args:
        workers: in place of `[tuning] workers`.
    Raises:
        ConfigError: there is nothing to search.
        EdgerecError: every trial failed, or a worker did.
    """
    if not config.tuning.space:
        raise ConfigError(
            'there is no [tuning.space]; add what to search, such as "teacher.dropout" = [0.1, 0.2, 0.4] below it'
        )
    minutes = config.tuning.minutes
    deadline = None if minutes is None else time.time() + 60 * minutes
    config = on_valid(config)
    one = config.model_copy(update={"training": on_one_device(config)})
    folder = run_dir / "tuning"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, "prepare"):
        base = _base(config, run_dir, progress)
    progress.stage("Searching settings")
    study = Study(Search(one, base, folder))
    _say_what_is_to_be_done(study, progress)
    _make_all(study, workers or config.tuning.workers, deadline, progress)
    report = report_of(study)
    _refuse_failure(report)
    for path in write_report(report, config, folder):
        progress.say(f"written: {path}")
    return report


def on_valid(config: Config) -> Config:
    """The settings with nothing learned from the valid part, and all judged on it."""
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"part": "valid"})})


def on_one_device(config: Config) -> TrainingConfig:
    """How a trial is trained: several devices are for several workers."""
    return config.training.model_copy(update={"devices": 1, "num_nodes": 1, "strategy": "auto"})


def _base(config: Config, run_dir: Path, progress: Progress) -> Path:
    """The run that trials read: this one's dataset; for a student also a teacher that did not learn from valid."""
    if config.tuning.stage == "teacher":
        pipeline.run(config, run_dir, progress, until="prepare")
        return run_dir
    return taught_on_train(config, run_dir, progress)


def taught_on_train(config: Config, run_dir: Path, progress: Progress) -> Path:
    """A run whose teacher did not learn from the valid part: this one, or one that is made for it once."""
    if all(pipeline.is_fresh(pipeline.stage_named(name), config, run_dir) for name in ("prepare", "train")):
        return run_dir
    base = run_dir / "tuning" / "base"
    progress.say(f"the student needs a teacher that did not learn from the valid part: made once, in {base}")
    pipeline.run(config, base, progress, until="train")
    return base


def _say_what_is_to_be_done(study: Study, progress: Progress) -> None:
    search = study.search
    progress.say(f"decided by {search.metric_name} on the valid part; the test part is not looked at")
    n, (free, running) = len(search.wanted()), study.left()
    if free == n and study.others:
        progress.say(f"settings, data or space are not those of an earlier search, so study {search.name} begins anew")
    elif not free and not running:
        more = "" if search.config.tuning.sampler == "grid" else "; raise [tuning] trials for more"
        progress.say(f"the study is finished: all {n} trials are made{more}")
    elif free < n:
        progress.say(f"study {search.name} goes on: {n - free - running} of {n} trials are made, {running} running")
    if present(search.config) is None and search.config.tuning.sampler != "grid":
        progress.say("the settings of now lie outside the space, so they are not among the trials")


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
                raise EdgerecError("the workers ended without making a trial; what they said stands above")
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
