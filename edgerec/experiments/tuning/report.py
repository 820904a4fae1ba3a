"""The result of a search: its trials in order, the importance of settings, and the best settings ready to paste."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from edgerec.config import Config
from edgerec.experiments.tuning.space import Values, present
from edgerec.experiments.tuning.study import Study
from edgerec.files import write_json

LEAST_FOR_IMPORTANCE = 4
"""With fewer finished trials no importance is computed."""
ROWS = 20
"""Trials on the screen."""
_ORDER = ("done", "ended early", "failed", "died", "running", "open")


@dataclass(frozen=True)
class TrialRow:
    """One setting that was tried.

    Attributes:
        trial: 1, 2, ...
        state: done; ended early (by the pruner); failed (see `why`); died (too often); running; or open (cut off, the
            next call makes it again).
        value: the figure that decides. se: its standard error, where it is known.
        losses: the validation loss of the tasks that decide, after each epoch that this process saw.
    """

    trial: int
    state: str
    value: float | None
    se: float | None
    seconds: float | None
    settings: Values
    why: str | None
    losses: dict[str, float]
    metrics: dict[str, dict[str, float | None]] = field(repr=False)


@dataclass(frozen=True)
class TuningReport:
    """A search as far as it is.

    Attributes:
        study: its name in study.db. metric: the one that decides. higher_is_better: whether a higher value is better.
        trials: the best first, then those that were not finished.
        importance: share of the metric's variance over the space that each key explains (fANOVA); empty when too few
            trials are done.
        now: the trial with the current settings, if there is one. missing: number of trials still to be made.
    """

    study: str
    metric: str
    higher_is_better: bool
    trials: list[TrialRow]
    importance: dict[str, float]
    now: int | None
    missing: int

    @property
    def best(self) -> TrialRow | None:
        """The best finished trial."""
        return self.trials[0] if self.trials and self.trials[0].state == "done" else None

    @property
    def baseline(self) -> TrialRow | None:
        """The finished trial with the current settings."""
        return next((row for row in self.trials if row.trial == self.now and row.state == "done"), None)

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows for the screen."""
        keys = list(dict.fromkeys(key for row in self.trials for key in row.settings))
        rows = []
        for row in self.trials[:ROWS]:
            name = f"{row.trial} (now)" if row.trial == self.now else str(row.trial)
            seconds = None if row.seconds is None else round(row.seconds)
            outcome: list[object] = [name, row.state, row.value, row.se, seconds]
            rows.append([*outcome, *(row.settings.get(key) for key in keys)])
        return ["trial", "state", self.metric, "se", "s", *keys], rows

    def to_json(self) -> dict[str, object]:
        """For programs."""
        best = self.best
        return {**asdict(self), "best": None if best is None else asdict(best)}


def report_of(study: Study) -> TuningReport:
    """The report of the trials made so far."""
    search = study.search
    rows = [_row(slot, trial, study) for slot, trial in sorted(study.latest().items())]
    worst = -math.inf
    rows.sort(key=lambda r: (_ORDER.index(r.state), -search.sign * (worst if r.value is None else r.value), r.trial))
    grid = search.config.tuning.sampler == "grid"
    now = present(search.config)
    is_now = (r.trial for r in rows if now is not None and ((r.settings == now) if grid else r.trial == 1))
    return TuningReport(
        study=search.name,
        metric=search.metric_name,
        higher_is_better=search.sign > 0,
        trials=rows,
        importance=_importance(study),
        now=next(is_now, None),
        missing=study.left()[0],
    )


def best_toml(report: TuningReport, config: Config) -> str:
    """The best settings as a part of edgerec.toml, with the current values; empty without a finished trial."""
    best, baseline = report.best, report.baseline
    if best is None:
        return ""
    done = sum(row.state == "done" for row in report.trials)
    lines = [
        f"# {report.metric} = {_figure(best)} on valid: trial {best.trial}, the best of {done} finished ones.",
        "# It was chosen by this figure, so the figure is optimistic; edgerec evaluate judges on the test split.",
    ]
    if baseline is best:
        lines.append("# These are the current settings.")
    elif baseline is not None:
        lines.append(f"# With the current settings: {_figure(baseline)}.")
        assert best.value is not None and baseline.value is not None
        if best.se is not None and abs(best.value - baseline.value) < best.se:
            lines.append("# The difference is smaller than one standard error: it may be chance.")
    sections: dict[str, list[str]] = {}
    for key, value in best.settings.items():
        section, _, name = key.partition(".")
        now = getattr(config.sections[section], name)
        before = "" if now == value else f"  # now {'not set' if now is None else json.dumps(now)}"
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value, ensure_ascii=False)}{before}")
    for section, settings in sections.items():
        lines += ["", f"[{section}]", *settings]
    return "\n".join(lines) + "\n"


def write_report(report: TuningReport, config: Config, folder: Path) -> list[Path]:
    """Write trials.json and, where trials are finished, best.toml and the plots.

    Returns:
        The files that were written.
    """
    from edgerec.experiments.tuning.plots import plot_history, plot_importance

    trials = folder / "trials.json"
    write_json(trials, report.to_json(), sort_keys=False, ensure_ascii=False)
    written = [trials]
    if report.best is not None:
        best = folder / "best.toml"
        best.write_text(best_toml(report, config), encoding="utf-8")
        written += [best, plot_history(report, folder / "history.png")]
    if report.importance:
        written.append(plot_importance(report, folder / "importance.png"))
    return written


def _figure(row: TrialRow) -> str:
    return f"{row.value:.4f}" + ("" if row.se is None else f" (standard error {row.se:.4f})")


def _row(slot: int, trial: FrozenTrial, study: Study) -> TrialRow:
    outcome: Mapping[str, Any] = trial.user_attrs.get("found", {})
    return TrialRow(
        trial=slot + 1,
        state=_state(trial, study),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        se=outcome.get("se"),
        seconds=outcome.get("seconds"),
        settings=trial.user_attrs.get("settings", {}),
        why=trial.user_attrs.get("why"),
        losses=outcome.get("losses", {}),
        metrics=outcome.get("metrics", {}),
    )


def _state(trial: FrozenTrial, study: Study) -> str:
    match trial.state:
        case TrialState.COMPLETE:
            return "done"
        case TrialState.PRUNED:
            return "ended early"
        case _ if "why" in trial.user_attrs:
            return "failed"
        case _ if study.is_alive(trial):
            return "running"
        case _ if study.is_open(trial) or trial.state == TrialState.WAITING:
            return "open"
    return "died"


def _importance(study: Study) -> dict[str, float]:
    done: Sequence[FrozenTrial] = study.trials(TrialState.COMPLETE)
    if len(done) < LEAST_FOR_IMPORTANCE or len({trial.value for trial in done}) == 1:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=study.search.config.seed)
    shares = optuna.importance.get_param_importances(study.optuna, evaluator=evaluator)
    return {key: float(share) for key, share in shares.items()}
