"""From a request (time, context, user attributes, past events) to the arrays that teacher, student and graph read.

The encoder is stored as JSON in the dataset's description and in a bundle's manifest, so that training and the device
use the same indices and means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgerec.tasks.history import Double, Float, History, Int, elapsed, encode_history
from edgerec.tasks.parts import parts_of, spelled
from edgerec.tasks.past import PastSums, past_names, past_numbers, summarize_past, timeless, with_times
from edgerec.tasks.units import MS_PER_HOUR

Source = Literal["context", "user", "time"]

CLIP = 5.0
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


@dataclass(eq=False, repr=False)  # not frozen: made for every request, and freezing costs as much as a numpy call
class Encoded:
    """The arrays of one request, named as the graph's inputs; L = len(history), C and M as in the manifest."""

    history: Int
    history_kind: Int
    history_count: Float
    history_age_h: Float
    history_interval_h: Float
    context_categorical: Int
    context_numeric: Float


class UserPast(NamedTuple):
    """One user's past, encoded as far as it can be before the time of the request is known: a device asks often.

    Attributes:
        history: of one request.
        numbers: float32 (1, 6 + 2B), see `edgerec.tasks.past.Timeless`.
        from_ms: int64 (L + 3,) and unit_ms: float64 (L + 3,): start and unit of each elapsed time, for the L items of
            the history and the three times of the numbers; in one array, since each numpy call costs time here.
    """

    history: History
    numbers: Float
    from_ms: Int
    unit_ms: Double


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
    # Derived once, since a device asks often: index by name, rates as an array, time zone, is there a time column.
    _index: dict[str, dict[str, int]] = field(init=False, repr=False, compare=False)
    _rates: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)
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
        derived = {"_index": index, "_rates": np.array(self.rates, np.float64), "_zone": zone, "_timed": timed}
        for name, value in derived.items():
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

    def past(self, item: Int, kind: Int, time_ms: Int) -> UserPast:
        """Encode the past of one user from raw events, each argument int64 (E,); see `encode_history`."""
        request = np.zeros(len(item), np.int64)
        history = encode_history(request, item, kind, time_ms, 1, self.max_history)
        own = timeless(summarize_past(request, kind, time_ms, 1, len(self.binary)), self._rates)
        return UserPast(
            history,
            own.numbers,
            from_ms=np.concatenate([history.last_ms, own.from_ms[:, 0]]),
            unit_ms=np.concatenate([np.full(len(history.item), MS_PER_HOUR, np.float64), own.unit_ms[:, 0]]),
        )

    def categories(self, values: Mapping[str, object], now_ms: int) -> Int:
        """Indices of one request's categorical inputs, int64 (C,); a missing or unknown value is 0."""
        clock = self._clock(now_ms) if self._timed else {}
        indices = []
        for column in self.categorical:
            if column.source == "time":
                indices.append(clock[column.name] + 1)
            else:
                value = values.get(column.name)
                indices.append(0 if value is None else _index_of(value, self._index[column.name]))
        return np.array(indices, np.int64)

    def holds(self, values: Mapping[str, object]) -> npt.NDArray[np.bool_]:
        """Which values of `multi` one request has, bool (1, P), from those of its columns by name."""
        held = np.zeros((1, sum(len(column.values) for column in self.multi)), bool)
        first = 0
        for column in self.multi:
            index = self._index[column.name]
            places = [index[p] for p in parts_of(values.get(column.name), column.separator) if p in index]
            held[0, first + np.array(places, np.int64)] = True
            first += len(column.values)
        return held

    def numbers(
        self,
        past: PastSums,
        now_ms: Int,
        values: npt.NDArray[np.float64] | None = None,
        held: npt.NDArray[np.bool_] | None = None,
    ) -> Float:
        """``context_numeric`` of R requests, float32 (R, M).

        Args:
            values: raw (R, len(numeric)), NaN where missing.
            held: bool (R, P), see `holds`.
        """
        return self._beside(past_numbers(past, now_ms, self._rates), values, held)

    def _beside(self, own: Float, values: npt.NDArray[np.float64] | None, held: npt.NDArray[np.bool_] | None) -> Float:
        given = [own]
        if self.numeric and values is not None:
            given.append(standardize(values, self.numeric))
        if self.multi and held is not None:
            first = np.cumsum([len(column.values) for column in self.multi])[:-1]
            given += [part / np.maximum(part.sum(axis=1, keepdims=True), 1) for part in np.split(held, first, axis=1)]
        return np.concatenate(given, axis=1, dtype=np.float32) if len(given) > 1 else own

    def encode(self, past: UserPast, now_ms: int, values: Mapping[str, object]) -> Encoded:
        """The arrays of one request from its `past` and the values of its context and user columns, by name."""
        raw = np.array([[_number(values.get(n.name)) for n in self.numeric]], np.float64) if self.numeric else None
        history, since = past.history, elapsed(now_ms, past.from_ms, past.unit_ms)
        own = with_times(past.numbers, since[-3:, None])
        return Encoded(
            history=history.item,
            history_kind=history.kind,
            history_count=history.count,
            history_age_h=since[:-3].astype(np.float32),
            history_interval_h=history.interval_h,
            context_categorical=self.categories(values, now_ms),
            context_numeric=self._beside(own, raw, self.holds(values) if self.multi else None)[0],
        )

    def _clock(self, now_ms: int) -> dict[str, int]:
        local = datetime.fromtimestamp(now_ms / 1000, self._zone)
        return {"hour": local.hour, "weekday": local.weekday()}


def standardize(values: npt.NDArray[np.float64], columns: Sequence[Numeric]) -> Float:
    """(value - mean) / std, clipped at `CLIP`, 0 where missing; (R, n) -> float32 (R, n)."""
    mean = np.array([c.mean for c in columns])
    std = np.array([c.std for c in columns])
    scaled = np.clip((values - mean) / std, -CLIP, CLIP)
    return np.where(np.isfinite(scaled), scaled, 0.0).astype(np.float32)


def _index_of(value: object, index: Mapping[str, int]) -> int:
    """The index of a value, as it is written or as vocabularies spell it; 0 if it is not known."""
    whole = isinstance(value, float | np.floating) and value.is_integer()
    text = str(int(value)) if whole else str(value)  # type: ignore[call-overload]
    return index.get(text) or index.get(spelled(text), 0)


def _number(value: object) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number that no float holds is clipped, like any other that is far off
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
