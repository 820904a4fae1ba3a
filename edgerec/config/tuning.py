"""`[tuning]` and `[tuning.space]`: which settings are searched, how, and by which metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, PositiveFloat, TypeAdapter, ValidationError, field_validator, model_validator

from edgerec.config.base import Settings, hint, problem
from edgerec.config.messages import expectation
from edgerec.config.tasks import TaskConfig

Scalar: TypeAlias = bool | int | float | str
MAX_GRID = 10_000
"""Most points of a grid; more is a mistake, or needs another sampler."""
_SEARCHED = {
    "teacher": ("teacher.", "training.", "student.max_history"),
    "student": ("student.", "distillation.", "training."),
}
"""By stage: prefixes of the keys that can be searched. Other settings have no effect on its trials."""
_LOWER_IS_BETTER = ("mae", "logloss", "ece")


class Range(Settings):
    """A range of numbers; whole numbers for a setting that takes these."""

    low: int | float
    """Smallest value."""
    high: int | float
    """Largest value, included."""
    log: bool = False
    """Sample uniformly in the logarithm."""
    step: int | float | None = None
    """Only low, low + step, ...; None: every number, or every whole one."""


class TuningConfig(Settings):
    """The hyperparameter search of `edgerec tune`. It evaluates on valid, never on test."""

    stage: Literal["teacher", "student"] = "teacher"
    """What a trial trains. teacher: one network, without the ensemble; student: a student of a finished teacher."""
    metric: dict[str, PositiveFloat] = Field(default_factory=dict)
    """The objective: "task.metric" such as "next.ndcg@10", or a weighted sum of several, such as
    { "next.ndcg@10" = 1.0, "new.ndcg@10" = 0.5 }. Default: ndcg, auc, xauc or capped_recall of the first task."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """How trials are chosen: tpe: tree-structured Parzen estimator; random: at random; grid: all points."""
    trials: int | None = Field(None, ge=1)
    """Number of trials; default: 20. A grid tries all its points."""
    pruner: Literal["median", "none"] = "median"
    """median: a trial ends early if its validation loss is worse than the median of the trials at that epoch."""
    workers: int = Field(1, ge=1)
    """Trials at a time, each in a process with an equal part of the cores."""
    minutes: PositiveFloat | None = None
    """Minutes of wall-clock time after which no trial is started; running trials are finished. None: no limit."""
    space: dict[str, tuple[Scalar, ...] | Range] = Field(default_factory=dict)
    """What is searched: by "section.key", a list of values, or { low, high, log, step }."""

    @field_validator("metric", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return {value: 1.0} if isinstance(value, str) else value

    @field_validator("space", mode="before")
    @classmethod
    def _read_space(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise problem('expected a table such as "teacher.dropout" = [0.1, 0.2]')
        return {key: _read_axis(key, given) for key, given in _flat(value)}

    @model_validator(mode="after")
    def _grid_has_its_own_number(self) -> Self:
        if self.sampler == "grid" and self.trials is not None:
            raise problem("a grid tries all its points; leave trials out, or change the sampler")
        return self

    def judged_by(self, tasks: Sequence[TaskConfig], k: Sequence[int]) -> dict[str, float]:
        """The weight of each metric of the objective, its default filled in; `k` as in `[evaluation]`."""
        kind = {"retrieval": f"ndcg@{k[0]}", "binary": "auc", "regression": "xauc", "related": "capped_recall@10"}
        return dict(self.metric) or {f"{tasks[0].name}.{kind[tasks[0].kind]}": 1.0}


def lower_is_better(metric: str) -> bool:
    """Is a smaller value of "task.metric" the better one?"""
    return metric.rpartition(".")[2] in _LOWER_IS_BETTER


def judged_metrics(tasks: Sequence[TaskConfig], k: Sequence[int]) -> list[str]:
    """Every "task.metric" that the evaluation gives for these tasks."""
    ranking = [f"{name}@{cut}" for cut in k for name in ("ndcg", "recall", "capped_recall", "hit", "map", "coverage")]
    metrics: list[str] = []
    for task in tasks:
        match task.kind:
            case "retrieval":
                metrics += [f"{task.name}.{name}" for name in [*ranking, "mrr"]]
                if task.repeats == "allow":
                    metrics += [f"{task.name}_again.{name}" for name in ("auc", "gauc")]
            case "binary":
                metrics += [f"{task.name}.{name}" for name in ("auc", "gauc", "logloss", "ece")]
            case "regression":
                metrics += [f"{task.name}.{name}" for name in ("mae", "xauc")]
            case "related":
                metrics += [f"{task.name}.{name}@10" for name in ("recall", "capped_recall", "hit")]
    return metrics


def check_tuning(
    tuning: TuningConfig, sections: Mapping[str, Settings], tasks: Sequence[TaskConfig], k: Sequence[int]
) -> None:
    """Refuse a search that does not fit the settings, before it starts.

    Args:
        sections: the settings by name, with their current values. k: as in `[evaluation]`.
    Raises:
        PydanticCustomError: a key is unknown or has no effect, a value is not valid for its key, or the tasks have no
            such metric.
    """
    _check_metrics(tuning, judged_metrics(tasks, k))
    for key, axis in tuning.space.items():
        section = _section_of(key, tuning.stage, sections)
        _check_axis(key, axis, section)
    if tuning.sampler == "grid":
        points = math.prod(len(grid_values(key, axis, sections)) for key, axis in tuning.space.items())
        if points > MAX_GRID:
            raise problem(f'[tuning.space] the grid has {points:,} points; name fewer values, or set sampler = "tpe"')


def coerced(section: Settings, key: str, value: Scalar) -> Any:
    """`value` in the type of the setting `key` of `section`: 1 becomes 1.0 for a float.

    Raises:
        ValidationError: the setting does not take it.
    """
    # Only this field: a check across settings needs the other values of a trial.
    field = type(section).model_fields[key]
    annotation: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotation).validate_python(value)


def grid_values(key: str, axis: tuple[Scalar, ...] | Range, sections: Mapping[str, Settings]) -> list[Scalar]:
    """Every value of an axis, in the type of its setting.

    Raises:
        PydanticCustomError: there are infinitely many.
    """
    section, _, name = key.partition(".")
    if isinstance(axis, tuple):
        return [coerced(sections[section], name, value) for value in axis]
    low, high = (coerced(sections[section], name, value) for value in (axis.low, axis.high))
    step = axis.step if axis.step is not None or isinstance(low, float) else 1
    if step is None:
        raise problem(f"[tuning.space] {key}: a grid needs a list of values, or a step")
    n = math.floor((high - low) / step + 1e-9) + 1
    return [int(low + i * step) if isinstance(low, int) else float(f"{low + i * step:.12g}") for i in range(n)]


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with their dots, whether "teacher.dropout" was quoted in the file or not (then TOML nests it)."""
    for key, given in table.items():
        if isinstance(given, dict) and any(isinstance(inner, dict | list) for inner in given.values()):
            yield from _flat(given, f"{before}{key}.")
        else:
            yield before + key, given


