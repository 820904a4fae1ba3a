"""One list: candidates from the engine, less what was removed, arranged by the policy."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from math import exp, inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from edgerec.bundle.columns import Parameter
from edgerec.bundle.policy import Explore
from edgerec.runtime.engine import Ranked, Scoring
from edgerec.runtime.model import EncodedHistory, Model
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import Floats, Ints, Matrix, floats

if TYPE_CHECKING:
    import numpy as np

    from edgerec.runtime.adaptation import LearnedState
    from edgerec.runtime.slate import Mix

Removal: TypeAlias = tuple[str, Ints]
"""A cause, and the item indices that it removes."""


class Selection(NamedTuple):
    """A list with what it was chosen from.

    Attributes:
        ranked: the list. pool: the candidates, in the order in which they would follow. removed: before that.
    """

    ranked: Ranked
    pool: Ranked
    removed: Sequence[Removal]

    def why_fewer(self, n_items: int) -> dict[str, int]:
        """See `Recommendations.why_fewer`."""
        rest = "quota" if len(self.pool.item) > len(self.ranked.item) else "history"
        return count_losses(self.removed, n_items, len(self.ranked.item), rest)

    def explored(
        self, model: Model, explore: Explore, k: int, learned: LearnedState, random: np.random.Generator
    ) -> tuple[Ranked, Sequence[float]]:
        """The list with its last places filled by trial, and the probability of each choice."""
        from edgerec.runtime.exploration import fill  # loaded on use

        where = {i: at for at, i in enumerate(self.pool.item)}
        chosen = {where[i] for i in self.ranked.item}
        rest = (at for at in range(len(where)) if at not in chosen)
        pool = self.pool.take([*(where[i] for i in self.ranked.item), *rest])
        vectors = model.directions(pool.item) if explore.method == "linucb" else None
        ids = [model.catalog.named(i)[0] for i in pool.item]
        at, probability = fill(explore, min(k, len(ids)), ids, pool.utility, vectors, learned, random)
        return pool.take(at.tolist()), probability.tolist()


class Question(NamedTuple):
    """A request, as arrays.

    Attributes:
        removed: items that are not candidates.
        values: what the policy's conditions may name. learned: of the user, where the policy adapts.
    """

    encoded: Encoded
    weights: Floats
    removed: Sequence[Removal]
    history: EncodedHistory
    values: Mapping[str, Parameter]
    learned: LearnedState | None


def count_losses(removed: Sequence[Removal], n_items: int, n_listed: int, rest: str) -> dict[str, int]:
    """By cause, how many items were lost, every item counted once; `rest` is the cause of those without another."""
    gone: set[int] = set()
    lost: dict[str, int] = {}
    for cause, part in removed:
        before = len(gone)
        gone.update(part)
        lost[cause] = lost.get(cause, 0) + len(gone) - before
    lost[rest] = lost.get(rest, 0) + n_items - len(gone) - n_listed
    return {"catalogue": n_items, **{cause: n for cause, n in lost.items() if n}}


def joined(removed: Sequence[Removal]) -> Ints:
    """The items that are removed for any cause; one may stand twice."""
    if len(removed) == 1:
        return removed[0][1]
    gone = array("q")
    for _, part in removed:
        gone += part
    return gone


def select(model: Model, scoring: Scoring, question: Question, k: int, diversity: float | None) -> Selection:
    """The best k items by the policy; `diversity` in place of the policy's."""
    policy, removed = model.policy, question.removed
    diversity = policy.diversity if diversity is None else diversity
    gone = joined(removed)
    arranged = bool(diversity) or policy.rearranges
    size = min(max(policy.pool, k), model.n_items) if arranged or policy.explore else min(k, model.n_items)
    while True:
        pool = _candidates(scoring.recommend(question.encoded, question.weights, gone, size))
        if not arranged:
            best = pool.take(range(k)) if len(pool.item) > k else pool
            return Selection(best, pool, removed)
        pool = _moved(model, pool, question.values, question.learned)
        at = _arranged(model, pool, k, diversity, question.history)
        # Quotas can use up the pool; then it is widened, to the whole catalogue if need be.
        if len(at) >= k or size == model.n_items or len(pool.item) < size:
            return Selection(pool.take(at), pool, removed)
        size = min(4 * size, model.n_items)


def _candidates(ranked: Ranked) -> Ranked:
    if not ranked.utility or ranked.utility[-1] != -inf:
        return ranked
    return ranked.take([at for at, utility in enumerate(ranked.utility) if utility != -inf])


def _moved(model: Model, pool: Ranked, values: Mapping[str, Parameter], learned: LearnedState | None) -> Ranked:
    """The pool with boosts and what was learned of the user, best first again."""
    from edgerec.runtime.slate import multiplied  # loaded on use, as all that a plain list does not need

    policy, factors = model.policy, [1.0] * len(pool.item)
    for boost in policy.boosts:
        missed = set(model.failing(boost.where, values))
        factors = [f if i in missed else f * boost.factor for f, i in zip(factors, pool.item, strict=True)]
    if policy.adapt is not None and learned is not None and learned.trusted():
        correction = learned.correction(model.directions(pool.item), policy.adapt)
        factors = [f * exp(c) for f, c in zip(factors, correction, strict=True)]
    if all(f == 1 for f in factors):
        return pool
    utility = floats(map(multiplied, pool.utility, factors))
    moved = Ranked(pool.item, utility, pool.probability, pool.reason, pool.history)
    return moved.take(sorted(range(len(utility)), key=lambda at: -utility[at]))


def _arranged(model: Model, pool: Ranked, k: int, diversity: float, history: EncodedHistory) -> Sequence[int]:
    policy = model.policy
    if not (diversity or policy.quotas or policy.calibration):
        return range(min(k, len(pool.item)))
    from edgerec.runtime.slate import GroupLimit, arrange

    quotas = [GroupLimit(_of(model.groups(quota.by)[0], pool.item), quota.most) for quota in policy.quotas]
    vectors: Matrix | None = model.engine.vectors(pool.item) if diversity else None
    return arrange(pool.utility, k, vectors, diversity, quotas, _mix(model, pool, history))


def _mix(model: Model, pool: Ranked, history: EncodedHistory) -> Mix | None:
    """The mix of the user's past; None without a past."""
    from edgerec.runtime.slate import Mix

    calibration = model.policy.calibration
    if calibration is None:
        return None
    group, n = model.groups(calibration.by)
    own = [g for g in _of(group, history.items) if g >= 0]
    if not own:
        return None
    share = [0.0] * n
    for g in own:
        share[g] += 1 / len(own)
    return Mix(_of(group, pool.item), share, calibration.strength)


def _of(groups: Ints, items: Sequence[int]) -> Sequence[int]:
    return [groups[item] for item in items]
