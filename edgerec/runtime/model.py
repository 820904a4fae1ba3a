"""What is read from one bundle: engine, catalogue, policy, request encoder. An update swaps all of it at once."""

from __future__ import annotations

import time as clock
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from importlib.util import find_spec
from itertools import cycle
from numbers import Real
from operator import sub
from threading import Lock
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar

from edgerec.bundle import Bundle, Catalog
from edgerec.bundle.columns import Lists, Parameter, Texts
from edgerec.bundle.policy import MAX_WEIGHT, NOW, Policy
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.runtime.arguments import (
    AHEAD_MS,
    EARLIEST_MS,
    LATEST_MS,
    Time,
    is_several,
    mapping,
    milliseconds,
    number,
    short,
)
from edgerec.runtime.engine import EngineName, open_engine
from edgerec.runtime.events import NO_EVENTS, Events
from edgerec.tasks import Encoded, RequestEncoder, UserPast
from edgerec.tasks.buffers import Floats, Ints, Matrix, ints, plain

if TYPE_CHECKING:
    from edgerec.bundle.conditions import Condition

MAX_CONDITIONS = 64
"""Different conditions, and columns, whose result is remembered."""
MIDDLE_OF = 4096
"""Items whose mean row is the middle of the item table."""
K = TypeVar("K")
V = TypeVar("V")
ColumnKind: TypeAlias = Literal["category", "number", "several"]
"""What a column of a request holds: one string, a number, or a list."""


def device_clock_ms() -> int:
    """The device's clock, in milliseconds since 1970 UTC."""
    return clock.time_ns() // 1_000_000


class RequestArguments(TypedDict, total=False):
    """What `ArrayRecommender` takes of a request besides filters; see `Recommender.recommend`."""

    weights: Mapping[str, float] | None
    context: Mapping[str, object] | None
    user: Mapping[str, object] | None
    now: Time
    history: Events | None


class EncodedHistory(NamedTuple):
    """What a user did before: for the engine, and as events of known items, also those beyond its history."""

    encoded: UserPast
    items: Sequence[int]
    kinds: Sequence[int]
    time_ms: Sequence[int]


