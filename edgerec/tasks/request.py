"""From a request (time, context, user attributes, past events) to the arrays that teacher, student and engine read.

The encoder is stored as JSON in the dataset's description and in a bundle's manifest, so that training and the device
use the same indices and means. Here a request is encoded as a device does it, one at a time and without numpy;
`edgerec.tasks.history` and `edgerec.tasks.past` do the same for many at once, and tests hold both to the same numbers.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from math import log, log1p
from numbers import Rational, Real
from typing import Any, Final, Literal, NamedTuple

from edgerec.tasks.buffers import Floats, Ints, plain
from edgerec.tasks.parts import parts_of, spelled
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR

Source = Literal["context", "user", "time"]

SMOOTHING: Final = 20.0
"""Events at the population's rate that are added to a user's own; KuaiRand's users have 14 events on average."""
CLIP: Final = 5.0
"""Standardised numbers are clipped here, in standard deviations, so that no single outlier decides a score."""


class Categorical(NamedTuple):
    """A categorical column; ``values[i]`` has index i + 1, every other value index 0."""

    name: str
    source: Source
    values: tuple[str, ...]


class Numeric(NamedTuple):
    """A numeric column, standardised by mean and standard deviation of the training rows; missing becomes 0."""

    name: str
    source: Source
    mean: float
    std: float


class Multi(NamedTuple):
    """A column with several values in a cell; each of `values` is a number: 1 over the known values that a cell holds,
    or 0, so that a linear layer learns a vector for each value and reads their mean."""

    name: str
    source: Source
    values: tuple[str, ...]
    separator: str


@dataclass(eq=False, repr=False)  # not frozen: made for every request, and freezing takes time
class Encoded:
    """The arrays of one request, named as the student's inputs; L = len(history), C and M as in the manifest."""

    history: Ints
    history_kind: Ints
    history_count: Floats
    history_age_h: Floats
    history_interval_h: Floats
    context_categorical: Ints
    context_numeric: Floats


class UserPast(NamedTuple):
    """One user's past, encoded as far as it can be before the time of the request is known: a device asks often.

    Attributes:
        items, kinds, counts, intervals_h, last_ms: of the distinct past items, see `edgerec.tasks.history.History`.
        numbers: see `past_names`; those that depend on the time are 0.
        first_ms, latest_ms: times of the first and the last event. gap_days: mean time between sessions.
    """

    items: Ints
    kinds: Ints
    counts: Floats
    intervals_h: Floats
    last_ms: Sequence[int]
    numbers: Sequence[float]
    first_ms: int
    latest_ms: int
    gap_days: float


def past_names(binary: Sequence[str]) -> list[str]:
    """Names of the numbers of a user's past, in order."""
    base = ["events", "visits", "days_since_last", "days_since_first", "visit_gap_days", "overdue"]
    return base + [f"{kind}.{task}" for task in binary for kind in ("rate", "positives")]


