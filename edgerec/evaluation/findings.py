"""What an evaluation found, as answers to four questions.

Is the bundle better than the best simple baseline? Does it keep its teacher? Does it fit its device? Is there enough
data to say so? An answer is "yes", "no" or "cannot tell".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

from edgerec.config import EvaluationConfig
from edgerec.devices import Profile
from edgerec.evaluation.fidelity import DIFFERENCES, RETAINED
from edgerec.metrics import Estimate, MetricTable, main_metric

__all__ = [
    "MIN_UNITS",
    "NOT_SIMPLE",
    "AgainstBaseline",
    "AgainstTeacher",
    "DeviceCost",
    "Findings",
    "against_baselines",
    "baseline_failures",
    "device_costs",
    "keeps_teacher",
]

Answer = Literal["yes", "no", "cannot tell"]
Word = Literal["ship", "wait", "stop"]
_Kind = TypeVar("_Kind")

MIN_UNITS = 100
"""Requests, sessions or users below which nothing is said: a standard error of so few is itself a guess."""
SIGMAS, POWER_SIGMAS = 1.96, 2.8
"""Standard errors of half a 95 % interval, and of the smallest difference that four tests in five would have seen."""
ONE_SIDED = 1.645
WORTH_SEEING = 0.05
"""Where a difference of this part of the baseline's metric, above chance, would have been seen, none is an answer."""
NOT_SIMPLE = ("boosting", "popularity_now")
"""Shown beside the baselines: boosted trees are part of the teacher and too large for a device, and "now" is later than
the models know."""


@dataclass(frozen=True)
class AgainstBaseline:
    """One task's main metric beside that of its best simple baseline, on the same requests or rows.

    Attributes:
        settings: of the baseline, which valid chose.
        interval: of the difference, 95 %.
        n: independent requests, sessions or users.
        smallest: the smallest difference that could have been seen, with 80 % power.
        answer: is the bundle better?
        shown: whether the answer is beyond chance; false with "no" means that no difference was seen where one worth
            having would have been.
    """

    metric: str
    value: float
    baseline: str
    settings: str
    of_baseline: float
    difference: float
    interval: tuple[float, float]
    n: int
    smallest: float
    answer: Answer
    shown: bool = True

    @property
    def named(self) -> str:
        """The baseline and its settings."""
        return f"{self.baseline.replace('_', ' ')} ({self.settings})" if self.settings else self.baseline

    def __str__(self) -> str:
        """With all figures."""
        low, high = self.interval
        what = f"{self.metric} {self.value:.4f} against {self.of_baseline:.4f} of {self.named}"
        if not math.isfinite(low):
            return f"{self.answer}, {what}"
        return f"{self.answer}, {what}: {self.difference:+.4f} ({low:+.4f} to {high:+.4f})"


@dataclass(frozen=True)
class AgainstTeacher:
    """What a task retains of its teacher's metric ("retained"), or the difference in "auc" or "xauc", and the gate."""

    measure: str
    value: float
    interval: tuple[float, float]
    gate: float
    answer: Answer

    def __str__(self) -> str:
        """With the gate."""
        if self.measure == RETAINED:
            return f"{self.answer}, {self.value:.1%} (the gate is {self.gate:.0%})"
        return f"{self.answer}, {self.measure} {self.value:+.4f} (the gate is {self.gate:+g})"


@dataclass(frozen=True)
class DeviceCost:
    """A cost of the bundle and its device's limit; `here`: measured on the machine that evaluates."""

    what: str
    value: float
    limit: float
    here: bool

    @property
    def kept(self) -> bool:
        """Is it within the limit?"""
        return self.value <= self.limit

    def __str__(self) -> str:
        """With both figures."""
        return f"{self.value:,.3g} of {self.limit:g} {self.what}{' on this machine' if self.here else ''}"