class Model:
    """One bundle, loaded. Nothing of it changes after that; thread-safe."""

    def __init__(
        self, bundle: Bundle, engine: EngineName = "auto", clock_ms: Callable[[], int] = device_clock_ms
    ) -> None:
        """Load a verified bundle.

        Raises:
            BundleError: a part of it is not what the format says.
        """
        self.bundle, self._clock_ms = bundle, clock_ms
        self.encoder = _read_encoder(bundle)
        self.engine = open_engine(bundle, engine)
        self.catalog = Catalog.of(bundle)
        self.tasks = tuple(task.name for task in bundle.manifest.tasks)
        self.n_items = bundle.manifest.n_items
        self.name = f"{bundle.manifest.name} {bundle.manifest.version}"
        self.created_ms = _created_ms(bundle.manifest.created)
        self._may_repeat = {task.name for task in bundle.manifest.tasks if task.repeats == "allow"}
        self._columns = {source: _columns(self.encoder, source) for source in ("context", "user")}
        if len(self.catalog) != self.n_items:
            raise BundleError(
                f"{bundle.folder}: catalog.sqlite has {len(self.catalog)} items, the graphs have {self.n_items}; "
                "build the bundle again"
            )
        self.unavailable = self.catalog.unavailable()
        try:
            self.policy = Policy.parse(bundle.json("policy.json"), self.catalog, self.tasks, self.encoder.binary)
        except ConfigError as error:
            raise BundleError(f"{bundle.folder}: policy.json: {error}; build the bundle again") from None
        if (self.policy.explore or self.policy.adapt) and not find_spec("numpy"):
            raise MissingExtraError(
                f"{bundle.folder}: its policy explores or adapts, which needs numpy: pip install numpy"
            )
        self._default_weights = self.weights(self.policy.weights)
        self._lock = Lock()
        self._failing: dict[tuple[object, ...], Ints] = {}
        self._groups: dict[str, tuple[Ints, int]] = {}
        self._conditions: dict[str, Condition] = {}

    def now_ms(self, time: Time) -> int:
        """The time of a request: as given, or the device's clock.

        A clock that reads a time before the bundle was built is wrong (a board without a battery begins at 1970);
        then it is the time of the build.
        """
        return self.device_now_ms() if time is None else milliseconds(time, "now", earliest_ms=0)

    def event_ms(self, time: Time) -> int:
        """The time of an event: as given, or the device's clock.

        Raises:
            ConfigError: it is before 1990, or more than a day in the future: seconds, or another clock's mistake.
        """
        now_ms = self.device_now_ms()
        return now_ms if time is None else milliseconds(time, "time", now_ms + AHEAD_MS)

    def device_now_ms(self) -> int:
        """The device's clock, but never before the bundle was built."""
        return max(min(self._clock_ms(), LATEST_MS), self.created_ms)

    def clock_is_plausible(self) -> bool:
        """Whether the device's clock reads a time after the bundle was built."""
        return self._clock_ms() >= self.created_ms

    def close(self) -> None:
        """Close the catalogue's file."""
        self.catalog.close()

    # --- from the caller's words to arrays ---

    def encode(self, history: EncodedHistory, request: RequestArguments) -> Encoded:
        """What the graphs take.

        Raises:
            ConfigError: an unknown column, or a string where a number belongs.
        """
        context, user = request.get("context") or {}, request.get("user") or {}
        self.check_columns(context, "context")
        self.check_columns(user, "user")
        return self.encoder.encode(history.encoded, self.now_ms(request.get("now")), {**user, **context})

    def encode_history(self, events: Events) -> EncodedHistory:
        """Encode what was done; events of unknown items are left out."""
        item, mask, time_ms = (list(plain(values)) for values in events)
        if not len(item) == len(mask) == len(time_ms):
            raise ConfigError("history: item, kind and time_ms must have equal length, and a value for each event")
        indices, kinds, times = [], [], []
        for told, kind, at in zip(item, mask, time_ms, strict=True):
            index = self.catalog.index_of(told) if isinstance(told, str) else told
            if index is not None and 0 <= index < self.n_items:
                indices.append(index)
                kinds.append(kind)
                times.append(at)
        return EncodedHistory(self.encoder.past(indices, kinds, times), indices, kinds, times)

    @cached_property
    def no_history(self) -> EncodedHistory:
        """Of a user who did nothing."""
        return self.encode_history(NO_EVENTS)

    def weights(self, weights: Mapping[str, float] | None) -> tuple[Floats, bool]:
        """Weights by task, and whether a task that counts may repeat what the user had."""
        if weights is None:
            return self._default_weights
        for name in mapping(weights, "weights"):
            if name not in self.tasks:
                raise ConfigError(f"weights: no task {name!r}; this bundle has: {', '.join(self.tasks)}")
            number(weights[name], f"weights: {name}", -MAX_WEIGHT, MAX_WEIGHT)
        may_repeat = any(weights[name] for name in self._may_repeat & weights.keys())
        return array("f", [weights.get(name, 0.0) for name in self.tasks]), may_repeat

    def check_columns(self, values: Mapping[str, object], source: str) -> None:
        """Refuse a name that is not a column of "context" or "user", and a value of another kind than the column's."""
        if not values:
            return
        known = self._columns[source]
        for name, value in values.items():
            if name not in known:
                import difflib

                near = difflib.get_close_matches(name, known, 1)
                guess = f", did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"{source}: no column {name!r}{guess} (this bundle has: {', '.join(known) or 'none'})"
                )
            if known[name] == "number" and not (value is None or isinstance(value, Real)):
                raise ConfigError(f"{source}: {name} must be a number, got {short(value)}")
            if known[name] == "category" and is_several(value):
                raise ConfigError(f"{source}: {name} has one value, got {short(value)}")

    def known(self, item: str) -> int:
        """The index of an item.

        Raises:
            ConfigError: the catalogue does not hold it.
        """
        if not isinstance(item, str):
            raise ConfigError(f"an item is named by its id, which is a string; got {short(item)}")
        index = self.catalog.index_of(item)
        if index is None:
            near = " or ".join(map(repr, self.catalog.nearest(item)))
            raise ConfigError(f"no item {item[:200]!r} in the catalogue" + (f"; did you mean {near}?" if near else ""))
        return index

    def indices_of(self, items: Collection[str]) -> Ints:
        """Of the items that the catalogue holds."""
        return ints([i for i in map(self.catalog.index_of, items) if i is not None])

    # --- the item table ---

    @cached_property
    def _middle(self) -> Sequence[float]:
        """The mean row of some items, evenly spread."""
        n = min(self.n_items, MIDDLE_OF)
        some = ints([at * (self.n_items - 1) // max(n - 1, 1) for at in range(n)])
        rows = self.engine.vectors(some)
        return [sum(rows.values[at :: rows.width]) / n for at in range(rows.width)]

    def directions(self, items: Ints) -> Matrix:
        """Rows (n, dim) of items less the mean row of the table: what distinguishes items, not what all share."""
        rows = self.engine.vectors(items)
        less = map(sub, rows.values, cycle(self._middle))
        return Matrix(array("f", less), rows.width, len(rows))

    # --- conditions and columns ---

    def condition(self, text: str) -> Condition:
        """A condition that a caller gave.

        Raises:
            ConfigError: it is not a valid condition.
        """
        cached = self._conditions.get(text)
        if cached is not None:
            return cached
        from edgerec.bundle.conditions import Condition  # loaded on use

        try:
            condition = Condition.parse(text, self.catalog)
        except ConfigError as error:
            raise ConfigError(f"where: {error}") from None
        self._remember(self._conditions, text, condition)
        return condition

    def failing(self, condition: Condition, parameters: Mapping[str, Parameter]) -> Ints:
        """Indices of the items that a condition is not true for; remembered, unless it depends on the time."""
        if NOW in condition.parameters:
            return condition.failing(self.catalog, parameters)
        key = (condition.text, tuple((type(v), v) for v in map(parameters.get, condition.parameters)))
        failing = self._failing.get(key)
        if failing is None:
            failing = condition.failing(self.catalog, parameters)
            self._remember(self._failing, key, failing)
        return failing

    def groups(self, column: str) -> tuple[Ints, int]:
        """Of each item, which of a column's distinct values it has, -1 for none; and how many there are."""
        groups = self._groups.get(column)
        if groups is None:
            value = self.catalog.column(column)
            if isinstance(value, Texts | Lists):  # a policy groups by no lists; see `Policy.parse`
                groups = value.codes, len(value.values)
            else:
                index = {number: at for at, number in enumerate(sorted({v for v in value if v == v}))}
                groups = ints(index.get(v, -1) for v in value), len(index)
            self._remember(self._groups, column, groups)
        return groups

    def _remember(self, cache: dict[K, V], key: K, value: V) -> None:
        with self._lock:
            if len(cache) >= MAX_CONDITIONS:
                cache.clear()
            cache[key] = value


def _columns(encoder: RequestEncoder, source: str) -> dict[str, ColumnKind]:
    """The columns of "context" or "user", and what each holds."""
    columns: dict[str, ColumnKind] = {c.name: "category" for c in encoder.categorical if c.source == source}
    columns |= {c.name: "number" for c in encoder.numeric if c.source == source}
    return columns | {c.name: "several" for c in encoder.multi if c.source == source}


def _read_encoder(bundle: Bundle) -> RequestEncoder:
    try:
        encoder = RequestEncoder.from_json(bundle.manifest.inputs)
        if not all(0 < rate < 1 for rate in encoder.rates) or not all(column.std > 0 for column in encoder.numeric):
            raise ValueError("a rate is not between 0 and 1, or a deviation not above 0")
        return encoder
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.folder}: manifest.json: inputs are not valid ({error!r}); build it again"
        ) from error


def _created_ms(created: str) -> int:
    """When a manifest says that its bundle was built; 1990 where that cannot be read."""
    try:
        return min(max(int(datetime.fromisoformat(created).timestamp() * 1000), EARLIEST_MS), LATEST_MS)
    except (ValueError, OverflowError, OSError):
        return EARLIEST_MS
