"""``[policy]``: what lists are made of beside scores; it becomes the bundle's policy.json.

Conditions are checked against the catalogue when the bundle is built.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from edgerec.config.base import Settings

Condition = str
"""Over the catalogue's columns, such as "price < 20 AND brand = 'ours'"; see edgerec/bundle/conditions.py."""


class RuleConfig(Settings):
    """Items that `keep` is not true for are never shown."""

    name: str = Field(min_length=1)
    """Told for each item that it removes."""
    keep: Condition
    """May use :now, the request's time in milliseconds, and the names of context and user columns, as in
    "until IS NULL OR until > :now"."""


class BoostConfig(Settings):
    """Items that `where` is true for count more, or less."""

    name: str = Field(min_length=1)
    where: Condition
    factor: PositiveFloat
    """Multiplies the utility."""


class SeenConfig(Settings):
    """Items that the user had lately are not shown."""

    kind: str | None = None
    """A binary task; left out: any event."""
    days: PositiveFloat | None = None
    """For so long; left out: for ever."""


class CapConfig(Settings):
    """Items that were in many lists lately are not shown."""

    shown: int = Field(ge=1)
    hours: PositiveFloat


class QuotaConfig(Settings):
    """At most so many items of a list share a value."""

    by: str
    """A column of the catalogue."""
    most: int = Field(ge=1)


class CalibrationConfig(Settings):
    """Pulls a list's mix of values to that of the user's past."""

    by: str
    strength: float = Field(ge=0, le=1)


class ExploreConfig(Settings):
    """Fills the last places of a list by trial; rules hold for them, quotas do not."""

    method: Literal["epsilon", "thompson", "linucb"]
    slots: int = Field(1, ge=1)
    epsilon: float = Field(0.1, ge=0, le=1)
    """Probability that a place is drawn evenly from the pool."""
    width: float = Field(0.5, ge=0, le=100)
    """How far what is not known of an item moves it."""


class AdaptConfig(Settings):
    """Corrects utilities for one user by the answers to lists."""

    rate: float = Field(0.1, ge=0, le=10)
    most: float = Field(1.0, ge=0, le=10)
    """No item moves further, in log-odds."""


class LogConfig(Settings):
    """Bounds of what a device remembers."""

    rows: int = Field(10_000, ge=1)
    bytes: int = Field(16_000_000, ge=1 << 18)
    days: PositiveFloat | None = None
    """Older events are erased; left out: of any age."""


class PolicyConfig(Settings):
    """What a bundle's lists are made of beside scores."""

    weights: dict[str, float] = Field({})
    """What each task counts by default; left out: its weight in [[task]], 0 for amounts beside other tasks."""
    where: Condition | None = None
    """A rule without a name."""
    rules: tuple[RuleConfig, ...] = ()
    boosts: tuple[BoostConfig, ...] = ()
    seen: tuple[SeenConfig, ...] = ()
    caps: tuple[CapConfig, ...] = ()
    quotas: tuple[QuotaConfig, ...] = ()
    diversity: float = Field(0.0, ge=0, le=1)
    """From 0, the best items, to 1, items unlike each other (maximal marginal relevance over the item table)."""
    calibration: CalibrationConfig | None = None
    pool: int = Field(200, ge=1, le=5000)
    """Best candidates that boosts, quotas, diversity and trials choose from."""
    log: LogConfig = LogConfig()
    explore: ExploreConfig | None = None
    adapt: AdaptConfig | None = None