@dataclass(frozen=True)
class RequestEncoder:
    """How a request becomes arrays.

    Attributes:
        binary: names of the binary tasks, the bits of an event's kind.
        rates: the population's rate of each of them.
        max_history: most distinct past items of a request.
        timezone: IANA name in which "hour" and "weekday" of source "time" are read.
    """

    binary: tuple[str, ...]
    rates: tuple[float, ...]
    max_history: int
    timezone: str = "UTC"
    categorical: tuple[Categorical, ...] = ()
    numeric: tuple[Numeric, ...] = ()
    multi: tuple[Multi, ...] = ()
    # Derived once, since a device asks often: index by name, time zone, is there a time column.
    _index: dict[str, dict[str, int]] = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)
    _timed: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {c.name: {v: i + 1 for i, v in enumerate(c.values)} for c in self.categorical}
        index |= {c.name: {v: i for i, v in enumerate(c.values)} for c in self.multi}
        timed = any(c.source == "time" for c in self.categorical)
        zone: tzinfo = UTC
        if timed and self.timezone != "UTC":  # a device may lack the time zone database, and loading it takes time
            from zoneinfo import ZoneInfo

            zone = ZoneInfo(self.timezone)
        for name, value in {"_index": index, "_zone": zone, "_timed": timed}.items():
            object.__setattr__(self, name, value)

    @property
    def sources(self) -> dict[str, Source]:
        """The source of each column, by name."""
        sources: dict[str, Source] = {c.name: c.source for c in self.categorical}
        return sources | {n.name: n.source for n in self.numeric} | {m.name: m.source for m in self.multi}

    @property
    def numeric_names(self) -> list[str]:
        """Columns of ``context_numeric``: the user's own past first, then `numeric`, then each value of `multi`."""
        parts = [f"{column.name}={value}" for column in self.multi for value in column.values]
        return past_names(self.binary) + [n.name for n in self.numeric] + parts

    def to_json(self) -> dict[str, Any]:
        """The manifest's "inputs"."""
        several = [{**c._asdict(), "values": list(c.values)} for c in self.multi]
        return {
            "history": {"max_items": self.max_history, "kinds": list(self.binary)},
            "past": {"rates": dict(zip(self.binary, self.rates, strict=True))},
            "timezone": self.timezone,
            "categorical": [{"name": c.name, "source": c.source, "values": list(c.values)} for c in self.categorical],
            "numeric": [{"name": n.name, "source": n.source, "mean": n.mean, "std": n.std} for n in self.numeric],
            **({"multi": several} if several else {}),
        }

    @classmethod
    def from_json(cls, inputs: Mapping[str, Any]) -> RequestEncoder:
        """The inverse of `to_json`."""
        kinds = tuple(inputs["history"]["kinds"])
        return cls(
            binary=kinds,
            rates=tuple(inputs["past"]["rates"][k] for k in kinds),
            max_history=inputs["history"]["max_items"],
            timezone=inputs["timezone"],
            categorical=tuple(Categorical(c["name"], c["source"], tuple(c["values"])) for c in inputs["categorical"]),
            numeric=tuple(Numeric(n["name"], n["source"], n["mean"], n["std"]) for n in inputs["numeric"]),
            multi=tuple(
                Multi(c["name"], c["source"], tuple(c["values"]), c["separator"]) for c in inputs.get("multi", ())
            ),
        )

    def past(self, item: Iterable[int], kind: Iterable[int], time_ms: Iterable[int]) -> UserPast:
        """Encode the past of one user from raw events: item indices, bitmasks of kinds, and times, of equal length."""
        item, kind, times = (list(plain(values)) for values in (item, kind, time_ms))
        distinct: dict[int, list[int]] = {}  # by item: item, kinds, count, first and last time
        for i, k, t in zip(item, kind, times, strict=True):
            row = distinct.get(i)
            if row is None:
                distinct[i] = [i, k, 1, t, t]
            else:
                row[1] |= k
                row[2] += 1
                row[3], row[4] = min(row[3], t), max(row[4], t)
        # Ties are broken by the item, so that the order never depends on the order of the events.
        rows = sorted(distinct.values(), key=lambda row: (row[4], row[0]))[max(len(distinct) - self.max_history, 0) :]
        events, sessions, first, last = len(times), len(set(times)), min(times, default=0), max(times, default=0)
        gap_days = (last - first) / MS_PER_DAY / max(sessions - 1, 1)
        numbers = [log1p(events), log1p(sessions), 0.0, 0.0, log1p(gap_days), 0.0]
        for bit, rate in enumerate(self.rates):
            positives = sum(k >> bit & 1 for k in kind)
            smoothed = (positives + SMOOTHING * rate) / (events + SMOOTHING)
            numbers += (log(smoothed / (1 - smoothed)) - log(rate / (1 - rate)), log1p(positives))
        return UserPast(
            items=array("q", [row[0] for row in rows]),
            kinds=array("q", [row[1] for row in rows]),
            counts=array("f", [row[2] for row in rows]),
            intervals_h=array("f", [(row[4] - row[3]) / MS_PER_HOUR / max(row[2] - 1, 1) for row in rows]),
            last_ms=[row[4] for row in rows],
            numbers=numbers,
            first_ms=first,
            latest_ms=last,
            gap_days=gap_days,
        )

    def categories(self, values: Mapping[str, object], now_ms: int) -> Ints:
        """Indices of one request's categorical inputs, int64 (C,); a missing or unknown value is 0."""
        clock = self._clock(now_ms) if self._timed else {}
        indices = []
        for column in self.categorical:
            if column.source == "time":
                indices.append(clock[column.name] + 1)
            else:
                value = values.get(column.name)
                indices.append(0 if value is None else _index_of(value, self._index[column.name]))
        return array("q", indices)

    def numbers(self, past: UserPast, now_ms: int, values: Mapping[str, object]) -> Floats:
        """``context_numeric`` of one request, float32 (M,)."""
        numbers = array("f", past.numbers)
        if past.last_ms:
            since_ms = max(now_ms - past.latest_ms, 0)
            numbers[2] = log1p(since_ms / MS_PER_DAY)
            numbers[3] = log1p(max(now_ms - past.first_ms, 0) / MS_PER_DAY)
            numbers[5] = log1p(since_ms / (MS_PER_DAY * (past.gap_days + 1.0)))
        numbers.extend([_standard(values.get(column.name), column) for column in self.numeric])
        for several in self.multi:
            numbers.extend(self._shares(values.get(several.name), several))
        return numbers

    def encode(self, past: UserPast, now_ms: int, values: Mapping[str, object]) -> Encoded:
        """The arrays of one request from its `past` and the values of its context and user columns, by name."""
        return Encoded(
            history=past.items,
            history_kind=past.kinds,
            history_count=past.counts,
            history_age_h=array("f", [max(now_ms - last, 0) / MS_PER_HOUR for last in past.last_ms]),
            history_interval_h=past.intervals_h,
            context_categorical=self.categories(values, now_ms),
            context_numeric=self.numbers(past, now_ms, values),
        )

    def _shares(self, value: object, column: Multi) -> list[float]:
        """For each known value of a column with several in a cell, see `Multi`."""
        index = self._index[column.name]
        held = [part for part in parts_of(value, column.separator) if part in index]
        shares = [0.0] * len(index)
        for part in held:
            shares[index[part]] = 1 / len(held)
        return shares

    def _clock(self, now_ms: int) -> dict[str, int]:
        local = datetime.fromtimestamp(now_ms / 1000, self._zone)
        return {"hour": local.hour, "weekday": local.weekday()}


def _standard(value: object, column: Numeric) -> float:
    """(value - mean) / std, clipped at `CLIP`, 0 where missing."""
    if value is None:
        return 0.0
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number that no float holds is clipped, like any other that is far off
        number = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    scaled = (number - column.mean) / column.std
    return 0.0 if scaled != scaled else min(max(scaled, -CLIP), CLIP)


def _index_of(value: object, index: Mapping[str, int]) -> int:
    """The index of a value, as it is written or as vocabularies spell it; 0 if it is not known."""
    # Of numpy's numbers too; a fraction that is one of two whole numbers is its text.
    whole = isinstance(value, Real) and not isinstance(value, Rational) and float(value).is_integer()
    text = str(int(value)) if whole else str(value)  # type: ignore[call-overload]
    return index.get(text) or index.get(spelled(text), 0)
