"""What a device remembers of one user, as the model needs it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgerec.bundle.policy import NOW
from edgerec.errors import DataError
from edgerec.runtime.arguments import Time
from edgerec.runtime.engine import Ranked
from edgerec.runtime.events import DEFAULT_PROFILE, Clock
from edgerec.runtime.logged_lists import LoggedList, new_name
from edgerec.runtime.model import EncodedHistory, Model, RequestArguments
from edgerec.runtime.removals import policy_values
from edgerec.runtime.store import EventStore

if TYPE_CHECKING:
    from edgerec.runtime.adaptation import LearnedState


class UserMemory:
    """The events, lists and learned state of one user in a store; the encoded history is kept between requests.

    Args:
        idle_s: seconds without a call after which the next call finds the store empty; 0: never.
        clock_s: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        store: EventStore,
        profile: str = DEFAULT_PROFILE,
        idle_s: float = 0.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.profile = store, profile
        self._idle_s, self._clock_s, self._used_s = idle_s, clock_s, clock_s()
        self._cached: tuple[Model, object, EncodedHistory] | None = None

    def history(self, model: Model) -> EncodedHistory:
        """What the user did; nothing where the store cannot be read, which is no reason to recommend nothing."""
        self._wake()
        try:
            version, cached = self.store.version, self._cached
            if cached is not None and cached[0] is model and cached[1] == version:
                return cached[2]
            history = model.encode_history(self.store.events.read(model.encoder.binary, self.profile))
        except DataError:
            return model.no_history
        self._cached = (model, version, history)
        return history

    def observe(
        self,
        model: Model,
        item: str,
        kind: str,
        now: Time,
        context: Mapping[str, object],
        event_id: str | None,
        list_name: str | None,
    ) -> bool:
        """See `Recommender.observe`, which checks the arguments."""
        self._wake()
        try:
            self.store.events.append(
                item,
                kind,
                model.event_ms(now),
                context,
                profile=self.profile,
                event_id=event_id,
                list_name=list_name,
                # A clock that is known to be wrong sets no earlier event back.
                by_clock=now is None and model.clock_is_plausible(),
                clock=Clock(model.device_now_ms(), model.created_ms),
            )
        except DataError:
            return False
        return True

    def how_often(self, since_ms: int) -> Counter[str]:
        """In how many of the user's lists each item was since a time."""
        return self.store.lists.how_often(since_ms, self.profile)

    def learned(self, model: Model) -> LearnedState:
        """What is known of the user under this bundle."""
        from edgerec.runtime.feedback import load_learned  # loaded on use: most policies do not learn

        return load_learned(self.store, self.profile, model)

    def log_list(
        self,
        model: Model,
        ranked: Ranked,
        probability: Sequence[float] | None,
        pool: int,
        request: RequestArguments,
    ) -> str | None:
        """Store a list and return its name, None if the disk did not take it.

        Before that, learn from the last list, whose answers are complete now.
        Args:
            probability: of each choice, None where nothing was drawn. pool: number of candidates.
        """
        if model.policy.adapt is not None or model.policy.explore is not None:
            from edgerec.runtime.feedback import learn_from

            learn_from(self.store, self.profile, model)
        ids = tuple(model.catalog.named(i)[0] for i in ranked.item)
        logged = LoggedList(
            name=new_name(),
            time_ms=model.now_ms(request.get("now")),
            bundle=model.name,
            items=ids,
            probability=(1.0,) * len(ids) if probability is None else tuple(probability),
            utility=tuple(ranked.utility),
            pool=pool,
            context={n: v for n, v in policy_values(model, request).items() if n != NOW},
        )
        return logged.name if self.store.lists.append(logged, self.profile) else None

    def forget(self) -> None:
        """Erase all of it.

        Raises:
            DataError: the disk refused it.
        """
        self.store.forget(self.profile)
        self._cached = None

    def close(self) -> None:
        """Close the store."""
        self._cached = None
        self.store.close()

    def _wake(self) -> None:
        """Empty the session of a visitor who left."""
        if self._idle_s:
            now_s = self._clock_s()
            if now_s - self._used_s > self._idle_s:
                self.store.forget()
            self._used_s = now_s
