"""The search space as Optuna's distributions, and drawn values as settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TypeAlias, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from edgerec.config import Config, Range, Scalar, Settings, coerced, grid_values
from edgerec.errors import ConfigError

Values: TypeAlias = dict[str, Scalar]
"""Settings by "section.key"."""


def distributions(config: Config) -> dict[str, BaseDistribution]:
    """What each key of the space is drawn from."""
    return {key: _distribution(config, key) for key in config.tuning.space}


def _distribution(config: Config, key: str) -> BaseDistribution:
    axis = config.tuning.space[key]
    section, _, name = key.partition(".")
    if isinstance(axis, tuple):
        return CategoricalDistribution([coerced(config.sections[section], name, value) for value in axis])
    low, high = (coerced(config.sections[section], name, value) for value in (axis.low, axis.high))
    if isinstance(low, int):
        return IntDistribution(low, high, log=axis.log, step=1 if axis.step is None else int(axis.step))
    return FloatDistribution(low, high, log=axis.log, step=axis.step)


def grid(config: Config) -> list[Values]:
    """Every point of the space; the last key changes fastest."""
    space = config.tuning.space
    axes = [grid_values(key, axis, config.sections) for key, axis in space.items()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*axes)]


def present(config: Config) -> Values | None:
    """The searched settings as they are now, or None when they lie outside the space."""
    values: Values = {}
    for key, axis in config.tuning.space.items():
        section, _, name = key.partition(".")
        value = getattr(config.sections[section], name)
        if not (_within(value, axis) if isinstance(axis, Range) else value in axis):
            return None
        values[key] = value
    return values


def _within(value: float | None, axis: Range) -> bool:
    if value is None:  # a preset decides it: there is no number to compare
        return False
    steps = 0.0 if axis.step is None else (value - axis.low) / axis.step
    return axis.low <= value <= axis.high and abs(steps - round(steps)) < 1e-8


def draw(trial: optuna.Trial, space: Mapping[str, BaseDistribution]) -> Values:
    """The settings of a trial. Numbers are rounded to four digits, so that the tried value can be read and typed."""
    return {key: _drawn(trial, key, distribution) for key, distribution in space.items()}


def _drawn(trial: optuna.Trial, key: str, d: BaseDistribution) -> Scalar:
    match d:
        case CategoricalDistribution():
            return cast(Scalar, trial.suggest_categorical(key, d.choices))
        case IntDistribution():
            return int(trial.suggest_int(key, d.low, d.high, step=d.step, log=d.log))
        case FloatDistribution():
            value = trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)
            return min(max(float(f"{value:.4g}"), d.low), d.high)
    raise AssertionError(d)


def applied(config: Config, values: Mapping[str, object]) -> Config:
    """The settings with `values` in place of their own.

    Raises:
        ConfigError: the values contradict each other.
    """
    sections: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return config.model_copy(update={name: _updated(config, name, update) for name, update in sections.items()})


def _updated(config: Config, name: str, update: dict[str, object]) -> Settings:
    section = config.sections[name]
    try:
        type(section).model_validate(section.model_dump() | update)
    except ValidationError as error:
        raise ConfigError(f"[{name}]: {error.errors()[0]['msg']}") from None
    return section.model_copy(update=update)
