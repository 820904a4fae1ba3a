"""The recommender that an app embeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgerec.bundle import Bundle
from edgerec.bundle.columns import Parameter
from edgerec.runtime import arguments
from edgerec.runtime.arguments import Time
from edgerec.runtime.device import Device
from edgerec.runtime.engine import EngineName, Ranked
from edgerec.runtime.events import NO_KIND, Events, kind_mask
from edgerec.runtime.memory import UserMemory
from edgerec.runtime.model import Model, RequestArguments
from edgerec.runtime.naming import named_related
from edgerec.runtime.removals import Filters, filtered
from edgerec.runtime.results import Explanation, Recommendation, Recommendations
from edgerec.runtime.selection import Selection, count_losses
from edgerec.runtime.store import EventStore
from edgerec.runtime.updates import Updates
from edgerec.runtime.view import UserView
from edgerec.tasks.buffers import ints

if TYPE_CHECKING:
    from edgerec.bundle.sign import PublicKey


class Recommender(UserView):
    """Recommends from a bundle and the events of one user, on this device. Thread-safe.

    >>> with Recommender.open("bundle", store="state.sqlite") as rec:  # doctest: +SKIP
    ...     rec.observe("22423", kind="click")
    ...     for r in rec.recommend(k=5, where="UnitPrice < 20", explain=True):
    ...         print(r.title, r.reasons)
    """

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
            public_key: a key, or several while one replaces another; one of them must have signed the bundle. Each is
                the key's file, or its 32 bytes. Needs the extra `sign`. None: a signature is not looked at.
            updates: folder for what `update` brings, created when it is needed; a newer bundle that lies there is
                opened in place of this one. None: beside the bundle, under its name with ".updates".
            engine: "auto" is "native" where the bundle has student.bin and the library for this machine gives the
                bundle's answers, else "onnxruntime" where it is installed, else "numpy". All give the same lists.
            store_key: 32 bytes that encrypt `store`. Needs the extra `encrypt`.
        Raises:
            BundleError: the bundle is damaged, unsafe, of another format, or not signed by a pinned key.
            DataError: `store` is not an event log.
        """
        where = None if updates is None else arguments.path(updates, "updates")
        path = None if store is None else arguments.path(store, "store")
        versions = Updates(arguments.path(bundle, "bundle"), where, public_key)
        load = partial(Model, engine=engine)
        model = versions.open(load)
        events = EventStore(path, model.policy.log, store_key)
        return cls(Device(model, events, load, versions), UserMemory(events))

    @classmethod
    def of(cls, bundle: str | Path | Bundle, engine: EngineName = "auto") -> Recommender:
        """Load this very bundle, without looking for updates; events are in memory.

        Raises:
            BundleError: see `open`.
        """
        load = partial(Model, engine=engine)
        model = load(bundle if isinstance(bundle, Bundle) else Bundle.open(arguments.path(bundle, "bundle")))
        events = EventStore(None, model.policy.log)
        return cls(Device(model, events, load), UserMemory(events))

    # --- requests ---

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
            explain: also give `Recommendation.reasons`.
            context, user: values of the log's context and user columns; one that is missing, or that the bundle has
                not seen, is treated as unknown.
            now: the time of the request.
            history: used in place of the store's events.
            log: store the list, for `observe`, for the policy's caps and for evaluation. None: as the policy needs.
        Returns:
            Best first; all that are left where fewer than k are, see `Recommendations.why_fewer`.
        Raises:
            ConfigError: unknown task or column, invalid condition, or k < 1.
        """
        arrays, filters = self.arrays, _filters(where, parameters, exclude)
        request, explain = _request(weights, context, user, now, history), arguments.flag(explain, "explain")
        log = arrays.model.policy.logs if log is None else arguments.flag(log, "log")
        selection = arrays.select(k, filters, diversity, request)
        ranked, name = selection.ranked, None
        if log:
            ranked, name = self._log(arrays.model, selection, k, request)
        why_fewer = selection.why_fewer(arrays.model.n_items) if len(ranked.item) < k else {}
        return Recommendations(arrays.recommendations(ranked, explain), why_fewer, name)

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
        arrays = self.arrays
        candidates = ints([arrays.model.known(item) for item in arguments.item_ids(items, "items")])
        ranked = arrays.rate(candidates, **_request(weights, context, user, now, history))
        return arrays.recommendations(ranked, arguments.flag(explain, "explain"))

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
        arrays, k = self.arrays, arguments.whole(k, "k")
        model, index = arrays.model, arrays.model.known(item)
        removed = [*filtered(model, _filters(where, parameters, exclude), {}), ("excluded", ints([index]))]
        indices, score = arrays.related(index, k, removed)
        items = named_related(model, indices, score)
        why_fewer = count_losses(removed, model.n_items, len(items), "history") if len(items) < k else {}
        return Recommendations(items, why_fewer)

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
        from edgerec.runtime.explanation import explain_item  # loaded on use

        request = _request(weights, context, user, now, history)
        return explain_item(self.arrays, item, _filters(where, parameters, exclude), request)

    # --- feedback ---

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
            item: its id; one that the catalogue does not hold is stored for a later bundle and ignored in scoring.
            kind: the binary tasks that were positive, such as "click" or "click+like"; "event" for none of them.
            event_id: of the app's own; an event that is reported again with the same id is one event.
            list_name: `Recommendations.name` of the list that it answers.
        Returns:
            False if the disk did not take it; recommending goes on, and `health` counts the loss.
        Raises:
            DataError: unknown kind, or no item.
            ConfigError: a kind that is no text, unknown context column, or a time before 1990 or more than a day ahead.
        """
        model, told = self.arrays.model, arguments.values(context, "context")
        kind_mask(arguments.name(kind, "kind"), model.encoder.binary)
        model.check_columns(told, "context")
        for value, what in ((event_id, "event_id"), (list_name, "list_name")):
            if value is not None:
                arguments.name(value, what)
        return self._memory.observe(model, arguments.item_id(item), kind, time, told, event_id, list_name)

    def forget(self) -> None:
        """Erase all that is stored of this user: events, lists, what was learned.

        Raises:
            DataError: the disk refused it.
        """
        self._require_open()
        self._memory.forget()

    def _log(self, model: Model, selection: Selection, k: int, request: RequestArguments) -> tuple[Ranked, str | None]:
        """Fill the last places by trial where the policy explores, and store the list: what is shown, and its name."""
        ranked, probability, explore = selection.ranked, None, model.policy.explore
        if explore is not None and len(ranked.item):
            learned = self._memory.learned(model)
            ranked, probability = selection.explored(model, explore, k, learned, self._device.random)
        return ranked, self._memory.log_list(model, ranked, probability, len(selection.pool.item), request)


def _filters(where: str | None, parameters: Mapping[str, Parameter] | None, exclude: Collection[str]) -> Filters:
    told = arguments.parameters(parameters)
    return Filters(arguments.condition(where), told, arguments.item_ids(exclude, "exclude"))


def _request(
    weights: Mapping[str, float] | None,
    context: Mapping[str, object] | None,
    user: Mapping[str, object] | None,
    now: Time,
    history: Events | None,
) -> RequestArguments:
    """What the arrays below take, once it is known to be plausible."""
    return RequestArguments(
        weights=weights,
        context=arguments.values(context, "context"),
        user=arguments.values(user, "user"),
        now=None if now is None else arguments.milliseconds(now, "now"),
        history=arguments.events(history),
    )
