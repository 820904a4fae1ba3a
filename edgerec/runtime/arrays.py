"""The runtime over item indices and arrays: for batches, evaluation and tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from edgerec.bundle import Bundle
from edgerec.bundle.columns import Parameter
from edgerec.errors import ConfigError
from edgerec.runtime.arguments import number, path, whole
from edgerec.runtime.engine import EngineName, Ranked, Scoring
from edgerec.runtime.events import Events
from edgerec.runtime.model import EncodedHistory, Model, RequestArguments
from edgerec.runtime.naming import named
from edgerec.runtime.removals import Filters, filtered, policy_values, seen_or_capped
from edgerec.runtime.results import Recommendation
from edgerec.runtime.selection import Question, Removal, Selection, joined, select
from edgerec.tasks import RequestEncoder
from edgerec.tasks.buffers import Floats, Ints, Matrix, floats, ints

if TYPE_CHECKING:
    from edgerec.runtime.memory import UserMemory


class ArrayRecommender:
    """Ranks and scores items by index; explores and logs nothing. `Recommender` is built on it. Thread-safe.

    A request without ``history`` is of the user of `Recommender.arrays`; with `of`, of a user without a past.

    >>> with ArrayRecommender.of("bundle") as rec:  # doctest: +SKIP
    ...     ranked = rec.rank(10, history=Events(array("q", [3]), [0], [now_ms]), now=now_ms)
    ...     print([rec.named(index) for index in ranked.item])
    """

    def __init__(self, model: Model, memory: UserMemory | None = None, scoring: Scoring | None = None) -> None:
        """Use `of`, or `Recommender.arrays`.

        Args:
            memory: of the user who asks; None is a user without a past.
            scoring: in place of the bundle's graphs.
        """
        self.model, self.memory = model, memory
        self.scoring: Scoring = scoring or model.engine

    @classmethod
    def of(cls, bundle: str | Path | Bundle, engine: EngineName = "auto") -> ArrayRecommender:
        """Load this very bundle, without looking for updates.

        Raises:
            BundleError: see `Recommender.open`.
        """
        return cls(Model(bundle if isinstance(bundle, Bundle) else Bundle.open(path(bundle, "bundle")), engine))

    def scored_by(self, scoring: Scoring) -> ArrayRecommender:
        """The same with another scoring than the bundle's graphs, such as the models that the bundle was made from."""
        return ArrayRecommender(self.model, self.memory, scoring)

    @property
    def bundle(self) -> Bundle:
        """What is recommended from."""
        return self.model.bundle

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the scored tasks."""
        return self.model.tasks

    @property
    def encoder(self) -> RequestEncoder:
        """How a request becomes arrays."""
        return self.model.encoder

    # --- requests ---

    def rank(
        self,
        k: int,
        *,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
        diversity: float | None = None,
        **request: Unpack[RequestArguments],
    ) -> Ranked:
        """The best k items by the bundle's policy, as `Recommender.recommend`.

        Raises:
            ConfigError: see there.
        """
        return self.select(k, Filters(where, parameters, exclude), diversity, request).ranked

    def rate(self, candidates: Iterable[int], **request: Unpack[RequestArguments]) -> Ranked:
        """The given items in their order, as `Recommender.score`: `candidates` are item indices, each in [0, n_items).

        Raises:
            ConfigError: see there; or a candidate is out of range.
        """
        model = self.model
        candidates = ints(candidates)
        if candidates and not 0 <= min(candidates) <= max(candidates) < model.n_items:
            raise ConfigError(f"candidates must be item indices from 0 to {model.n_items - 1}")
        history = self.history(request.get("history"))
        weights, _ = model.weights(request.get("weights"))
        return self.scoring.score(model.encode(history, request), weights, candidates)

    def relate(
        self,
        item: int,
        k: int,
        *,
        where: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        exclude: Collection[str] = (),
    ) -> tuple[Ints, Floats]:
        """The items that most often share a session with another, as `Recommender.similar`.

        Returns:
            Indices of at most k items, best first, and their probabilities.
        Raises:
            ConfigError, BundleError: see there.
        """
        return self.related(item, k, filtered(self.model, Filters(where, parameters, exclude), {}))

    # --- items ---

    def index_of(self, item: str) -> int | None:
        """The index of an item id, None if the catalogue does not hold it."""
        return self.model.catalog.index_of(item)

    def named(self, index: int) -> tuple[str, str]:
        """Id and title of an item index."""
        return self.model.catalog.named(index)

    def recommendations(self, ranked: Ranked, explain: bool = False) -> list[Recommendation]:
        """Ranked items as `Recommender` returns them: with ids and titles, and with reasons if `explain`."""
        return named(self.model, ranked, explain)

    def directions(self, items: Iterable[int]) -> Matrix:
        """Rows (n, dim) of the item table for item indices (n,), less the table's mean row."""
        return self.model.directions(ints(items))

    # --- the bundle ---

    def check(self) -> int:
        """See `Recommender.check`."""
        from edgerec.runtime.conformance import check_conformance

        return check_conformance(self.model.bundle, self.model.engine)

    def close(self) -> None:
        """Close the files of a bundle that `of` loaded."""
        self.model.close()

    def __enter__(self) -> ArrayRecommender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what `Recommender` is built on ---

    def history(self, events: Events | None) -> EncodedHistory:
        """These events encoded; None: those of the user who asks."""
        if events is not None:
            return self.model.encode_history(events)
        return self.model.no_history if self.memory is None else self.memory.history(self.model)

    def select(self, k: int, filters: Filters, diversity: float | None, request: RequestArguments) -> Selection:
        """See `rank`; with the candidates, and what was removed."""
        k = whole(k, "k")
        diversity = None if diversity is None else number(diversity, "diversity", 0, 1)
        model = self.model
        weights, may_repeat = model.weights(request.get("weights"))
        history = self.history(request.get("history"))
        removed = self.removed(filters, request, history, may_repeat)
        learned = self.memory.learned(model) if self.memory is not None and model.policy.adapt is not None else None
        values = policy_values(model, request) if model.policy.boosts else {}
        question = Question(model.encode(history, request), weights, removed, history, values, learned)
        return select(model, self.scoring, question, k, diversity)

    def removed(
        self, filters: Filters, request: RequestArguments, history: EncodedHistory, may_repeat: bool
    ) -> list[Removal]:
        """Which items are not candidates, by cause; one item may stand under several.

        Args:
            may_repeat: whether items of the history may be recommended.
        """
        model = self.model
        removed = filtered(model, filters, request)
        if model.policy.seen or model.policy.caps:
            how_often = self.memory.how_often if self.memory is not None else _never
            removed += seen_or_capped(model, history, model.now_ms(request.get("now")), how_often)
        if not may_repeat:
            removed.append(("history", ints(history.items)))
        return removed

    def related(self, item: int, k: int, removed: Sequence[Removal]) -> tuple[Ints, Floats]:
        """See `relate`."""
        items, score = self.scoring.similar(item, joined(removed), min(k, self.model.n_items))
        listed = [at for at, (i, s) in enumerate(zip(items, score, strict=True)) if s != -inf and i != item]
        return ints([items[at] for at in listed]), floats([score[at] for at in listed])


def _never(since_ms: int) -> Counter[str]:
    """How often a user without a past was shown each item."""
    return Counter()
