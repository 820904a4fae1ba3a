"""policy.json: rules for an app's lists that hold beside the model's scores. Checked at build and at open.

    {"weights": {"next": 1.0}, "rules": [{"name": "for adults", "keep": "NOT adult OR :age >= 18"}],
     "boosts": [{"name": "own label", "where": "brand = 'ours'", "factor": 1.2}],
     "seen": [{"kind": "like", "days": 30}], "caps": [{"shown": 3, "hours": 24}],
     "quotas": [{"by": "brand", "most": 2}], "diversity": 0.2, "calibration": {"by": "genre", "strength": 0.3},
     "pool": 200, "log": {"rows": 10000, "bytes": 8000000, "days": 400}, "explore": {...}, "adapt": {...}}

Conditions are those of `edgerec.bundle.conditions`. In rules and boosts ``:now`` is the request's time in milliseconds,
and other parameters are the request's context and user columns.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from edgerec.bundle.catalog import Catalog
from edgerec.errors import ConfigError

if TYPE_CHECKING:
    from edgerec.bundle.conditions import Condition

NOW: Final = "now"
"""The parameter that holds the request's time."""
Method: TypeAlias = Literal["epsilon", "thompson", "linucb"]
MAX_POOL: Final = 5000
MAX_WEIGHT: Final = 1e9
"""Of a task, in size: utilities are float32, and the sum of several must be finite."""


class Rule(NamedTuple):
    """A hard filter: only items that `keep` is true for are candidates."""

    name: str
    keep: Condition


class Boost(NamedTuple):
    """Items that `where` is true for have their utility multiplied by `factor` (divided, where it is negative)."""

    name: str
    where: Condition
    factor: float


class Seen(NamedTuple):
    """Items with an event of this kind in the last `days` are not candidates; None means any kind, or any age."""

    kind: str | None
    days: float | None


class Cap(NamedTuple):
    """Items that were in `shown` logged lists within the last `hours` are not candidates."""

    shown: int
    hours: float


class Quota(NamedTuple):
    """At most `most` items of a list have the same value of column `by`; items without a value do not count."""

    by: str
    most: int


class Calibration(NamedTuple):
    """Pulls the mix of values of column `by` in a list towards the mix in the user's past; `strength` is 0 to 1."""

    by: str
    strength: float


class Explore(NamedTuple):
    """The last `slots` of each list are filled from the pool by `method`; lists are logged with their propensities.

    Rules apply to explored items, quotas do not.

    Attributes:
        epsilon: for "epsilon": the probability that a slot is drawn uniformly from the pool; otherwise it gets the next
            best item.
        width: for "thompson" and "linucb": how far an item's uncertainty moves it; no unit.
    """

    method: Method
    slots: int = 1
    epsilon: float = 0.1
    width: float = 0.5


class Adapt(NamedTuple):
    """A correction of utilities that the device learns from what its user does with logged lists.

    Attributes:
        rate: learning rate, in log-odds per list. most: no item moves by more than this, in log-odds.
    """

    rate: float = 0.1
    most: float = 1.0


class Bounds(NamedTuple):
    """Limits of the event log: its newest `rows`, at most `bytes` on disk, none older than `days` (None: no limit)."""

    rows: int = 10_000
    bytes: int = 16_000_000
    days: float | None = None


class Policy(NamedTuple):
    """A checked policy.json, with its conditions read for a catalogue's columns."""

    weights: Mapping[str, float]
    rules: tuple[Rule, ...] = ()
    boosts: tuple[Boost, ...] = ()
    seen: tuple[Seen, ...] = ()
    caps: tuple[Cap, ...] = ()
    quotas: tuple[Quota, ...] = ()
    diversity: float = 0.0
    calibration: Calibration | None = None
    pool: int = 200
    log: Bounds = Bounds()
    explore: Explore | None = None
    adapt: Adapt | None = None

    @property
    def rearranges(self) -> bool:
        """Whether a list is more than the best items by utility."""
        return bool(self.boosts or self.quotas or self.diversity or self.calibration or self.adapt)

    @property
    def logs(self) -> bool:
        """Whether lists must be logged for it to work."""
        return bool(self.caps or self.explore or self.adapt)

    @classmethod
    def parse(cls, value: Mapping[str, Any], catalog: Catalog, tasks: Sequence[str], kinds: Sequence[str]) -> Policy:
        """Check a policy.

        Args:
            tasks: names of the scored tasks. kinds: names of the kinds of events.
        Raises:
            ConfigError: a key is unknown or has a value that is not valid.
        """
        return _PolicyReader(catalog, tasks, kinds).policy(value)


