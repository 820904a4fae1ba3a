"""The recommender that an app embeds."""

from __future__ import annotations

import time as clock
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock, RLock
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

import numpy as np

from edgerec.bundle import Bundle
from edgerec.bundle.columns import Parameter
from edgerec.bundle.policy import NOW
from edgerec.errors import BundleError, ConfigError, DataError
from edgerec.runtime.engine import EngineName, Float, Int, Ranked, Scoring
from edgerec.runtime.lists import List, Removal, best_list
from edgerec.runtime.model import NONE, Model, Past, Request, Time, milliseconds
from edgerec.runtime.naming import named, named_related
from edgerec.runtime.removals import asked_out, known_too_well, values_of
from edgerec.runtime.results import Contribution, Explanation, Recommendation, Recommendations
from edgerec.runtime.store import DEFAULT_PROFILE, NO_KIND, Events, EventStore, Shown, kind_mask, new_name
from edgerec.runtime.updates import Updates
from edgerec.tasks import Encoded, RequestEncoder

if TYPE_CHECKING:
    from edgerec.bundle.sign import PublicKey
    from edgerec.runtime.adaptation import Learned

MAX_CONTRIBUTIONS = 10
"""Past items that an explanation takes out one by one."""
MAX_VIEWS = 256
"""Users of a device whose encoded past is kept."""


@dataclass(eq=False, repr=False)
class _Home:
    """What the views of one recommender share."""

    model: Model
    store: EventStore
    updates: Updates | None = None
    engine: EngineName = "auto"
    closed: bool = False
    views: dict[str, Recommender] = field(default_factory=dict)
    views_lock: Lock = field(default_factory=Lock)  # `lock` is held for as long as an update takes
    lock: RLock = field(default_factory=RLock)

    @cached_property
    def random(self) -> np.random.Generator:
        """For trials; made on use, since loading numpy.random takes time."""
        return np.random.default_rng()


