"""``[policy]``: how lists are made of scores: rules, boosts, caps, diversity; it becomes the bundle's policy.json.

Conditions are checked with the catalogue's columns when the bundle is built.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from edgerec.config.base import Settings

Condition = str
"""An SQL condition over the catalogue's columns, such as "price < 20 AND brand = 'ours'"; see
edgerec/bundle/conditions."""


class RuleConfig(Settings):
    """Items for which `keep` is not true are never recommended."""

    name: str = Field(min_length=1)
    """Name of the rule, which explanations give for each item that it removes."""
    keep: Condition
    """SQL condition over the catalogue's columns. It may use :now, the request's time in milliseconds since 1970, and
    :NAME for context and user columns, as in "until IS NULL OR until > :now"."""


class BoostConfig(Settings):
    """Raises or lowers the utility of the items for which `where` is true."""

    name: str = Field(min_length=1)
    """Name of the boost in explanations."""
    where: Condition
    """SQL condition, as of a rule."""
    factor: PositiveFloat
    """Factor of the utility: above 1 raises, below 1 lowers it."""


class SeenConfig(Settings):
    """Does not recommend items of the user's recent events."""

    kind: str | None = None
    """Name of a binary task: only its events count. None: any event."""
    days: PositiveFloat | None = None
    """For this many days after the event; None: for ever."""


class CapConfig(Settings):
    """Frequency cap: does not recommend items that were shown to the user often."""

    shown: int = Field(ge=1)
    """Number of lists in which an item may be shown within `hours`."""
    hours: PositiveFloat
    """Length of the time window, in hours."""


class QuotaConfig(Settings):
    """Limits how many items of a list share a value."""

    by: str
    """A column of the catalogue with one value in a cell; columns of `multi` are refused."""
    most: int = Field(ge=1)
    """Most items of a list with the same value."""


class CalibrationConfig(Settings):
    """Calibrated recommendations: a list's mix of values follows that of the user's history."""

    by: str
    """A column of the catalogue with one value in a cell; columns of `multi` are refused."""
    strength: float = Field(ge=0, le=1)
    """Weight of the calibration, from 0, none, to 1."""


class ExploreConfig(Settings):
    """Exploration: fills the last places of a list to learn about items. Rules apply to these places, quotas do not."""

    method: Literal["epsilon", "thompson", "linucb"]
    """epsilon: the next best item; thompson: Thompson sampling; linucb: the largest upper confidence bound. Each is
    mixed with uniform draws, see `epsilon`."""
    slots: int = Field(1, ge=1)
    """Number of last places that are filled by exploration."""
    epsilon: float = Field(0.1, ge=0, le=1)
    """Probability that a place is filled with a uniform draw from the pool."""
    width: float = Field(0.5, ge=0, le=100)
    """Width of the confidence interval: how much uncertainty about an item moves its utility."""


class AdaptConfig(Settings):
    """Adaptation on the device: corrects utilities for one user by the feedback on past lists."""

    rate: float = Field(0.1, ge=0, le=10)
    """Learning rate of the correction."""
    most: float = Field(1.0, ge=0, le=10)
    """Largest correction of an item, in log-odds."""


class LogConfig(Settings):
    """Limits of the events that a device stores; the oldest are erased first."""

    rows: int = Field(10_000, ge=1)
    """Most events."""
    bytes: int = Field(16_000_000, ge=1 << 18)
    """Largest size of the store, in bytes."""
    days: PositiveFloat | None = None
    """Greatest age of an event, in days; None: any age."""


class PolicyConfig(Settings):
    """How a bundle makes lists of scores."""

    weights: dict[str, float] = Field({})
    """Default weight of each task in the utility. Tasks that are left out have their weight in [[task]]; regression
    tasks beside others have 0."""
    where: Condition | None = None
    """SQL condition; items for which it is not true are never recommended. A rule without a name."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules that remove items."""
    boosts: tuple[BoostConfig, ...] = ()
    """Factors of the utility of some items."""
    seen: tuple[SeenConfig, ...] = ()
    """Filters of items that the user had before."""
    caps: tuple[CapConfig, ...] = ()
    """Frequency caps."""
    quotas: tuple[QuotaConfig, ...] = ()
    """Limits of items with the same value in a list."""
    diversity: float = Field(0.0, ge=0, le=1)
    """From 0, the items of highest utility, to 1, items as different as possible (maximal marginal relevance over item
    vectors)."""
    calibration: CalibrationConfig | None = None
    """Calibration of a list's mix of values; None: none."""
    pool: int = Field(200, ge=1, le=5000)
    """Number of best candidates from which boosts, quotas, diversity and exploration choose."""
    log: LogConfig = LogConfig()
    """Limits of the stored events."""
    explore: ExploreConfig | None = None
    """Exploration; None: none."""
    adapt: AdaptConfig | None = None
    """Adaptation on the device; None: none."""
