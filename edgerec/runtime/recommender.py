"""The recommender that an app embeds."""

from __future__ import annotations

import difflib
import math
import time as clock
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from numbers import Real
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from edgerec.bundle import Bundle, Catalog
from edgerec.bundle.sign import PublicKey, require_signature
from edgerec.errors import BundleError, ConfigError, DataError
from edgerec.runtime.conformance import check_conformance
from edgerec.runtime.engine import Engine, Float, Int, Ranked, Scoring
from edgerec.runtime.results import Reason, Recommendation, Recommendations
from edgerec.runtime.store import NO_KIND, Events, EventStore, kind_mask
from edgerec.tasks import Encoded, RequestEncoder, UserPast

MAX_REASONS = 3
"""Reasons told for one item."""
MAX_CONDITIONS = 64
"""Different `where` conditions whose result is remembered."""
Time = int | datetime | None
"""Milliseconds since 1970 UTC, or a datetime with a timezone; None is now."""


class Request(TypedDict, total=False):
    """What `Recommender.rank` and `rate` take like `recommend`: see there."""

    weights: Mapping[str, float] | None
    context: Mapping[str, object] | None
    user: Mapping[str, object] | None
    now: Time
    history: Events | None


class _UserPast(NamedTuple):
    """What was done before, for the graph, and the items of all events, also those beyond its history."""

    encoded: UserPast
    items: Int


_POPULAR = (Reason("popular", None, None, 0.0),)