class _PolicyReader(NamedTuple):
    catalog: Catalog
    tasks: Sequence[str]
    kinds: Sequence[str]

    def policy(self, value: Any) -> Policy:
        given = self.keys(value, "policy", {*Policy._fields, "where"})
        rules = [self.rule(v, f"rules[{i}]") for i, v in enumerate(self.list(given, "rules"))]
        if given.get("where") is not None:
            rules.insert(0, Rule("where", self.condition(given["where"], "where")))
        names = [r.name for r in rules]
        if len(set(names)) < len(names):
            raise ConfigError(f"policy: two rules have one name: {', '.join(names)}")
        policy = Policy(
            weights=self.weights(given.get("weights", {})),
            rules=tuple(rules),
            boosts=tuple(self.boost(v, f"boosts[{i}]") for i, v in enumerate(self.list(given, "boosts"))),
            seen=tuple(self.seen(v, f"seen[{i}]") for i, v in enumerate(self.list(given, "seen"))),
            caps=tuple(self.cap(v, f"caps[{i}]") for i, v in enumerate(self.list(given, "caps"))),
            quotas=tuple(self.quota(v, f"quotas[{i}]") for i, v in enumerate(self.list(given, "quotas"))),
            diversity=self.number(given, "diversity", "policy", 0.0, 0, 1),
            calibration=None if given.get("calibration") is None else self.calibration(given["calibration"]),
            pool=self.whole(given, "pool", "policy", Policy._field_defaults["pool"], 1, MAX_POOL),
            log=self.bounds(given.get("log") or {}),
            explore=None if given.get("explore") is None else self.explore(given["explore"]),
            adapt=None if given.get("adapt") is None else self.adapt(given["adapt"]),
        )
        if len({b.name for b in policy.boosts}) < len(policy.boosts):
            raise ConfigError("policy: two boosts have one name")
        if policy.diversity + (policy.calibration.strength if policy.calibration else 0) > 1:
            raise ConfigError("policy: diversity and calibration.strength must not be more than 1 together")
        return policy

    def weights(self, value: Any) -> dict[str, float]:
        given = self.keys(value, "weights", set(self.tasks))
        return {name: self.number(given, name, "weights", None, -MAX_WEIGHT, MAX_WEIGHT) for name in given}

    def rule(self, value: Any, at: str) -> Rule:
        given = self.keys(value, at, {"name", "keep"})
        return Rule(self.text(given, "name", at), self.condition(given.get("keep"), f"{at}.keep"))

    def boost(self, value: Any, at: str) -> Boost:
        given = self.keys(value, at, {"name", "where", "factor"})
        where = self.condition(given.get("where"), f"{at}.where")
        return Boost(self.text(given, "name", at), where, self.number(given, "factor", at, None, 1e-6, 1e6))

    def seen(self, value: Any, at: str) -> Seen:
        given = self.keys(value, at, {"kind", "days"})
        kind = given.get("kind")
        if kind is not None and kind not in self.kinds:
            raise ConfigError(f"policy: {at}.kind: {kind!r} is not one of {', '.join(self.kinds) or 'no kinds'}")
        days = None if given.get("days") is None else self.number(given, "days", at, None, 0)
        return Seen(kind, days)

    def cap(self, value: Any, at: str) -> Cap:
        given = self.keys(value, at, {"shown", "hours"})
        return Cap(self.whole(given, "shown", at, None, 1), self.number(given, "hours", at, None, 0))

    def quota(self, value: Any, at: str) -> Quota:
        given = self.keys(value, at, {"by", "most"})
        return Quota(self.column(given, at), self.whole(given, "most", at, None, 1))

    def calibration(self, value: Any) -> Calibration:
        given = self.keys(value, "calibration", {"by", "strength"})
        strength = self.number(given, "strength", "calibration", None, 0, 1)
        return Calibration(self.column(given, "calibration"), strength)

    def explore(self, value: Any) -> Explore:
        given = self.keys(value, "explore", set(Explore._fields))
        methods: dict[Any, Method] = {m: m for m in get_args(Method)}
        method = next((m for m in methods if m == given.get("method")), None)
        if method is None:
            raise ConfigError(f"policy: explore.method: {given.get('method')!r} is not one of {', '.join(methods)}")
        return Explore(
            method,
            self.whole(given, "slots", "explore", Explore._field_defaults["slots"], 1),
            self.number(given, "epsilon", "explore", Explore._field_defaults["epsilon"], 0, 1),
            self.number(given, "width", "explore", Explore._field_defaults["width"], 0, 100),
        )

    def adapt(self, value: Any) -> Adapt:
        given = self.keys(value, "adapt", set(Adapt._fields))
        rate = self.number(given, "rate", "adapt", Adapt._field_defaults["rate"], 0, 10)
        return Adapt(rate, self.number(given, "most", "adapt", Adapt._field_defaults["most"], 0, 10))

    def bounds(self, value: Any) -> Bounds:
        given = self.keys(value, "log", set(Bounds._fields))
        days = None if given.get("days") is None else self.number(given, "days", "log", None, 0)
        rows = self.whole(given, "rows", "log", Bounds._field_defaults["rows"], 1)
        return Bounds(rows, self.whole(given, "bytes", "log", Bounds._field_defaults["bytes"], 1 << 18), days)

    # --- parts ---

    def keys(self, value: Any, at: str, known: set[str]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise ConfigError(f"policy: {at} must be an object, got {str(value)[:40]!r}")
        for key in value:
            if key not in known:
                raise ConfigError(f"policy: {at} has no key {key!r}; its keys are {', '.join(sorted(known)) or 'none'}")
        return value

    def list(self, given: Mapping[str, Any], key: str) -> Sequence[Any]:
        value = given.get(key) or []
        if not isinstance(value, list | tuple):
            raise ConfigError(f"policy: {key} must be a list, got {str(value)[:40]!r}")
        return value

    def text(self, given: Mapping[str, Any], key: str, at: str) -> str:
        value = given.get(key)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"policy: {at}.{key} must be a string, got {value!r}")
        return value

    def column(self, given: Mapping[str, Any], at: str) -> str:
        name = self.text(given, "by", at)
        if self.catalog.kind_of(name) == "list":
            raise ConfigError(f"policy: {at}.by: {name!r} has several values in a cell; name a column with one")
        if self.catalog.kind_of(name) is None:
            raise ConfigError(f"policy: {at}.by: no column {name!r} (there are {', '.join(self.catalog.columns)})")
        return name

    def condition(self, value: Any, at: str) -> Condition:
        from edgerec.bundle.conditions import Condition  # loaded on use: many policies have none

        try:
            return Condition.parse(value, self.catalog)
        except ConfigError as error:
            raise ConfigError(f"policy: {at}: {error}") from None

    def number(
        self,
        given: Mapping[str, Any],
        key: str,
        at: str,
        default: float | None = None,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> float:
        value = given.get(key, default)
        # A whole number of JSON may be too large for a float, and then has no `isfinite`.
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        if not good or not least <= value <= most:
            between = "" if math.isinf(least) else f" of at least {least:g}"
            between += "" if math.isinf(most) else f" and at most {most:g}"
            raise ConfigError(f"policy: {at}.{key} must be a number{between}, got {value!r:.40}")
        return float(value)

    def whole(
        self, given: Mapping[str, Any], key: str, at: str, default: int | None, least: int, most: int = 2**53
    ) -> int:
        value = given.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError(f"policy: {at}.{key} must be a whole number from {least} to {most}, got {value!r:.40}")
        return value
