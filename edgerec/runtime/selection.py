"""One list: candidates from the engine, less what was removed, arranged by the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.bundle.columns import Parameter
from edgerec.bundle.policy import Explore
from edgerec.runtime.engine import Float, Int, Ranked, Scoring
from edgerec.runtime.model import EncodedHistory, Model
from edgerec.tasks import Encoded

if TYPE_CHECKING:
    from edgerec.runtime.adaptation import LearnedState
    from edgerec.runtime.slate import Mix

Removal: TypeAlias = tuple[str, Int]
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
    ) -> tuple[Ranked, npt.NDArray[np.float64]]:
        """The list with its last places filled by trial, and the probability of each choice."""
        from edgerec.runtime.exploration import fill  # loaded on use

        chosen = {int(i) for i in self.ranked.item}
        rest = [at for at, i in enumerate(self.pool.item.tolist()) if i not in chosen]
        where = {i: at for at, i in enumerate(self.pool.item.tolist())}
        order = np.array([*(where[int(i)] for i in self.ranked.item), *rest], np.int64)
        pool = self.pool.take(order)
        vectors = model.directions(pool.item) if explore.method == "linucb" else None
        ids = [model.catalog.named(i)[0] for i in pool.item.tolist()]
        at, probability = fill(explore, min(k, len(ids)), ids, pool.utility, vectors, learned, random)
        return pool.take(at), probability


class Question(NamedTuple):
    """A request, as arrays.

    Attributes:
        removed: items that are not candidates.
        values: what the policy's conditions may name. learned: of the user, where the policy adapts.
    """

    encoded: Encoded
    weights: Float
    removed: Sequence[Removal]
    history: EncodedHistory
    values: Mapping[str, Parameter]
    learned: LearnedState | None


def count_losses(removed: Sequence[Removal], n_items: int, n_listed: int, rest: str) -> dict[str, int]:
    """By cause, how many items were lost, every item counted once; `rest` is the cause of those without another."""
    gone = np.zeros(n_items, bool)
    lost: dict[str, int] = {}
    for cause, part in removed:
        before = int(gone.sum())
        gone[part] = True
        lost[cause] = lost.get(cause, 0) + int(gone.sum()) - before
    lost[rest] = lost.get(rest, 0) + n_items - int(gone.sum()) - n_listed
    return {"catalogue": n_items, **{cause: n for cause, n in lost.items() if n}}


def select(model: Model, scoring: Scoring, question: Question, k: int, diversity: float | None) -> Selection:
    """The best k items by the policy; `diversity` in place of the policy's."""
    policy, removed = model.policy, question.removed
    diversity = policy.diversity if diversity is None else diversity
    gone = removed[0][1] if len(removed) == 1 else np.concatenate([part for _, part in removed])
    arranged = bool(diversity) or policy.rearranges
    size = min(max(policy.pool, k), model.n_items) if arranged or policy.explore else min(k, model.n_items)
    while True:
        pool = _candidates(scoring.recommend(question.encoded, question.weights, gone, size))
        if not arranged:
            best = pool.take(np.arange(min(k, len(pool.item)))) if len(pool.item) > k else pool
            return Selection(best, pool, removed)
        pool = _moved(model, pool, question.values, question.learned)
        at = _arranged(model, pool, k, diversity, question.history)
        # Quotas can use up the pool; then it is widened, to the whole catalogue if need be.
        if len(at) >= k or size == model.n_items or len(pool.item) < size:
            return Selection(pool.take(at), pool, removed)
        size = min(4 * size, model.n_items)


def _candidates(ranked: Ranked) -> Ranked:
    if not len(ranked.utility) or ranked.utility[-1] != -np.inf:
        return ranked
    return ranked.take(np.flatnonzero(ranked.utility != -np.inf))


def _moved(model: Model, pool: Ranked, values: Mapping[str, Parameter], learned: LearnedState | None) -> Ranked:
    """The pool with boosts and what was learned of the user, best first again."""
    from edgerec.runtime.slate import multiplied  # loaded on use, as all that a plain list does not need

    utility, policy = pool.utility, model.policy
    factor = np.ones(len(utility))
    for boost in policy.boosts:
        hit = np.ones(model.n_items, bool)
        hit[model.failing(boost.where, values)] = False
        factor *= np.where(hit[pool.item], boost.factor, 1.0)
    if policy.adapt is not None and learned is not None and learned.trusted():
        factor *= np.exp(learned.correction(model.directions(pool.item), policy.adapt))
    if (factor == 1).all():
        return pool
    moved = Ranked(pool.item, multiplied(utility, factor), pool.probability, pool.reason, pool.history)
    return moved.take(np.argsort(-moved.utility, kind="stable"))


def _arranged(model: Model, pool: Ranked, k: int, diversity: float, history: EncodedHistory) -> Int:
    policy = model.policy
    if not (diversity or policy.quotas or policy.calibration):
        return np.arange(min(k, len(pool.item)))
    from edgerec.runtime.slate import GroupLimit, arrange

    quotas = [GroupLimit(model.groups(quota.by)[0][pool.item], quota.most) for quota in policy.quotas]
    vectors = model.engine.vectors(pool.item) if diversity else None
    return arrange(pool.utility, k, vectors, diversity, quotas, _mix(model, pool, history))


def _mix(model: Model, pool: Ranked, history: EncodedHistory) -> Mix | None:
    """The mix of the user's past; None without a past."""
    from edgerec.runtime.slate import Mix

    calibration = model.policy.calibration
    if calibration is None:
        return None
    group, n = model.groups(calibration.by)
    own = group[history.items]
    count = np.bincount(own[own >= 0], minlength=n).astype(np.float64)
    if not count.sum():
        return None
    return Mix(group[pool.item], count / count.sum(), calibration.strength)