class Recommender:
    """Recommends from a bundle and the events of one user, on this device. Thread-safe.

    >>> with Recommender.open("bundle", store="state.sqlite") as rec:  # doctest: +SKIP
    ...     rec.observe("22423", kind="click")
    ...     for r in rec.recommend(k=5, where="UnitPrice < 20", explain=True):
    ...         print(r.title, r.reasons)
    """

    def __init__(self, bundle: Bundle, store: str | Path | None = None) -> None:
        """Use `open`, which verifies the bundle first."""
        self.encoder = _read_encoder(bundle)
        self._engine = Engine(bundle)
        self._scoring: Scoring = self._engine
        self._catalog = Catalog(bundle.path("catalog.sqlite"))
        self._store = EventStore(Path(store) if store is not None else None)
        self.bundle = bundle
        self.tasks = tuple(task.name for task in bundle.manifest.tasks)
        self._n_items = bundle.manifest.n_items
        self._may_repeat = {task.name for task in bundle.manifest.tasks if task.repeats == "allow"}
        self._columns = {source: _columns(self.encoder, source) for source in ("context", "user")}
        self._lock = RLock()
        self._past: _UserPast | None = None
        self._closed = False
        self._failing: dict[str, Int] = {}
        if len(self._catalog) != self._n_items:
            raise BundleError(
                f"{bundle.folder}: catalog.sqlite has {len(self._catalog)} items, the graphs have {self._n_items}; "
                "build the bundle again"
            )
        self._unavailable = self._catalog.unavailable()
        policy = bundle.json("policy.json")
        self._default_where: str | None = policy.get("where")
        self._default_weights = self._weights(policy.get("weights", {}))

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        store: str | Path | None = None,
        public_key: PublicKey | Sequence[PublicKey] | None = None,
    ) -> Recommender:
        """Verify the bundle in a folder and load it.

        Args:
            store: SQLite file of the user's events, created if missing; None keeps them in memory.
            public_key: a key, or several while one replaces another, of which one must have signed the bundle: the
                file of it, or its 32 bytes. Needs the extra `sign`. None: a signature is not looked at.
        Raises:
            BundleError: the bundle is damaged, unsafe, of another format, or not signed by a pinned key.
            DataError: `store` is not an event log.
        """
        opened = Bundle.open(bundle)
        if public_key is not None:
            require_signature(opened.folder, public_key)
        return cls(opened, store)

    def recommend(
        self,
        k: int = 10,
        *,
        weights: Mapping[str, float] | None = None,
        where: str | None = None,
        exclude: Collection[str] = (),
        explain: bool = False,
        context: Mapping[str, object] | None = None,
        user: Mapping[str, object] | None = None,
        now: Time = None,
        history: Events | None = None,
    ) -> Recommendations:
        """The best k items of the catalogue.

        Args:
            weights: what each task counts; tasks left out count nothing. None: the bundle's defaults.
            where: SQL condition over the catalogue's columns, such as ``"price < 20 AND available"``.
            exclude: item ids; unknown ones are ignored.
            explain: also tell `Recommendation.reasons`.
            context, user: values of the log's context and user columns; one that is missing, or that the bundle has
                not seen, is treated as unknown.
            now: the time of the request.
            history: used in place of the store's events.
        Returns:
            Best first; all that are left where fewer than k are, see `Recommendations.why_fewer`.
        Raises:
            ConfigError: unknown task or column, invalid condition, or k < 1.
        """
        request = Request(weights=weights, context=context, user=user, now=now, history=history)
        ranked = self.rank(k, where=where, exclude=exclude, **request)
        why_fewer = {} if len(ranked.item) == k else self._why_fewer(len(ranked.item), where, exclude)
        return Recommendations(self._named(ranked, explain), why_fewer)

    def rank(
        self, k: int, *, where: str | None = None, exclude: Collection[str] = (), **request: Unpack[Request]
    ) -> Ranked:
        """`recommend` as arrays over item indices, for batches and evaluation; at most k items.

        Raises:
            ConfigError: see `recommend`.
        """
        self._check_open()
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        weights, may_repeat = self._weights(request.get("weights"))
        left_out = self._left_out(where, exclude)
        past = self._user_past(request.get("history"))
        if not may_repeat:
            left_out = np.concatenate([left_out, past.items])
        ranked = self._scoring.recommend(self._arrays(past, request), weights, left_out, min(k, self._n_items))
        if ranked.utility[-1] != -np.inf:
            return ranked
        keep = ranked.utility != -np.inf
        item, utility, probability = ranked.item[keep], ranked.utility[keep], ranked.probability[keep]
        return Ranked(item, utility, probability, ranked.reason[keep], ranked.history)

    def score(
        self,
        items: Sequence[str],
        *,
        weights: Mapping[str, float] | None = None,
        explain: bool = False,
        context: Mapping[str, object] | None = None,
        user: Mapping[str, object] | None = None,
        now: Time = None,
        history: Events | None = None,
    ) -> list[Recommendation]:
        """The given items with their utility and probabilities, in the given order; arguments as in `recommend`.

        Raises:
            ConfigError: an item that the catalogue does not hold; see also `recommend`.
        """
        candidates = np.array([self._known(item) for item in items], np.int64)
        request = Request(weights=weights, context=context, user=user, now=now, history=history)
        return self._named(self.rate(candidates, **request), explain)

    def rate(self, candidates: Int, **request: Unpack[Request]) -> Ranked:
        """`score` as arrays: `candidates` int64 (M,), each in [0, n_items).

        Raises:
            ConfigError: see `recommend`; or a candidate is out of range.
        """
        self._check_open()
        if len(candidates) and not 0 <= candidates.min() <= candidates.max() < self._n_items:
            raise ConfigError(f"candidates must be item indices from 0 to {self._n_items - 1}")
        past = self._user_past(request.get("history"))
        weights, _ = self._weights(request.get("weights"))
        return self._scoring.score(self._arrays(past, request), weights, candidates)

    def similar(
        self, item: str, k: int = 10, *, where: str | None = None, exclude: Collection[str] = ()
    ) -> Recommendations:
        """The k items that most often share a session with `item`; arguments as in `recommend`.

        Raises:
            ConfigError: the catalogue does not hold the item, an invalid condition, or k < 1.
            BundleError: the bundle was built without a "related" task.
        """
        self._check_open()
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        found, score = self.relate(self._known(item), k, where=where, exclude=exclude)
        scores = score.tolist()
        related = self._recommendations(found.tolist(), scores, [{"related": s} for s in scores], [()] * len(scores))
        return Recommendations(
            related, {} if len(related) == k else self._why_fewer(len(related), where, [*exclude, item])
        )

    def relate(
        self, item: int, k: int, *, where: str | None = None, exclude: Collection[str] = ()
    ) -> tuple[Int, Float]:
        """`similar` as arrays: indices of at most k items, best first, and their probabilities.

        Raises:
            ConfigError: see `similar`.
        """
        found, score = self._scoring.similar(item, self._left_out(where, exclude), min(k, self._n_items))
        keep = (score != -np.inf) & (found != item)
        return found[keep], score[keep]

    def observe(
        self, item: str, kind: str = NO_KIND, time: Time = None, context: Mapping[str, object] | None = None
    ) -> None:
        """Log what the user did; it is on the disk when this returns and counts from the next call on.

        Args:
            item: its id; one that the catalogue does not hold is kept for a later bundle and ignored in scoring.
            kind: the binary tasks that were positive, such as "click" or "click+like"; "event" for none of them.
        Raises:
            DataError: unknown kind, or the event could not be stored.
            ConfigError: unknown context column.
        """
        self._check_open()
        if not isinstance(item, str) or not item:
            raise DataError(f"an item is named by its id, a string that is not empty; got {item!r}")
        kind_mask(kind, self.encoder.binary)
        self._check_columns(context or {}, "context")
        with self._lock:
            self._store.append(item, kind, _milliseconds(time), context or {})
            self._past = None

    def forget(self) -> None:
        """Erase the user's events from the device."""
        self._check_open()
        with self._lock:
            self._store.forget()
            self._past = None

    def check(self) -> int:
        """Run the bundle's conformance requests; returns how many passed.

        Raises:
            BundleError: this machine computes something else than the one that built the bundle.
        """
        return check_conformance(self.bundle, self._engine)

    def score_by(self, scoring: Scoring) -> None:
        """Let something else than the bundle's graphs score: the models that the bundle was made from, to compare."""
        self._scoring = scoring

    def index_of(self, item: str) -> int | None:
        """The index of an item id, None if the catalogue does not hold it."""
        return self._catalog.index_of(item)

    def named(self, index: int) -> tuple[str, str]:
        """Id and title of an item index."""
        return self._catalog.named(index)

    def close(self) -> None:
        """Close the files; events stay in the store. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            self._catalog.close()
            self._store.close()

    def __enter__(self) -> Recommender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("this recommender is closed; open it again")

    # --- from the caller's words to arrays ---

    def _arrays(self, past: _UserPast, request: Request) -> Encoded:
        context, user = request.get("context") or {}, request.get("user") or {}
        self._check_columns(context, "context")
        self._check_columns(user, "user")
        return self.encoder.encode(past.encoded, _milliseconds(request.get("now")), {**user, **context})

    def _user_past(self, history: Events | None) -> _UserPast:
        if history is not None:
            return self._encode(history)
        with self._lock:
            if self._past is None:
                self._past = self._encode(self._store.events(self.encoder.binary))
            return self._past

    def _encode(self, events: Events) -> _UserPast:
        if not len(events.item) == len(events.kind) == len(events.time_ms):
            raise ConfigError("history: item, kind and time_ms must have equal length")
        item = self._indices(events.item)
        known = (item >= 0) & (item < self._n_items)
        item, kind, time_ms = item[known], events.kind[known], events.time_ms[known]
        return _UserPast(self.encoder.past(item, kind, time_ms), item)

    def _indices(self, items: Sequence[str] | npt.NDArray[np.int64]) -> Int:
        if isinstance(items, np.ndarray):
            return items
        found = (self._catalog.index_of(item) for item in items)
        return np.array([-1 if index is None else index for index in found], np.int64)

    def _weights(self, weights: Mapping[str, float] | None) -> tuple[Float, bool]:
        """Weights by task, and whether a task that counts may repeat what the user had."""
        if weights is None:
            return self._default_weights
        for name in weights:
            if name not in self.tasks:
                raise ConfigError(f"weights: no task {name!r}; this bundle has: {', '.join(self.tasks)}")
            if not (isinstance(weights[name], Real) and math.isfinite(weights[name])):
                raise ConfigError(f"weights: {name} must be a finite number, got {weights[name]!r}")
        may_repeat = any(weights[name] for name in self._may_repeat & weights.keys())
        return np.array([weights.get(name, 0.0) for name in self.tasks], np.float32), may_repeat

    def _check_columns(self, values: Mapping[str, object], source: str) -> None:
        if not values:
            return
        known = self._columns[source]
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                guess = f", did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"{source}: no column {name!r}{guess} (this bundle has: {', '.join(known) or 'none'})"
                )
            if known[name] and not (value is None or isinstance(value, Real)):
                raise ConfigError(f"{source}: {name} must be a number, got {value!r}")

    def _known(self, item: str) -> int:
        index = self._catalog.index_of(item)
        if index is None:
            near = ", ".join(self._catalog.nearest(item))
            raise ConfigError(f"no item {item!r} in the catalogue" + (f"; there are {near}" if near else ""))
        return index

    def _left_out(self, where: str | None, exclude: Iterable[str]) -> Int:
        """Indices that are no candidates; one may occur twice."""
        if not exclude and where is None and self._default_where is None:
            return self._unavailable
        parts = [self._unavailable, *(self._failing_items(w) for w in (self._default_where, where) if w is not None)]
        indices = [i for i in map(self._catalog.index_of, exclude) if i is not None]
        return np.concatenate([*parts, np.array(indices, np.int64)])

    def _failing_items(self, where: str) -> Int:
        found = self._failing.get(where)
        if found is None:
            found = self._catalog.failing(where)
            with self._lock:
                if len(self._failing) >= MAX_CONDITIONS:
                    self._failing.clear()
                self._failing[where] = found
        return found

    # --- from arrays to the caller's words ---

    def _named(self, ranked: Ranked, explain: bool) -> list[Recommendation]:
        reasons = self._reasons(ranked) if explain else [()] * len(ranked.item)
        # As [dict(zip(self.tasks, row)) for row in ...], but in half the time: it is most of what naming costs.
        probability = list(map(dict, map(zip, repeat(self.tasks), ranked.probability.tolist())))
        return self._recommendations(ranked.item.tolist(), ranked.utility.tolist(), probability, reasons)

    def _recommendations(
        self,
        items: list[int],
        utility: list[float],
        probability: Sequence[Mapping[str, float]],
        reasons: Sequence[tuple[Reason, ...]],
    ) -> list[Recommendation]:
        named, attributes = self._catalog.named, self._catalog.attributes
        return [
            Recommendation(*named(item), u, p, why, partial(attributes, item))
            for item, u, p, why in zip(items, utility, probability, reasons, strict=True)
        ]

    def _reasons(self, ranked: Ranked) -> list[tuple[Reason, ...]]:
        """The strongest positive reasons of each item."""
        order = np.argsort(-ranked.reason, axis=1, kind="stable")[:, :MAX_REASONS]
        weight = np.take_along_axis(ranked.reason, order, axis=1).tolist()
        cause = ranked.history[order].tolist()
        return [
            tuple(self._reason(index, c, w) for c, w in zip(causes, weights, strict=True) if w > 0) or _POPULAR
            for index, causes, weights in zip(ranked.item.tolist(), cause, weight, strict=True)
        ]

    def _reason(self, index: int, cause: int, weight: float) -> Reason:
        item, title = self._catalog.named(cause)
        return Reason("again" if cause == index else "history", item, title, weight)

    def _why_fewer(self, n_found: int, where: str | None, exclude: Iterable[str]) -> dict[str, int]:
        gone = np.zeros(self._n_items, bool)
        causes = {"unavailable": [self._unavailable]}
        causes["excluded"] = [np.array([i for i in map(self._catalog.index_of, exclude) if i is not None], np.int64)]
        causes["where"] = [self._failing_items(w) for w in (self._default_where, where) if w is not None]
        lost = {}
        for cause, parts in causes.items():
            before = int(gone.sum())
            for part in parts:
                gone[part] = True
            lost[cause] = int(gone.sum()) - before
        lost["history"] = self._n_items - n_found - sum(lost.values())
        return {"catalogue": self._n_items, **{cause: n for cause, n in lost.items() if n}}


def _columns(encoder: RequestEncoder, source: str) -> dict[str, bool]:
    """The columns of "context" or "user", and whether each is a number."""
    names = {c.name: False for c in encoder.categorical if c.source == source}
    return names | {c.name: True for c in encoder.numeric if c.source == source}


def _read_encoder(bundle: Bundle) -> RequestEncoder:
    try:
        return RequestEncoder.from_json(bundle.manifest.inputs)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.folder}: manifest.json: inputs are not valid ({error!r}); build it again"
        ) from error


def _milliseconds(time: Time) -> int:
    if time is None:
        return clock.time_ns() // 1_000_000
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ConfigError(f"time {time.isoformat()} has no timezone; give one, or milliseconds since 1970 UTC")
        return int(time.timestamp() * 1000)
    return int(time)