def _read_axis(key: str, given: Any) -> tuple[Scalar, ...] | Range:
    if isinstance(given, Range):
        return given
    if isinstance(given, dict):
        for name in given:
            if name not in Range.model_fields:
                raise problem(f"{key} has no key {name!r}{hint(name, Range.model_fields)}")
        try:
            return Range.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise problem(f"{key} {first['loc'][0]}: {expectation(first)}") from None
    values = list(given) if isinstance(given, list | tuple) else []
    if not values or not all(isinstance(value, bool | int | float | str) for value in values):
        raise problem(f"{key}: expected a list of values, or {{ low = ..., high = ... }}, got {given!r}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise problem(f"{key}: a value is listed twice, got {given!r}")
    return tuple(values)


def _section_of(key: str, stage: str, sections: Mapping[str, Settings]) -> Settings:
    known = {f"{name}.{field}": section for name, section in sections.items() for field in type(section).model_fields}
    searched = [name for name in known if name.startswith(_SEARCHED[stage])]
    if key in searched:
        return known[key]
    if key in known:
        raise problem(
            f"[tuning.space] {key} changes nothing in a trial of stage = {stage!r}; "
            f"its keys are {', '.join(f'{name}*' if name.endswith('.') else name for name in _SEARCHED[stage])}"
        )
    raise problem(f"[tuning.space] no setting is called {key!r}{hint(key, searched)}")


def _check_axis(key: str, axis: tuple[Scalar, ...] | Range, section: Settings) -> None:
    name = key.partition(".")[2]
    ends = [axis.low, axis.high] if isinstance(axis, Range) else list(axis)
    try:
        taken = [coerced(section, name, value) for value in ends]
    except ValidationError as error:
        raise problem(f"[tuning.space] {key}: {expectation(error.errors()[0])}") from None
    if not isinstance(axis, Range):
        return
    low, high = taken
    if isinstance(low, bool) or not isinstance(low, int | float):
        raise problem(f"[tuning.space] {key} is not a number; list its values")
    if low >= high:
        raise problem(f"[tuning.space] {key}: expected low below high, got {low} and {high}")
    if axis.log and axis.step is not None:
        raise problem(f"[tuning.space] {key}: log and step exclude each other; leave one out")
    if axis.log and low <= 0:
        raise problem(f"[tuning.space] {key}: log needs low above 0, got {low}")
    if axis.step is not None and not 0 < axis.step <= high - low:
        raise problem(f"[tuning.space] {key}: expected a step above 0 and within the range, got {axis.step}")
    if axis.step is not None and isinstance(low, int) and not float(axis.step).is_integer():
        raise problem(f"[tuning.space] {key} counts: expected a whole step, got {axis.step}")


def _check_metrics(tuning: TuningConfig, known: Sequence[str]) -> None:
    for name in tuning.metric:
        if name not in known:
            raise problem(f"[tuning] metric: the tasks have no {name!r}{hint(name, known)}")
    if len({lower_is_better(name) for name in tuning.metric}) > 1:
        raise problem("[tuning] metric: some of them are better when higher, some when lower; use only one kind")