@dataclass(frozen=True)
class Findings:
    """The answers, by task.

    Attributes:
        failures: the gates that are broken, one line each.
        fallback: by task, what ranks it in place of the student.
    """

    baseline: Mapping[str, AgainstBaseline] = field(default_factory=dict)
    teacher: Mapping[str, AgainstTeacher] = field(default_factory=dict)
    device: str = ""
    costs: tuple[DeviceCost, ...] = ()
    failures: tuple[str, ...] = ()
    fallback: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> Word:
        """stop: a gate is broken. wait: no task is surely better, or a cost is over the budget here. ship: otherwise.

        A task of which nothing can be said does not hold back a bundle that is better on another one, unless it looks
        worse.
        """
        if self.failures:
            return "stop"
        answers = self.baseline.values()
        unclear = [a for a in answers if a.answer == "cannot tell" and not a.difference > 0]
        better = any(a.answer == "yes" for a in answers)
        return "ship" if better and not unclear and all(cost.kept for cost in self.costs) else "wait"

    def lines(self) -> Iterator[str]:
        """The broken gates, then the four answers with their figures."""
        yield from self.failures
        if not self.baseline:
            yield "better than the best simple baseline? cannot tell: no task was compared with one"
        for task, against in self.baseline.items():
            yield f"{task}: better than the best simple baseline? {against}"
        for task, by in self.fallback.items():
            yield f"{task}: {by}"
        if self.teacher:
            yield f"keeps its teacher? {'; '.join(f'{task} {kept}' for task, kept in self.teacher.items())}"
        if self.costs:
            answer = "yes" if all(cost.kept for cost in self.costs) else "no"
            yield f"fits {self.device}? {answer}: {', '.join(str(cost) for cost in self.costs)}"
        if self.baseline:
            enough = "; ".join(f"{task} {_enough(against)}" for task, against in self.baseline.items())
            yield f"enough data? {enough}"

    def to_json(self) -> dict[str, Any]:
        """The verdict in report.json; figures that are not finite are null."""
        data = {
            task: {"n": a.n, "smallest": a.smallest, "enough": a.answer != "cannot tell"}
            for task, a in self.baseline.items()
        }
        parts = {
            "baseline": {task: asdict(a) for task, a in self.baseline.items()},
            "teacher": {task: asdict(a) for task, a in self.teacher.items()},
            "device": {"name": self.device, "costs": [{**asdict(c), "kept": c.kept} for c in self.costs]},
            "data": data,
            "fallback": dict(self.fallback),
        }
        plain: dict[str, Any] = _plain(parts)
        return {"word": self.word, "because": list(self.lines()), **plain}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], failures: Sequence[str]) -> Findings:
        """What `to_json` gave; `failures` are those of the report."""

        def read(kind: type[_Kind], of: Mapping[str, Any]) -> _Kind:
            known: dict[str, Any] = {name: math.nan if value is None else value for name, value in of.items()}
            if "interval" in known:
                known["interval"] = tuple(math.nan if end is None else end for end in known["interval"])
            return kind(**known)

        device = values.get("device", {})
        costs = ({k: v for k, v in cost.items() if k != "kept"} for cost in device.get("costs", ()))
        return cls(
            {task: read(AgainstBaseline, of) for task, of in values.get("baseline", {}).items()},
            {task: read(AgainstTeacher, of) for task, of in values.get("teacher", {}).items()},
            device.get("name", ""),
            tuple(read(DeviceCost, cost) for cost in costs),
            tuple(failures),
            values.get("fallback", {}),
        )

    def without_times(self) -> Findings:
        """Without what differs from machine to machine."""
        costs = tuple(cost for cost in self.costs if not cost.here)
        return replace(self, costs=costs)


def _enough(of: AgainstBaseline) -> str:
    if of.n < MIN_UNITS:
        return f"cannot tell: {of.n:,} requests, sessions or users are too few, {MIN_UNITS} are needed"
    seen = f", a difference of {of.smallest:.4f} would have been seen" if math.isfinite(of.smallest) else ""
    return f"{'cannot tell' if of.answer == 'cannot tell' else 'yes'} (n = {of.n:,}{seen})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ------------------------------------------------------------------------------------------------ answers