class Recommender:
    """Recommends from a bundle and the events of one user, on this device. Thread-safe.

    >>> with Recommender.open("bundle", store="state.sqlite") as rec:  # doctest: +SKIP
    ...     rec.observe("22423", kind="click")
    ...     for r in rec.recommend(k=5, where="UnitPrice < 20", explain=True):
    ...         print(r.title, r.reasons)
    """

    def __init__(self, home: _Home, store: EventStore, profile: str = DEFAULT_PROFILE, idle_s: float = 0.0) -> None:
        """Use `open`, which verifies the bundle first."""
        self._home, self._store, self._profile = home, store, profile
        self._idle_s, self._used_s = idle_s, clock.monotonic()
        self._past: tuple[Model, object, Past] | None = None
        self._ended = False

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        store: str | Path | None = None,
        public_key: PublicKey | Sequence[PublicKey] | None = None,
        *,
        updates: str | Path | None = None,
        engine: EngineName = "auto",
        store_key: bytes | None = None,
    ) -> Recommender:
        """Verify the bundle in a folder and load it.

        Args:
            store: SQLite file of the users' events, created if missing; None keeps them in memory.
            public_key: a key, or several while one replaces another, of which one must have signed the bundle: the
                file of it, or its 32 bytes. Needs the extra `sign`. None: a signature is not looked at.
            updates: folder for what `update` brings, created when it is needed; a newer bundle that lies there is
                opened in place of this one. None: beside the bundle, under its name with ".updates".
            engine: "auto" is onnxruntime where it is installed, else "numpy", which gives the same lists more slowly.
            store_key: 32 bytes that encrypt `store`. Needs the extra `encrypt`.
        Raises:
            BundleError: the bundle is damaged, unsafe, of another format, or not signed by a pinned key.
            DataError: `store` is not an event log.
        """
        versions = Updates(Path(bundle), None if updates is None else Path(updates), public_key)
        model = versions.open(lambda found: Model(found, engine))
        file = None if store is None else Path(store)
        events = EventStore(file, model.policy.log, store_key)
        return cls(_Home(model, events, versions, engine), events)

    @classmethod
    def of(cls, bundle: str | Path | Bundle, engine: EngineName = "auto") -> Recommender:
        """Load this very bundle, with its events in memory: for tools. It is never updated.

        Raises:
            BundleError: see `open`.
        """
        model = Model(bundle if isinstance(bundle, Bundle) else Bundle.open(bundle), engine)
        events = EventStore(None, model.policy.log)
        return cls(_Home(model, events, engine=engine), events)

    @property
    def bundle(self) -> Bundle:
        """What is recommended from."""
        return self._home.model.bundle

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the scored tasks."""
        return self._home.model.tasks

    @property
    def encoder(self) -> RequestEncoder:
        """How a request becomes arrays."""
        return self._home.model.encoder

    # --- views ---

    def profile(self, name: str) -> Recommender:
        """The same recommender for another user of this device, with a past of its own in the same store."""
        self._model()
        if not name:
            return self if self._profile == name and self._store is self._home.store else self._new(name)
        with self._home.views_lock:
            found = self._home.views.get(name)
            if found is None:  # kept, with its encoded past: a service asks for the same few again and again
                if len(self._home.views) >= MAX_VIEWS:
                    self._home.views.clear()
                found = self._home.views[name] = self._new(name)
        return found

    def _new(self, profile: str) -> Recommender:
        return Recommender(self._home, self._home.store, profile)

    def session(self, idle_s: float = 0.0) -> Recommender:
        """The same recommender for a visitor without a name: the past is in memory only, and gone when it is closed.

        Args:
            idle_s: seconds without a call after which the next call finds it empty; 0: never.
        """
        model = self._model()
        return Recommender(self._home, EventStore(None, model.policy.log), idle_s=idle_s)

    def profiles(self) -> list[str]:
        """Names of all users of whom something is stored."""
        self._model()
        return self._home.store.profiles()

    # --- what is asked ---

    def recommend(
        self,
        k: int = 10,
        *,
        weights: Mapping[str, float] | None = None,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
        diversity: float | None = None,
        explain: bool = False,
        context: Mapping[str, object] | None = None,
        user: Mapping[str, object] | None = None,
        now: Time = None,
        history: Events | None = None,
        log: bool | None = None,
    ) -> Recommendations:
        """The best k items of the catalogue, by the bundle's policy.

        Args:
            weights: what each task counts; tasks left out count nothing. None: the bundle's defaults.
            where: condition over the catalogue's columns, such as ``"price < 20 AND brand = :brand"``; see
                `edgerec.bundle.conditions`.
            parameters: values of ``:name`` in `where`; they are never part of its text.
            exclude: item ids; unknown ones are ignored.
            diversity: from 0, the best items, to 1, items unlike each other. None: the policy's.
            explain: also tell `Recommendation.reasons`.
            context, user: values of the log's context and user columns; one that is missing, or that the bundle has
                not seen, is treated as unknown.
            now: the time of the request.
            history: used in place of the store's events.
            log: keep the list, for `observe`, for the policy's caps and for evaluation. None: as the policy needs.
        Returns:
            Best first; all that are left where fewer than k are, see `Recommendations.why_fewer`.
        Raises:
            ConfigError: unknown task or column, invalid condition, or k < 1.
        """
        model = self._model()
        request = Request(weights=weights, context=context, user=user, now=now, history=history)
        found = self._list(model, k, where, parameters, exclude, diversity, request)
        ranked, probability, name = found.ranked, None, None
        keep = model.policy.logs if log is None else log
        if keep:
            if model.policy.explore is not None and len(ranked.item):
                learned = self._learned(model)
                ranked, probability = found.explored(model, model.policy.explore, k, learned, self._home.random)
            name = self._log(model, ranked, probability, len(found.pool.item), request)
        why_fewer = found.why_fewer(model.n_items) if len(ranked.item) < k else {}
        return Recommendations(named(model, ranked, explain), why_fewer, name)

    def rank(
        self,
        k: int,
        *,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
        diversity: float | None = None,
        **request: Unpack[Request],
    ) -> Ranked:
        """`recommend` as arrays over item indices, for batches and evaluation; nothing is explored or logged.

        Raises:
            ConfigError: see `recommend`.
        """
        return self._list(self._model(), k, where, parameters, exclude, diversity, request).ranked

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
        model = self._model()
        candidates = np.array([model.known(item) for item in items], np.int64)
        request = Request(weights=weights, context=context, user=user, now=now, history=history)
        return named(model, self._rate(model, candidates, request), explain)

    def rate(self, candidates: Int, **request: Unpack[Request]) -> Ranked:
        """`score` as arrays: `candidates` int64 (M,), each in [0, n_items).

        Raises:
            ConfigError: see `recommend`; or a candidate is out of range.
        """
        return self._rate(self._model(), candidates, request)

    def similar(
        self,
        item: str,
        k: int = 10,
        *,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
    ) -> Recommendations:
        """The k items that most often share a session with `item`; arguments as in `recommend`.

        Raises:
            ConfigError: the catalogue does not hold the item, an invalid condition, or k < 1.
            BundleError: the bundle was built without a "related" task.
        """
        model = self._model()
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        index = model.known(item)
        removed = self._removed(model, where, parameters, exclude, {})
        removed.append(("excluded", np.array([index])))
        found, score = _related(model, index, k, removed)
        items = named_related(model, found.tolist(), score.tolist())
        why_fewer = List(_no_list(), _no_list(), removed).why_fewer(model.n_items, len(items)) if len(items) < k else {}
        return Recommendations(items, why_fewer)

    def relate(
        self, item: int, k: int, *, where: str | None = None, exclude: Collection[str] = ()
    ) -> tuple[Int, Float]:
        """`similar` as arrays: indices of at most k items, best first, and their probabilities.

        Raises:
            ConfigError: see `similar`.
        """
        model = self._model()
        return _related(model, item, k, self._removed(model, where, None, exclude, {}))

    def explain(
        self,
        item: str,
        *,
        weights: Mapping[str, float] | None = None,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
        context: Mapping[str, object] | None = None,
        user: Mapping[str, object] | None = None,
        now: Time = None,
        history: Events | None = None,
    ) -> Explanation:
        """Where an item's utility comes from, by asking again without each part; arguments as in `recommend`.

        Raises:
            ConfigError: the catalogue does not hold the item; see also `recommend`.
        """
        model = self._model()
        request = Request(weights=weights, context=context, user=user, now=model.now_ms(now), history=history)
        index, past = model.known(item), self._past_of(model, history)
        weight, may_repeat = model.weights(weights)

        def utility(encoded: Encoded) -> Ranked:
            return model.scoring.score(encoded, weight, np.array([index]))

        nobody = model.past(Events(NONE, NONE, NONE))
        here = model.arrays(nobody, request)
        nowhere = replace(
            here,
            context_categorical=np.zeros_like(here.context_categorical),
            context_numeric=np.zeros_like(here.context_numeric),
        )
        whole = utility(model.arrays(past, request))
        total, alone, plain = (float(r.utility[0]) for r in (whole, utility(here), utility(nowhere)))
        contributions = []
        for at in np.argsort(-np.abs(whole.reason[0]), kind="stable")[:MAX_CONTRIBUTIONS]:
            cause = int(whole.history[at])
            kept = past.items != cause
            without = model.past(Events(past.items[kept], past.kinds[kept], past.time_ms[kept]))
            lost = total - float(utility(model.arrays(without, request)).utility[0])
            contributions.append(Contribution(*model.catalog.named(cause), float(whole.reason[0, at]), lost))
        removed = self._removed(model, where, parameters, exclude, request, past)
        if not may_repeat:
            removed.append(("history", past.items))
        by = next((cause for cause, gone in removed if index in gone), None)
        parts = (total, plain, alone - plain, total - alone)
        return Explanation(*model.catalog.named(index), *parts, tuple(contributions), by)

    # --- what is told ---

    def observe(
        self,
        item: str,
        kind: str = NO_KIND,
        time: Time = None,
        context: Mapping[str, object] | None = None,
        *,
        event_id: str | None = None,
        list_name: str | None = None,
    ) -> bool:
        """Log what the user did; it is on the disk when this returns True, and counts from the next call on.

        Args:
            item: its id; one that the catalogue does not hold is kept for a later bundle and ignored in scoring.
            kind: the binary tasks that were positive, such as "click" or "click+like"; "event" for none of them.
            event_id: of the app's own; an event that is told again with the same id is one event.
            list_name: `Recommendations.name` of the list that it answers.
        Returns:
            False if the disk did not take it; recommending goes on, and `health` counts the loss.
        Raises:
            DataError: unknown kind, or no item. ConfigError: unknown context column.
        """
        model = self._model()
        if not isinstance(item, str) or not item or not _is_text(item):
            raise DataError(f"an item is named by its id, a string that is not empty; got {item!r}")
        kind_mask(kind, model.encoder.binary)
        model.check_columns(context or {}, "context")
        self._wake()
        try:
            self._store.append(
                item,
                kind,
                model.now_ms(time),
                context or {},
                profile=self._profile,
                event_id=event_id,
                list_name=list_name,
                # A clock that is known to be wrong sets no earlier event back.
                by_clock=time is None and milliseconds(None) >= model.created_ms,
            )
        except DataError:
            return False
        return True

    def forget(self) -> None:
        """Erase all that is stored of this user: events, lists, what was learned.

        Raises:
            DataError: the disk refused it.
        """
        self._model()
        self._store.forget(self._profile)
        self._past = None

    def update(self, folder: str | Path) -> str:
        """Take a newer bundle, or a delta to one, from a folder: verified, tried in a process of its own, swapped in.

        The old version stays and is used until the new one has passed everything, and again if it later fails.
        Returns:
            "NAME VERSION" of the bundle in use.
        Raises:
            BundleError: it is damaged, older, unsigned where a key is pinned, or gives other answers here than where
                it was built; the old version goes on.
        """
        self._model()
        home = self._home
        if home.updates is None:
            raise ConfigError("this recommender is of one bundle; open it with Recommender.open to update it")
        with home.lock:
            found = home.updates.install(Path(folder), home.model.bundle)
            if found is not None:
                model = home.updates.open(lambda bundle: Model(bundle, home.engine))
                if model.bundle.folder.name != found:
                    raise BundleError(
                        f"{folder}: passed its self-test and cannot be loaded here; the old version goes on"
                    )
                home.model = model
                home.store.bound(model.policy.log)
            return home.model.name

    def check(self) -> int:
        """Run the bundle's conformance requests; returns how many passed.

        Raises:
            BundleError: this machine computes something else than the one that built the bundle.
        """
        from edgerec.runtime.conformance import check_conformance

        model = self._model()
        return check_conformance(model.bundle, model.engine)

    def health(self) -> dict[str, object]:
        """For a log of the app: bundle, engine, rows and bytes of the store, events lost, updates rolled back."""
        model = self._model()
        rolled = self._home.updates.rolled_back() if self._home.updates else []
        return {"bundle": model.name, "engine": model.engine.name, "rolled_back": rolled, **self._home.store.size()}

    def score_by(self, scoring: Scoring) -> None:
        """Let something else than the bundle's graphs score: the models that the bundle was made from, to compare."""
        self._home.model.scoring = scoring

    def index_of(self, item: str) -> int | None:
        """The index of an item id, None if the catalogue does not hold it."""
        return self._home.model.catalog.index_of(item)

    def named(self, index: int) -> tuple[str, str]:
        """Id and title of an item index."""
        return self._home.model.catalog.named(index)

    def close(self) -> None:
        """Close the files; events stay in the store. Closing twice is harmless, and a view closes itself only."""
        if self._store is not self._home.store:
            self._ended, self._past = True, None
            self._store.close()
        elif self._profile == DEFAULT_PROFILE:
            with self._home.lock:
                self._home.closed = True
                self._home.model.close()
                self._store.close()

    def __enter__(self) -> Recommender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- parts ---

    def _model(self) -> Model:
        """The bundle in use; one call works with one, whatever update comes meanwhile."""
        if self._home.closed or self._ended:
            raise ConfigError("this recommender is closed; open it again")
        return self._home.model

    def _wake(self) -> None:
        """Empty the session of a visitor who left."""
        if self._idle_s:
            now_s = clock.monotonic()
            if now_s - self._used_s > self._idle_s:
                self._store.forget()
            self._used_s = now_s

    def _past_of(self, model: Model, history: Events | None) -> Past:
        if history is not None:
            return model.past(history)
        self._wake()
        try:
            return self._stored_past(model)
        except DataError:  # a store that cannot be read is no reason to recommend nothing
            return model.past(Events(NONE, NONE, NONE))

    def _stored_past(self, model: Model) -> Past:
        version, kept = self._store.version, self._past
        if kept is not None and kept[0] is model and kept[1] == version:
            return kept[2]
        past = model.past(self._store.events(model.encoder.binary, self._profile))
        self._past = (model, version, past)
        return past

    def _list(
        self,
        model: Model,
        k: int,
        where: str | None,
        parameters: Mapping[str, Parameter] | None,
        exclude: Collection[str],
        diversity: float | None,
        request: Request,
    ) -> List:
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        if diversity is not None and not 0 <= diversity <= 1:
            raise ConfigError(f"diversity must lie between 0 and 1, got {diversity}")
        weights, may_repeat = model.weights(request.get("weights"))
        past = self._past_of(model, request.get("history"))
        removed = self._removed(model, where, parameters, exclude, request, past)
        if not may_repeat:
            removed.append(("history", past.items))
        learned = self._learned(model) if model.policy.adapt is not None else None
        values = values_of(model, request) if model.policy.boosts else {}
        return best_list(model, k, model.arrays(past, request), weights, removed, past, diversity, values, learned)

    def _rate(self, model: Model, candidates: Int, request: Request) -> Ranked:
        if len(candidates) and not 0 <= candidates.min() <= candidates.max() < model.n_items:
            raise ConfigError(f"candidates must be item indices from 0 to {model.n_items - 1}")
        past = self._past_of(model, request.get("history"))
        weights, _ = model.weights(request.get("weights"))
        return model.scoring.score(model.arrays(past, request), weights, candidates)

    def _removed(
        self,
        model: Model,
        where: str | None,
        parameters: Mapping[str, Parameter] | None,
        exclude: Collection[str],
        request: Request,
        past: Past | None = None,
    ) -> list[Removal]:
        """What is no candidate, by cause; one item may stand under several."""
        removed = asked_out(model, where, parameters, exclude, request)
        if past is not None and (model.policy.seen or model.policy.caps):
            now_ms = model.now_ms(request.get("now"))
            removed += known_too_well(model, past, now_ms, partial(self._store.how_often, profile=self._profile))
        return removed

    def _learned(self, model: Model) -> Learned:
        from edgerec.runtime.feedback import load_learned  # loaded on use: most policies do not learn

        return load_learned(self._store, self._profile, model)

    def _log(self, model: Model, ranked: Ranked, probability: object, pool: int, request: Request) -> str | None:
        """Keep a list; before that, learn from the last one, whose answers are complete now."""
        if model.policy.adapt is not None or model.policy.explore is not None:
            from edgerec.runtime.feedback import learn_from

            learn_from(self._store, self._profile, model)
        ids = tuple(model.catalog.named(i)[0] for i in ranked.item.tolist())
        chances = tuple(np.asarray(probability).tolist()) if probability is not None else (1.0,) * len(ids)
        context = {n: v for n, v in values_of(model, request).items() if n != NOW}
        now_ms = model.now_ms(request.get("now"))
        utility = tuple(ranked.utility.tolist())
        shown = Shown(new_name(), now_ms, model.name, ids, chances, utility, pool, context)
        return shown.name if self._store.show(shown, self._profile) else None


def _related(model: Model, item: int, k: int, removed: Sequence[Removal]) -> tuple[Int, Float]:
    gone = np.concatenate([part for _, part in removed])
    found, score = model.scoring.similar(item, gone, min(k, model.n_items))
    keep = (score != -np.inf) & (found != item)
    return found[keep], score[keep]


def _no_list() -> Ranked:
    return Ranked(NONE, np.zeros(0, np.float32), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32), NONE)


def _is_text(value: str) -> bool:
    """Whether it can be stored: half of a character cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
