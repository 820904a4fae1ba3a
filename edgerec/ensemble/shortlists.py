"""The few items of each request that decide which weights of the members are best, in place of the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edgerec.ensemble.blend import HEAD
from edgerec.tasks.history import Float, Int

T = TypeVar("T", np.bool_, np.int64, np.float32)
Bool: TypeAlias = npt.NDArray[np.bool_]
TAIL = 200
"""Items that are drawn at random from all others of a request, and stand for them."""
MOST_SCORES = 2_000_000
"""Scores of a member that are in memory together, before they are shortened."""


@dataclass(frozen=True)
class Shortlists:
    """Scores of P items for each of R requests: the best of every member, those that followed, and some of the others.

    Attributes:
        item: int64 (R, P), ascending. scores: by member, (R, P). excluded: bool (R, P), may not be listed.
        share: (R, P), of what followed; rows sum to 1. log_weight: (R, P), log of how many items each stands for.
    """

    item: Int
    scores: dict[str, Float]
    excluded: Bool
    share: Float
    log_weight: Float

    @classmethod
    def of(
        cls,
        scores: Mapping[str, Float],
        followed: Bool | Float,
        excluded: Bool | None,
        rng: np.random.Generator,
    ) -> Shortlists:
        """Shorten scores of the catalogue, (R, N) of each member; requests that nothing followed are left out.

        Args:
            followed: (R, N), how often each item followed. excluded: items that may not, with the lowest scores.
        """
        if excluded is not None:
            followed = np.where(excluded, 0, followed)
        some = (followed > 0).any(axis=1)
        followed = followed[some].astype(np.float32)
        barred = np.zeros(followed.shape, bool) if excluded is None else excluded[some]
        kept = {name: values[some] for name, values in scores.items()}
        if excluded is not None:
            kept = {name: np.where(barred, s.min(axis=1, keepdims=True), s) for name, s in kept.items()}
        must = followed > 0
        for values in kept.values():
            best = np.argpartition(-values, min(HEAD, values.shape[1]) - 1, axis=1)[:, :HEAD]
            np.put_along_axis(must, best, True, axis=1)
        n, n_must = must.shape[1], must.sum(axis=1)
        size = min(n, int(n_must.max(initial=0)) + TAIL)
        order = np.where(must, 2, rng.random(must.shape, np.float32))
        item = np.sort(np.argpartition(-order, size - 1, axis=1)[:, :size], axis=1) if size < n else _all(len(must), n)
        others = np.log((n - n_must) / np.maximum(size - n_must, 1), where=n_must < n, out=np.zeros(len(must)))

        def listed(values: npt.NDArray[T]) -> npt.NDArray[T]:
            return np.take_along_axis(values, item, axis=1)

        log_weight = np.where(listed(must), 0, others[:, None]).astype(np.float32)
        share = followed / np.maximum(followed.sum(axis=1, keepdims=True), 1e-9)
        shortened = {name: listed(values) for name, values in kept.items()}
        return cls(item, shortened, listed(barred), listed(share), log_weight)

    @classmethod
    def joined(cls, parts: Sequence[Shortlists]) -> Shortlists:
        """All requests of `parts`, shorter lists padded with excluded items of weight 0."""
        size = max(part.item.shape[1] for part in parts)

        def join(arrays: Sequence[npt.NDArray[T]], empty: float) -> npt.NDArray[T]:
            padded = [np.pad(a, ((0, 0), (0, size - a.shape[1])), constant_values=empty) for a in arrays]
            return np.concatenate(padded)

        lowest = {name: min(float(part.scores[name].min(initial=0)) for part in parts) for name in parts[0].scores}
        return cls(
            join([part.item for part in parts], -1),
            {name: join([part.scores[name] for part in parts], low) for name, low in lowest.items()},
            join([part.excluded for part in parts], True),
            join([part.share for part in parts], 0),
            join([part.log_weight for part in parts], -np.inf),
        )


def requests_at_once(chosen: Int, n_items: int, tasks: int) -> Iterator[Int]:
    """`chosen` in parts of few enough requests."""
    at_once = max(MOST_SCORES // (n_items * tasks), 1)
    for start in range(0, len(chosen), at_once):
        yield chosen[start : start + at_once]


def _all(rows: int, n: int) -> Int:
    return np.tile(np.arange(n), (rows, 1))