def against_baselines(
    table: MetricTable, baselines: Mapping[str, Mapping[str, str]], units: Mapping[str, int]
) -> dict[str, AgainstBaseline]:
    """By task, the bundle beside the simple baseline with the best metric.

    Taking the best on the evaluated part itself favours the baseline, never the bundle.
    Args:
        table: metrics; "int8" is the bundle. baselines: settings by baseline and task.
        units: independent users of a task, where the rows of one user are not independent; else n of the metric.
    """
    found = {}
    for task, values in table.get("int8", {}).items():
        metric = main_metric(values)
        rivals = {
            name: table[name][task][metric]
            for name, of in baselines.items()
            if metric is not None and task in of and name not in NOT_SIMPLE and metric in table[name][task]
        }
        rivals = {name: estimate for name, estimate in rivals.items() if math.isfinite(estimate.value)}
        if metric is not None and rivals:
            best = max(rivals, key=lambda name: rivals[name].value)
            n = units.get(task, values[metric].n)
            found[task] = _compared(metric, values[metric], best, baselines[best][task], rivals[best], n)
    return found


def _compared(
    metric: str, value: Estimate, baseline: str, settings: str, of_baseline: Estimate, n: int
) -> AgainstBaseline:
    difference = value.minus(of_baseline)
    low, high = _interval(difference)
    smallest = POWER_SIGMAS * difference.se
    chance = 0.5 if metric in ("auc", "xauc") else 0.0
    answer: Answer = "cannot tell"
    shown = False
    if n >= MIN_UNITS and math.isfinite(low):
        shown = low > 0 or high < 0
        if shown:
            answer = "yes" if low > 0 else "no"
        elif smallest <= WORTH_SEEING * (of_baseline.value - chance):
            answer = "no"
    return AgainstBaseline(
        metric, value.value, baseline, settings, of_baseline.value, difference.value, (low, high), n, smallest,
        answer, shown,
    )  # fmt: skip


def baseline_failures(found: Mapping[str, AgainstBaseline]) -> list[str]:
    """A line for each task that is worse than its best simple baseline beyond chance.

    Where no task is better, also one for each that is as good, and could have been seen to be better.
    """
    better = any(against.answer == "yes" for against in found.values())
    return [
        f"{task}: not better than {a.named}: {a.metric} {a.value:.4f} against {a.of_baseline:.4f}, "
        f"{a.difference:+.4f} ({a.interval[0]:+.4f} to {a.interval[1]:+.4f}, n = {a.n:,}); do not ship for this reason"
        for task, a in found.items()
        if a.answer == "no" and (a.shown or not better)
    ]


def keeps_teacher(
    of_teacher: Mapping[str, Mapping[str, Estimate]], gates: EvaluationConfig
) -> dict[str, AgainstTeacher]:
    """By task, what the bundle retains of its teacher; `of_teacher` is "int8 ~ teacher" of the fidelity."""
    found = {}
    limits = {RETAINED: gates.min_ndcg_retained, **dict.fromkeys(DIFFERENCES.values(), -gates.max_auc_drop)}
    for task, values in of_teacher.items():
        for measure, gate in limits.items():
            estimate = values.get(measure)
            if estimate is None or not math.isfinite(estimate.value):
                continue
            error = ONE_SIDED * estimate.se
            answer: Answer = "cannot tell"
            if math.isfinite(error) and estimate.value + error < gate:
                answer = "no"
            elif estimate.n >= MIN_UNITS and math.isfinite(error) and estimate.value - error >= gate:
                answer = "yes"
            found[task] = AgainstTeacher(measure, estimate.value, _interval(estimate), gate, answer)
    return found


def _interval(estimate: Estimate) -> tuple[float, float]:
    half = SIGMAS * estimate.se
    return (estimate.value - half, estimate.value + half) if math.isfinite(half) else (math.nan, math.nan)


def device_costs(of_bundle: Mapping[str, float], device: Profile) -> Iterator[DeviceCost]:
    """The bundle's "bytes", "mb" and "ms" (see `edgerec.evaluation.costs`) beside the limits of its device."""
    budget = device.budget
    for key, what, unit, limit in (
        ("bytes", "MB of graphs and weights", 1e-6, budget.bundle_mb),
        ("mb", "MB of memory", 1.0, budget.peak_ram_mb),
        ("ms", "ms per request", 1.0, budget.p95_ms),
    ):
        if key in of_bundle:
            yield DeviceCost(what, of_bundle[key] * unit, limit.limit, here=key != "bytes")
